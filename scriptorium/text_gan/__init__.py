"""What text_gan.py alone needs besides its model."""
