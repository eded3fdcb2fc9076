"""MADE: an autoregressive density of the numbers of a latent, exact to evaluate and to draw from (Germain et al. 2015).

In the place of a standard normal prior it lets the prior fit the posterior, not only the other way round.
"""

import itertools

from scriptorium.vae import latent

import keras
import numpy as np
from keras import layers, ops


class MADE(layers.Layer):
    """log p(z) in nats of n numbers at each position: z float32 (batch, time, n) -> (batch, time).

    u_i = (z_i - mean_i(z_<i)) / deviation_i(z_<i) is standard normal; masks let output i of the network see no numbers
    of z but those before i.

    Args:
        n: numbers of a position.
        hidden: widths of the hidden layers.
        context: width of what all outputs of a position see besides, see `call`; 0 for nothing.
    """

    LOG_DEVIATION = 3.0  # at most, either way

    def __init__(self, n, hidden, context=0):
        super().__init__(dtype="float32")
        self.n, self.sizes, self.context = n, [n, *hidden, 2 * n], context
        self.degrees = [np.arange(1, n + 1), *(1 + np.arange(size) * max(n - 1, 1) // size for size in hidden)]
        self.masks = [(a[:, None] <= b[None]).astype("float32") for a, b in itertools.pairwise(self.degrees)]
        self.masks.append(np.tile(self.degrees[-1][:, None] < self.degrees[0][None], 2).astype("float32"))

    def build(self, *shapes):
        self.kernels, self.biases = [], []
        small = keras.initializers.RandomNormal(stddev=0.02)
        for i, (rows, columns) in enumerate(itertools.pairwise(self.sizes)):
            start = "glorot_uniform" if i + 2 < len(self.sizes) else small
            self.kernels.append(self.add_weight(shape=(rows, columns), initializer=start, name=f"kernel_{i}"))
            self.biases.append(self.add_weight(shape=(columns,), initializer="zeros", name=f"bias_{i}"))
        if self.context:
            self.first = self.add_weight(shape=(self.context, self.sizes[1]), initializer=small, name="first")
            self.last = self.add_weight(shape=(self.context, self.sizes[-1]), initializer=small, name="last")

    def mean_and_log_deviation(self, z, context=None):
        """Returns both of each number, given those before it: float32 (batch, time, n) each."""
        x, last = z, len(self.kernels) - 1
        for i, (kernel, bias, mask) in enumerate(zip(self.kernels, self.biases, self.masks, strict=True)):
            x = ops.matmul(x, kernel * mask) + bias
            if self.context and i in (0, last):
                x = x + ops.matmul(context, self.last if i else self.first)
            x = ops.relu(x) if i < last else x
        mean, log_deviation = ops.split(x, 2, axis=-1)
        return mean, self.LOG_DEVIATION * ops.tanh(log_deviation / self.LOG_DEVIATION)

    def call(self, z, context=None):
        """Returns log p(z | context) in nats, (batch, time), of z and a context (batch or 1, time, context)."""
        mean, log_deviation = self.mean_and_log_deviation(z, context)
        return latent.normal_log_prob(z, mean, 2 * log_deviation)

    def inverter(self):
        """Returns the function that turns u and a context into z, all of them numpy arrays, see `call`.

        It goes number by number. A hidden unit is computed once, when the last number it may see is known: as much
        work as one pass.
        """
        kernels = [ops.convert_to_numpy(k).T * mask.T for k, mask in zip(self.kernels, self.masks, strict=True)]
        biases = [ops.convert_to_numpy(bias)[:, None] for bias in self.biases]
        told = [ops.convert_to_numpy(kernel).T for kernel in (self.first, self.last)] if self.context else []
        # Units stand in the order of what they may see: the first ends[layer][i] of them see i numbers at most.
        ends = [np.searchsorted(degrees, np.arange(self.n + 1), side="right") for degrees in self.degrees]

        def invert(u, context=None):
            wanted, shift = u.reshape(-1, self.n).T, list(biases)
            for i, kernel in zip((0, -1), told, strict=False):
                rows = np.broadcast_to(context, (*u.shape[:2], self.context)).reshape(-1, self.context)
                shift[i] = shift[i] + kernel @ rows.T
            # All with a column for each position, so that the units of a layer that are known stand together.
            seen = [np.zeros((size, wanted.shape[1]), u.dtype) for size in self.sizes[:-1]]
            for i in range(self.n):
                for layer, kernel in enumerate(kernels[:-1]):
                    new, below = slice(ends[layer + 1][i - 1] if i else 0, ends[layer + 1][i]), ends[layer][i]
                    x = kernel[new, :below] @ seen[layer][:below] + shift[layer][new]
                    seen[layer + 1][new] = np.maximum(x, 0, out=x)
                both, below = slice(i, None, self.n), ends[-1][i]
                mean, log_deviation = kernels[-1][both, :below] @ seen[-1][:below] + shift[-1][both]
                deviation = np.exp(self.LOG_DEVIATION * np.tanh(log_deviation / self.LOG_DEVIATION))
                seen[0][i] = mean + deviation * wanted[i]
            return seen[0].T.reshape(u.shape)

        return invert
