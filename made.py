"""MADE: an autoregressive density of the numbers of a latent, exact to evaluate and to draw from (Germain et al. 2015).

Floor 1. In the place of a standard normal prior it lets the prior fit the posterior, not only the other way round.
"""

import itertools

import keras
import numpy as np
from keras import layers, ops

import latent


def _small():
    return keras.initializers.RandomNormal(stddev=0.02)


class MADE(layers.Layer):
    """log p(z) in nats of n numbers a position: z float32 (batch, time, n) -> (batch, time).

    u_i = (z_i - mean_i(z_<i)) / deviation_i(z_<i) is standard normal; masks let output i of the network see the numbers
    before i only.

    Args:
        n: numbers of a position.
        hidden: widths of the hidden layers.
        positions: 0, or how many positions there are, each of which then has biases of its own.
    """

    LOG_DEVIATION = 3.0  # at most, either way

    def __init__(self, n, hidden, positions=0):
        super().__init__(dtype="float32")
        self.n, self.sizes, self.positions = n, [n, *hidden], positions
        degrees = [np.arange(1, n + 1), *(1 + np.arange(size) * max(n - 1, 1) // size for size in hidden)]
        self.degrees = degrees
        self.masks = [(a[:, None] <= b[None]).astype("float32") for a, b in itertools.pairwise(degrees)]
        self.masks.append(np.tile(degrees[-1][:, None] < degrees[0][None], 2).astype("float32"))

    def build(self, shape):
        sizes = [*self.sizes, 2 * self.n]
        self.kernels, self.biases = [], []
        for i, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            start = "glorot_uniform" if i + 2 < len(sizes) else _small()
            self.kernels.append(self.add_weight(shape=(rows, columns), initializer=start, name=f"kernel_{i}"))
            self.biases.append(self.add_weight(shape=(columns,), initializer="zeros", name=f"bias_{i}"))
        if self.positions:
            self.first = self.add_weight(shape=(self.positions, sizes[1]), initializer=_small(), name="first")
            self.last = self.add_weight(shape=(self.positions, sizes[-1]), initializer=_small(), name="last")

    def mean_and_log_deviation(self, z):
        x, last = z, len(self.kernels) - 1
        for i, (kernel, bias, mask) in enumerate(zip(self.kernels, self.biases, self.masks, strict=True)):
            x = ops.matmul(x, kernel * mask) + bias
            if self.positions and i in (0, last):
                x = x + (self.first if i == 0 else self.last)[: ops.shape(z)[1]]
            x = ops.relu(x) if i < last else x
        mean, log_deviation = ops.split(x, 2, axis=-1)
        return mean, self.LOG_DEVIATION * ops.tanh(log_deviation / self.LOG_DEVIATION)

    def call(self, z):
        mean, log_deviation = self.mean_and_log_deviation(z)
        return latent.normal_log_prob(z, mean, 2 * log_deviation)

    def inverse(self, u):
        """Returns the z of standard normal numbers u, numpy float (n, positions, numbers), exactly: number by number.

        A hidden unit is computed once, when the last number it may see is known: as much work as one pass.
        """
        kernels = [np.asarray(ops.convert_to_numpy(k)) * m for k, m in zip(self.kernels, self.masks, strict=True)]
        biases = [ops.convert_to_numpy(b) for b in self.biases]
        first, last = (ops.convert_to_numpy(x) for x in (self.first, self.last)) if self.positions else (0, 0)
        z = np.zeros_like(u)
        before = [np.broadcast_to(biases[0] + first, (*u.shape[:2], len(biases[0])))]
        hidden = [np.zeros((*u.shape[:2], size), u.dtype) for size in self.sizes[1:]]
        out = biases[-1] + last
        for i in range(self.n):
            for layer, values in enumerate(hidden):
                new = np.flatnonzero(self.degrees[1 + layer] == i)
                below = np.searchsorted(self.degrees[layer], i, side="right")
                known = (z if layer == 0 else hidden[layer - 1])[..., :below]
                bias = before[0][..., new] if layer == 0 else biases[layer][new]
                values[..., new] = np.maximum(known @ kernels[layer][:below][:, new] + bias, 0)
            below = np.searchsorted(self.degrees[-1], i + 1, side="left")
            both = [i, self.n + i]
            mean, log_deviation = np.moveaxis(
                hidden[-1][..., :below] @ kernels[-1][:below][:, both] + out[..., both], -1, 0
            )
            log_deviation = self.LOG_DEVIATION * np.tanh(log_deviation / self.LOG_DEVIATION)
            z[..., i] = mean + np.exp(log_deviation) * u[..., i]
        return z
