"""What names_vae.py needs in addition to its model."""
