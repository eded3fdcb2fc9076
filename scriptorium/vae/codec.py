"""Encodes, decodes, samples and interpolates texts with a trained VAE of any script."""

import math

from scriptorium import UserError
from scriptorium.data.batches import encode_texts
from scriptorium.vae import inference, latent, paths

import numpy as np


class Codec:
    """A trained VAE of texts, ready for use by homotopy.py, demo.py, the reports and `scriptorium.load`.

    Args:
        run: opened `Run` with its model. z is float32 (n, *model.latent_shape), a numpy array.
    """

    extra_settings = ()  # settings of `decode` and `near` that not every script has, by the names of their options

    def __init__(self, run):
        self.run = run

    @property
    def has_latent(self):
        """Whether the model has a latent space; a run with --no-latent is a language model."""
        return self.run.model.has_latent

    def read(self, texts):
        """Returns `Sequences` of typed texts; raises `UserError` if one is longer than the model can read."""
        return self.short_enough(encode_texts(texts, self.run.vocabulary, prompt=True))

    def short_enough(self, sequences):
        """Returns `Sequences` if the model can read them; raises `UserError` if one is too long."""
        most, longest = self.run.options.get("positions", math.inf), int(sequences.lengths.max(initial=0))
        if longest > most:
            name = self.run.name
            raise UserError(f"This text has {longest - 1} tokens; {name} reads at most {most - 1}.")
        return sequences

    def encode(self, texts):
        """Encodes texts: z_mean and z_log_var of their posteriors, float32 (n, *latent_shape) each."""
        if not self.has_latent:
            raise UserError(f"{self.run.name} has no latent space (--no-latent), so it cannot encode texts")
        return inference.posteriors(self.run.model, self.read(texts))

    def decode(self, z, *, max_length=None, scores=False, **settings):
        """Decodes a text from each z.

        Args:
            z: float (n, *latent_shape).
            max_length: maximum number of tokens per text; None for the run's --gen-length.
            scores: whether to return log p(text|z) too.
            settings: temperature, top_k, top_p, beam, seed: see `inference.write`.

        Returns:
            list of n str; with `scores` also log p(text|z) in nats, float (n,).
        """
        z = np.asarray(z, "float32")
        ids, log_probs = inference.write(self.run.model, z, max_length or self.run.options["gen_length"], **settings)
        texts = [self.run.vocabulary.decode(row) for row in ids]
        return (texts, log_probs) if scores else texts

    def score(self, texts, z):
        """Returns log p(text|z) in nats of n texts, each at its z: float (n,)."""
        return -inference.nll_of_each(self.run.model, self.read(texts), z)

    def sample_prior(self, n, seed=1):
        """Returns n draws from the prior: float32 (n, *latent_shape)."""
        return np.random.default_rng(seed).standard_normal((n, *self.run.model.latent_shape), "float32")

    def sample(self, n=1, seed=1, **settings):
        """Samples n texts from the prior; settings as for `decode`."""
        more = self.walk_settings(np.zeros(n), drawn=True)
        return self.decode(self.sample_prior(n, seed), seed=seed, **more | settings)

    def near(self, text, normal):
        """Turns standard normal numbers, shaped like codes, into codes near a text; returns `decode` settings too."""
        z_mean, z_log_var = self.encode([text])
        return latent.draw(z_mean, z_log_var, normal), {}

    def walk_settings(self, shares, drawn=False):
        """Returns settings of `decode` for points at these shares of a walk between two texts, or two draws."""
        return {}

    def walk(self, first, second, points=5, mode="linear", **settings):
        """Interpolates between two texts.

        Args:
            first, second: the two texts.
            points: number of points strictly between them.
            mode: "linear", or "slerp" for an arc.
            settings: as for `decode`.

        Returns:
            list of points + 2 str: the first text, the decoded points, the second text.
        """
        shares = np.linspace(0, 1, points + 2)[1:-1]
        z = {"linear": paths.lerp, "slerp": paths.slerp}[mode](*self.encode([first, second])[0], shares)
        return [first, *self.decode(z, **self.walk_settings(shares) | settings), second]
