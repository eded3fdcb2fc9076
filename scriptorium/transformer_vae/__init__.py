"""What transformer_vae.py needs in addition to its model."""
