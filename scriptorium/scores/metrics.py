"""Scores that several scripts report: perplexity, use of the latent space, and similarity of texts.

Likelihoods, divergences and mutual information are in nats.
"""

import keras
import numpy as np
from keras import ops

# A dimension is active if its posterior mean has at least this variance over the data (Burda et al. 2016).
ACTIVE_VARIANCE = 0.01


class Perplexity(keras.metrics.Metric):
    """exp(total nll / total tokens): batches of any size and length are weighted by their tokens."""

    def __init__(self, name="perplexity", **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.tokens = self.add_weight(name="tokens", initializer="zeros")

    def update_state(self, nll, tokens, sample_weight=None):
        """Adds nll in nats and numbers of tokens, both of any shape."""
        self.total.assign(self.total + ops.sum(ops.cast(nll, "float32")))
        self.tokens.assign(self.tokens + ops.sum(ops.cast(tokens, "float32")))

    def result(self):
        # At most e^80: a KL term whose weight is still 0 may be thousands of nats.
        return ops.exp(ops.minimum(self.total / ops.maximum(self.tokens, 1.0), 80.0))


class ActiveUnits(keras.metrics.Metric):
    """Number of latent dimensions whose posterior mean varies over the data by at least `ACTIVE_VARIANCE`."""

    def __init__(self, latent_dim, name="active_units", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_weight(name="count", initializer="zeros")
        self.sums = self.add_weight(shape=(latent_dim,), name="sums", initializer="zeros")
        self.squares = self.add_weight(shape=(latent_dim,), name="squares", initializer="zeros")

    def update_state(self, z_mean, sample_weight=None):
        """Adds posterior means (batch, latent_dim)."""
        z_mean = ops.cast(z_mean, "float32")
        self.count.assign(self.count + ops.cast(ops.shape(z_mean)[0], "float32"))
        self.sums.assign(self.sums + ops.sum(z_mean, axis=0))
        self.squares.assign(self.squares + ops.sum(z_mean**2, axis=0))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        variance = self.squares / count - (self.sums / count) ** 2
        return ops.sum(ops.cast(variance >= ACTIVE_VARIANCE, "float32"))


def active_units(z_mean):
    """Returns how many dimensions of posterior means (n, latent_dim) vary by at least `ACTIVE_VARIANCE`."""
    return int(np.sum(np.var(np.asarray(z_mean, "float64"), axis=0) >= ACTIVE_VARIANCE))


def mutual_information(z, z_mean, z_log_var, chunk=256, given=None, log_rest=None):
    """Estimates the mutual information between texts and codes: E[log q(z|x)] - E[log q(z)].

    q(z) is the mixture of the posteriors of all n texts.

    Args:
        z: float (n, latent_dim), one draw from each posterior.
        z_mean, z_log_var: float (n, latent_dim).
        chunk: draws processed at a time.
        given: None, or bool (n, latent_dim): False where the posterior of a text is the prior.
        log_rest: float (n, n): for each draw and text, the log density under the prior of those dimensions.

    Returns:
        float, in nats; at most log n.
    """
    z, z_mean, z_log_var = (np.asarray(a, "float64") for a in (z, z_mean, z_log_var))
    given = np.ones(z.shape, bool) if given is None else given
    precision = given * np.exp(-z_log_var)
    # log N(z; m, v) = -0.5 (z^2 / v - 2 z m / v + m^2 / v + log v + log 2 pi), as products of matrices.
    constant = -0.5 * np.sum(z_mean**2 * precision + given * (z_log_var + np.log(2 * np.pi)), axis=1)
    total = 0.0
    for start in range(0, len(z), chunk):
        part = z[start : start + chunk]
        log_q = constant - 0.5 * (part**2 @ precision.T) + part @ (z_mean * precision).T
        if log_rest is not None:
            log_q += log_rest[start : start + chunk]
        matching = log_q[np.arange(len(part)), np.arange(start, start + len(part))]
        highest = log_q.max(axis=1, keepdims=True)
        log_mixture = highest[:, 0] + np.log(np.mean(np.exp(log_q - highest), axis=1))
        total += np.sum(matching - log_mixture)
    return float(total / len(z))


def log_mean_exp(values, axis=-1):
    """Returns log(mean(exp(values))) over an axis without overflow: the importance-weighted bound of log weights."""
    values = np.asarray(values, "float64")
    highest = np.max(values, axis=axis, keepdims=True)
    return np.squeeze(highest, axis) + np.log(np.mean(np.exp(values - highest), axis=axis))


def bleu_4(references, hypotheses):
    """Returns corpus BLEU-4 (Papineni et al. 2002) with one reference per hypothesis and NLTK's smoothing method 1.

    Args:
        references, hypotheses: equally long lists of lists of tokens.

    Returns:
        float between 0 and 1.
    """
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu

    return float(
        corpus_bleu([[r] for r in references], hypotheses, smoothing_function=SmoothingFunction().method1)
        if any(hypotheses)
        else 0.0
    )


def exact_match(references, hypotheses):
    """Returns the share of equal pairs of two lists of the same length."""
    return float(np.mean([list(r) == list(h) for r, h in zip(references, hypotheses, strict=True)]))
