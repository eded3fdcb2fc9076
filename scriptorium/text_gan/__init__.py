"""What text_gan.py needs in addition to its model."""
