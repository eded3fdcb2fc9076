"""The building blocks of a latent space, as pure functions; each model's script combines them.

All logarithms are natural, so divergences are in nats.
"""

import math

from scriptorium.nn import mirrored

import keras
import numpy as np
from keras import layers, ops

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernels of `mmd`


def normal_sample(z_mean, z_log_var, seed):
    """Draws from a diagonal Gaussian by the reparameterization trick (Kingma and Welling 2014).

    Args:
        z_mean, z_log_var: float (batch, latent_dim).
        seed: `keras.random.SeedGenerator`.

    Returns:
        z, float (batch, latent_dim).
    """
    epsilon = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=seed)
    return z_mean + ops.exp(0.5 * z_log_var) * epsilon


def step_counter(model):
    """Adds a weight to a model that counts its training steps.

    As a weight it is saved, and a compiled step can change it; a Python number would be frozen.
    """
    return model.add_weight(shape=(), initializer="zeros", trainable=False, name="steps_done", dtype="int32")


def steps(counter):
    """Returns the number of steps that a `step_counter` has counted, int."""
    return int(mirrored.array_of(counter))


def draw(z_mean, z_log_var, normal):
    """Turns standard normal numbers into draws from diagonal Gaussians, numpy arrays of one shape."""
    return z_mean + np.exp(0.5 * z_log_var) * normal


def normal_log_prob(z, z_mean=0.0, z_log_var=0.0):
    """Returns the log density of a diagonal Gaussian in nats, summed over the last axis: (..., latent_dim) -> (...)."""
    squares = (z - z_mean) ** 2 * ops.exp(-z_log_var * ops.ones_like(z))
    return -0.5 * ops.sum(math.log(2 * math.pi) + z_log_var + squares, axis=-1)


def kl_to_standard_normal(z_mean, z_log_var):
    """Returns KL(N(z_mean, exp(z_log_var)) || N(0, 1)) of each dimension in nats, float (batch, latent_dim)."""
    return 0.5 * (z_mean**2 + ops.exp(z_log_var) - 1.0 - z_log_var)


def kl(z_mean, z_log_var, other_mean, other_log_var):
    """Returns KL(N(z_mean, exp(z_log_var)) || N(other_mean, exp(other_log_var))) of each dimension in nats."""
    squares = (z_mean - other_mean) ** 2 * ops.exp(-other_log_var)
    return 0.5 * (squares + ops.exp(z_log_var - other_log_var) - 1.0 - z_log_var + other_log_var)


def free_bits(kl, nats):
    """Grants each dimension some KL for free (Kingma et al. 2016): sum_i max(nats / n, batch mean of KL_i).

    Args:
        kl: float (batch, latent_dim), the KL per dimension.
        nats: free nats per sequence, divided evenly among the dimensions.

    Returns:
        float scalar, whose gradient is 0 for a dimension below its share.
    """
    return ops.sum(ops.maximum(ops.mean(kl, axis=0), nats / kl.shape[-1]))


class RateControl(layers.Layer):
    """The weight of the KL term that keeps the mean KL at a rate: a Lagrange multiplier (Rezende and Viola 2018).

    As long as the KL is below the rate, the weight falls, and the encoder says more; above it, the weight rises.

    Args:
        nats: the rate, mean KL per sequence.
        initial_weight: weight at the first step.
        speed: largest change of the weight's logarithm in a step.
    """

    def __init__(self, nats, initial_weight=0.1, speed=0.02, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.nats, self.speed = nats, speed
        start = keras.initializers.Constant(math.log(initial_weight))
        self.log_weight = self.add_weight(shape=(), initializer=start, trainable=False, name="log_weight")

    def weight(self):
        """Returns the present weight, a scalar tensor."""
        return ops.exp(self.log_weight)

    def update(self, kl):
        """Adapts the weight to the mean KL of a batch in nats, a scalar tensor."""
        change = self.speed * ops.clip(ops.cast(kl, "float32") / self.nats - 1.0, -1.0, 1.0)
        self.log_weight.assign(ops.clip(self.log_weight + change, math.log(1e-4), math.log(100.0)))


class PosteriorNorm(layers.Layer):
    """Batch normalization of posterior means with a fixed scale: BN-VAE (Zhu et al. 2020).

    Over the data each dimension of the mean has variance gamma ** 2 and a learned shift, so the mean KL per dimension
    is at least (gamma ** 2 + shift ** 2) / 2, and the posterior cannot collapse onto the prior.

    Args:
        gamma: standard deviation of each dimension of the mean over the data.
        momentum: momentum of the moving statistics, which are used outside training.
    """

    def __init__(self, gamma, momentum=0.99, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.gamma = gamma
        # With Keras's default epsilon of 1e-3, the encoder would shrink its means until epsilon dominates, and the
        # lower limit on the KL would be gone.
        settings = {"scale": False, "center": False, "momentum": momentum, "epsilon": 1e-8, "dtype": "float32"}
        self.normalise = layers.BatchNormalization(synchronized=mirrored.in_use(), **settings)

    def build(self, shape):
        self.normalise.build(shape)
        self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros", name="shift")

    def call(self, z_mean, training=False):
        return self.gamma * self.normalise(z_mean, training=training) + self.shift


def _squared_distances(x, y):
    return ops.sum(x**2, -1)[:, None] + ops.sum(y**2, -1)[None] - 2 * ops.matmul(x, ops.transpose(y))


def similarities(x, y, kernel="imq", scales=SCALES):
    """Returns the kernel of `mmd` between the points x, float (n, d), and y, (m, d): float (n, m)."""
    width, scales = 2.0 * x.shape[-1], (x.shape[-1] / 2,) if kernel == "reference" else scales
    squares = ops.maximum(_squared_distances(x, y), 0.0)
    if kernel == "imq":
        return sum(width * s / (width * s + squares) for s in scales)
    return sum(ops.exp(-squares / (width * s)) for s in scales)


def mmd(x, y, kernel="imq", scales=SCALES):
    """Returns the unbiased estimate of the squared maximum mean discrepancy of two samples (Gretton et al. 2012).

    Args:
        x, y: float (n, d) and (m, d); the similarity within a sample of a single point counts as 0.
        kernel: "imq", sum over s of C / (C + |x - y|^2) with C = 2 d s (Tolstikhin et al. 2018), or "rbf", sum over s
            of exp(-|x - y|^2 / (2 d s)): 2 d is the median of the squared distances of draws from N(0, 1). "reference"
            is exp(-|x - y|^2 / d^2) alone, which is close to 1 for all of them.
        scales: the s; the reference has none.

    Returns:
        float scalar, 0 in expectation if both samples come from one distribution.
    """

    def mean_without_diagonal(a):
        count = ops.cast(ops.shape(a)[0], a.dtype)
        # On the diagonal, each kernel of the sum is 1.
        rest = ops.sum(similarities(a, a, kernel, scales)) - count * (1 if kernel == "reference" else len(scales))
        return rest / (count * ops.maximum(count - 1.0, 1.0))

    return mean_without_diagonal(x) + mean_without_diagonal(y) - 2.0 * ops.mean(similarities(x, y, kernel, scales))


def kl_schedule(kind, step, length, beta=1.0, total=None):
    """Returns the weight of the KL term at a training step.

    Args:
        kind: "none" (beta at once), "linear" (0 to beta in `length` steps), "logistic" (half of beta at step `length`:
            beta / (1 + exp(-10 (t / length - 1))); Bowman et al. 2016) or "cyclical" (four times in `total` steps: a
            ramp for half of the cycle, then beta; Fu et al. 2019).
        step: number or scalar tensor, from 0.
        length: steps of the ramp, or the step at the middle of the logistic.
        beta: final weight.
        total: steps of the whole training, needed by "cyclical" only.

    Returns:
        float32 scalar tensor.
    """
    t = ops.cast(step, "float32")
    if kind == "none":
        weight = ops.ones_like(t)
    elif kind == "linear":
        weight = t / max(length, 1)
    elif kind == "logistic":
        weight = ops.sigmoid(10.0 * (t / max(length, 1) - 1.0))
    elif kind == "cyclical":
        cycle = max(total / 4, 1)
        weight = 2.0 * ops.mod(t, cycle) / cycle
    else:
        raise ValueError(f"Unknown KL schedule {kind!r}; use none, linear, logistic or cyclical.")
    return beta * ops.minimum(weight, 1.0)
