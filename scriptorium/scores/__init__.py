"""Scores of models, of samples and of latent spaces; count models to compare with."""
