"""Layers of names_vae.py that stand on their own: MADE, the density of its learned prior, and label heads.

MADE is an autoregressive density with exact evaluation and sampling (Germain et al. 2015). As a learned prior in place
of a standard normal one, it can fit the posterior, not only the other way around.
"""

import itertools

from scriptorium.data.labels import UNKNOWN
from scriptorium.nn.mirrored import array_of
from scriptorium.vae import latent

import keras
import numpy as np
from keras import layers, ops


class MADE(layers.Layer):
    """log p(z) in nats of n numbers at each position: z float32 (batch, time, n) -> (batch, time).

    u_i = (z_i - mean_i(z_<i)) / deviation_i(z_<i) is standard normal. Masks let output i of the network see only the
    numbers of z before i.

    Args:
        n: numbers per position.
        hidden: widths of the hidden layers.
        context: width of an additional input that all outputs of a position see, see `call`; 0 for none.
    """

    LOG_DEVIATION = 3.0  # largest absolute value

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
        """Returns both for each number, given those before it: float32 (batch, time, n) each."""
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

    def make_inverse(self):
        """Returns the function that turns u and a context into z, all numpy arrays, see `call`.

        It computes one number after another. Each hidden unit is computed once, as soon as the last number it may see
        is known, so the work equals one forward pass.
        """
        kernels = [array_of(k).T * mask.T for k, mask in zip(self.kernels, self.masks, strict=True)]
        biases = [array_of(bias)[:, None] for bias in self.biases]
        context_kernels = [array_of(kernel).T for kernel in (self.first, self.last)] if self.context else []
        # Units are sorted by how many numbers they may see: the first ends[layer][i] see at most i numbers.
        ends = [np.searchsorted(degrees, np.arange(self.n + 1), side="right") for degrees in self.degrees]

        def invert(u, context=None):
            targets, shift = u.reshape(-1, self.n).T, list(biases)
            for i, kernel in zip((0, -1), context_kernels, strict=False):
                rows = np.broadcast_to(context, (*u.shape[:2], self.context)).reshape(-1, self.context)
                shift[i] = shift[i] + kernel @ rows.T
            # One column per position, so that the known units of a layer are contiguous.
            seen = [np.zeros((size, targets.shape[1]), u.dtype) for size in self.sizes[:-1]]
            for i in range(self.n):
                for layer, kernel in enumerate(kernels[:-1]):
                    new, below = slice(ends[layer + 1][i - 1] if i else 0, ends[layer + 1][i]), ends[layer][i]
                    x = kernel[new, :below] @ seen[layer][:below] + shift[layer][new]
                    seen[layer + 1][new] = np.maximum(x, 0, out=x)
                both, below = slice(i, None, self.n), ends[-1][i]
                mean, log_deviation = kernels[-1][both, :below] @ seen[-1][:below] + shift[-1][both]
                deviation = np.exp(self.LOG_DEVIATION * np.tanh(log_deviation / self.LOG_DEVIATION))
                seen[0][i] = mean + deviation * targets[i]
            return seen[0].T.reshape(u.shape)

        return invert


class LabelHead(layers.Layer):
    """Predicts the labels of texts from the mean over their positions.

    Args:
        kinds: list of list of str, the classes of each kind.
        units: width of a hidden layer, 0 for none.
    """

    def __init__(self, kinds, units=0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.sizes = [1 + len(kind) for kind in kinds]
        self.hidden = layers.Dense(units, activation="relu", dtype="float32") if units else None
        self.classes = layers.Dense(sum(self.sizes), dtype="float32")

    def call(self, values, mask):
        """Returns logits of each kind, list of (batch, classes), from (batch, time, width) and a mask (batch, time)."""
        mask = ops.cast(mask, "float32")
        mean = ops.sum(ops.cast(values, "float32") * mask[..., None], axis=1) / ops.sum(mask, axis=1, keepdims=True)
        logits = self.classes(self.hidden(mean) if self.hidden else mean)
        ends = np.cumsum(self.sizes).tolist()
        return [logits[:, end - size : end] for size, end in zip(self.sizes, ends, strict=True)]


def label_loss(logits, labels):
    """Compares the logits of a `LabelHead` with labels (batch, kinds), ignoring unknown labels.

    Returns:
        cross-entropy in nats, summed over the kinds, float scalar, and the accuracy, float scalar.
    """
    loss, right, given = 0.0, 0.0, 0.0
    for i, part in enumerate(logits):
        known = ops.cast(labels[:, i] != UNKNOWN, "float32")
        each = keras.losses.sparse_categorical_crossentropy(labels[:, i], part, from_logits=True)
        loss = loss + ops.sum(known * each) / ops.maximum(ops.sum(known), 1.0)
        right += ops.sum(known * ops.cast(ops.equal(ops.argmax(part, axis=-1), labels[:, i]), "float32"))
        given += ops.sum(known)
    return loss, right / ops.maximum(given, 1.0)


def repeat_rows(values, times):
    """Repeats each row of a batch: its copies follow each other."""
    return ops.repeat(values, times, axis=0) if times > 1 else values


def of_another_alphabet(alphabets, alphabet, token):
    """Finds the tokens that cannot come next in a name of one alphabet.

    Args:
        alphabets: int (vocab_size,), the alphabet of each token, 0 for one of none.
        alphabet: int (batch,), the alphabet of the name so far, 0 if it has no letter yet.
        token: int (batch,), what comes next in the name.

    Returns:
        The alphabet of the name with this token, and the tokens of other alphabets, bool (batch, vocab_size).
    """
    alphabets = ops.convert_to_tensor(alphabets)
    own = ops.take(alphabets, token)
    alphabet = ops.where(own > 0, own, alphabet)
    each = alphabet[:, None]
    return alphabet, ops.logical_and(alphabets * each > 0, alphabets != each)
