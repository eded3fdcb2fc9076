"""What transformer_vae.py alone needs besides its model."""
