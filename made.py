"""MADE: an autoregressive density of the numbers of a latent, exact to evaluate and to draw from (Germain et al. 2015).

Floor 1. In the place of a standard normal prior it lets the prior fit the posterior, not only the other way round.
"""

import itertools
import math

import keras
import numpy as np
from keras import layers, ops


class MADE(layers.Layer):
    """log p(z) in nats of n numbers a position: z float32 (batch, time, n) -> (batch, time).

    z_i is drawn from a mixture of Gaussians (with one component: a Gaussian), whose weights, means and deviations are
    functions of the numbers before i: masks let the outputs for i of the network see nothing else of z.

    Args:
        n: numbers of a position.
        hidden: widths of the hidden layers.
        components: Gaussians of a mixture.
        context: width of what all outputs of a position see besides, see `call`; 0 for nothing.
    """

    LOG_DEVIATION = 3.0  # at most, either way

    def __init__(self, n, hidden, components=1, context=0):
        super().__init__(dtype="float32")
        self.n, self.components, self.context = n, components, context
        # Of each Gaussian a mean and a log deviation; of several also the logarithms of their weights.
        self.maps = 3 * components if components > 1 else 2
        self.sizes = [n, *hidden, self.maps * n]
        self.degrees = [np.arange(1, n + 1), *(1 + np.arange(size) * max(n - 1, 1) // size for size in hidden)]
        self.masks = [(a[:, None] <= b[None]).astype("float32") for a, b in itertools.pairwise(self.degrees)]
        self.masks.append(np.tile(self.degrees[-1][:, None] < self.degrees[0][None], self.maps).astype("float32"))

    def build(self, *shapes):
        self.kernels, self.biases = [], []
        small = keras.initializers.RandomNormal(stddev=0.02)
        for i, (rows, columns) in enumerate(itertools.pairwise(self.sizes)):
            start = "glorot_uniform" if i + 2 < len(self.sizes) else small
            self.kernels.append(self.add_weight(shape=(rows, columns), initializer=start, name=f"kernel_{i}"))
            self.biases.append(self.add_weight(shape=(columns,), initializer="zeros", name=f"bias_{i}"))
        if self.components > 1:  # apart from each other at first, or all would learn the same
            means = np.linspace(-1.5, 1.5, self.components)[:, None] * np.ones(self.n)
            start = np.stack([means, np.full_like(means, math.log(0.5)), np.zeros_like(means)])
            self.biases[-1].assign(start.reshape(-1))
        if self.context:
            for name, columns in (("first", self.sizes[1]), ("last", self.sizes[-1])):
                setattr(self, name, self.add_weight(shape=(self.context, columns), initializer=small, name=name))

    def _parted(self, out):
        """Returns means, log deviations and log weights, (..., components, n) each, from the outputs (..., maps n)."""
        out = ops.reshape(out, (*ops.shape(out)[:-1], self.maps, self.n))
        mean, log_deviation, *weights = ops.split(out, self.maps // self.components, axis=-2)
        log_deviation = self.LOG_DEVIATION * ops.tanh(log_deviation / self.LOG_DEVIATION)
        return mean, log_deviation, ops.log_softmax(weights[0], axis=-2) if weights else ops.zeros_like(mean)

    def parameters_of(self, z, context=None):
        """Returns means, log deviations and log weights of the mixtures, float32 (batch, time, components, n) each."""
        x, last = z, len(self.kernels) - 1
        for i, (kernel, bias, mask) in enumerate(zip(self.kernels, self.biases, self.masks, strict=True)):
            x = ops.matmul(x, kernel * mask) + bias
            if self.context and i in (0, last):
                x = x + ops.matmul(context, self.last if i else self.first)
            x = ops.relu(x) if i < last else x
        return self._parted(x)

    def call(self, z, context=None):
        """Returns log p(z | context) in nats, (batch, time), of z and a context (batch or 1, time, context)."""
        mean, log_deviation, log_weight = self.parameters_of(z, context)
        squares = ((z[..., None, :] - mean) * ops.exp(-log_deviation)) ** 2
        log_prob = log_weight - 0.5 * (math.log(2 * math.pi) + squares) - log_deviation
        return ops.sum(ops.logsumexp(log_prob, axis=-2), axis=-1)

    def draw(self, normal, uniform, context=None):
        """Draws z exactly, number by number: z_i = mean_i(z_<i) + deviation_i(z_<i) * normal_i of one component.

        A hidden unit is computed once, when the last number it may see is known: as much work as one pass.

        Args:
            normal: standard normal numbers, numpy float (batch, time, n).
            uniform: as many uniform ones, which choose the components.
            context: see `call`.

        Returns:
            numpy float32 (batch, time, n).
        """
        kernels = [ops.convert_to_numpy(k) * mask for k, mask in zip(self.kernels, self.masks, strict=True)]
        biases = [ops.convert_to_numpy(bias) for bias in self.biases]
        if self.context:
            for i, kernel in ((0, self.first), (-1, self.last)):
                biases[i] = biases[i] + ops.convert_to_numpy(ops.matmul(context, kernel))
        z, of_i = np.zeros_like(normal), self.n * np.arange(self.maps)
        hidden = [np.zeros((*z.shape[:2], size), z.dtype) for size in self.sizes[1:-1]]
        for i in range(self.n):
            for layer, values in enumerate(hidden):
                new = np.flatnonzero(self.degrees[1 + layer] == i)
                below = np.searchsorted(self.degrees[layer], i, side="right")
                known = (hidden[layer - 1] if layer else z)[..., :below]
                values[..., new] = np.maximum(known @ kernels[layer][:below][:, new] + biases[layer][..., new], 0)
            below = np.searchsorted(self.degrees[-1], i + 1, side="left")
            out = hidden[-1][..., :below] @ kernels[-1][:below][:, i + of_i] + biases[-1][..., i + of_i]
            z[..., i] = self._one(out, normal[..., i], uniform[..., i])
        return z

    def _one(self, out, normal, uniform):
        """Draws one number from its outputs (batch, time, maps)."""
        mean, log_deviation, *weights = np.split(out, self.maps // self.components, axis=-1)
        log_deviation = self.LOG_DEVIATION * np.tanh(log_deviation / self.LOG_DEVIATION)
        chosen = np.zeros(normal.shape, int)
        if weights:
            shares = np.exp(weights[0] - weights[0].max(axis=-1, keepdims=True)).cumsum(axis=-1)
            chosen = np.sum(shares[..., :-1] < uniform[..., None] * shares[..., -1:], axis=-1)
        mean, log_deviation = (np.take_along_axis(a, chosen[..., None], -1)[..., 0] for a in (mean, log_deviation))
        return mean + np.exp(log_deviation) * normal
