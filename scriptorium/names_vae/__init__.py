"""What names_vae.py alone needs besides its model."""
