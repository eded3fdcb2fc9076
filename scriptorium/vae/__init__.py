"""What every VAE of texts shares: latent space, inference, reports, remedies against collapse."""
