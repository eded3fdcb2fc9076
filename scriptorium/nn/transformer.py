"""Transformer blocks that can also decode step by step, with a cache of keys and values.

Pre-norm blocks as in GPT-2: x + attention(norm(x)), then x + mlp(norm(x)). A mask is bool (batch or 1, queries, keys),
True where a query may attend.
"""

import math

from scriptorium.nn.fast import Dropout, LayerNormalization

import keras
import numpy as np
from keras import layers, ops

BUCKETS, FURTHEST = 32, 128  # T5's relative positions: number of buckets, and the distance where the last one begins


def causal_mask(time):
    """Returns bool (1, time, time): a step attends to itself and to those before it."""
    positions = ops.arange(time)
    return (positions[:, None] >= positions[None])[None]


def buckets(time):
    """Returns the bucket of each earlier position, int (time, time): 16 exact distances, then wider and wider (T5)."""
    back = np.maximum(np.arange(time)[:, None] - np.arange(time)[None], 0)
    exact = BUCKETS // 2
    further = exact + np.log(np.maximum(back, 1) / exact) / math.log(FURTHEST / exact) * (BUCKETS - exact)
    return np.where(back < exact, back, np.minimum(further, BUCKETS - 1)).astype("int32")


def attend(query, key, value, heads, mask, bias=None):
    """Scaled dot-product attention (Vaswani et al. 2017).

    Args:
        query: float (batch, queries, width).
        key, value: float (batch, keys, width).
        heads: number of heads that the width is split into.
        mask: bool, broadcasts to (batch, queries, keys), True where a query may attend; at least one key per query.
        bias: float (heads, queries, keys), added to the scores, or None.

    Returns:
        float (batch, queries, width).
    """
    width = query.shape[-1]

    def split_heads(x):
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], heads, width // heads)), (0, 2, 1, 3))

    query = query * (1 / math.sqrt(width // heads))
    scores = ops.matmul(
        split_heads(query), ops.transpose(split_heads(key), (0, 1, 3, 2))
    )  # (batch, heads, queries, keys)
    added = ops.where(mask, 0.0, -1e9)[:, None]  # small if the whole batch shares it
    added = added if bias is None else added + ops.cast(bias, "float32")[None]
    weights = ops.cast(ops.softmax(ops.cast(scores, "float32") + added, axis=-1), query.dtype)
    attended = ops.transpose(ops.matmul(weights, split_heads(value)), (0, 2, 1, 3))
    return ops.reshape(attended, (-1, ops.shape(query)[1], width))


def attend_in_windows(query, key, value, heads, window, shift, bias):
    """Causal attention within windows, in time and memory linear in the length.

    Args:
        query, key, value: float (batch, time, width).
        window: positions per window.
        shift: how far the windows are shifted to the left, less than `window`.
        bias: float (heads, window, window).
    """
    (batch, time), width = ops.shape(query)[:2], query.shape[-1]
    windows = (time + shift + window - 1) // window
    padding = [(0, 0), (shift, windows * window - time - shift), (0, 0)]

    def cut(x):
        return ops.reshape(ops.pad(x, padding), (-1, window, width))

    real = ops.reshape(ops.arange(windows * window) >= shift, (windows, 1, window))
    mask = ops.tile(ops.logical_and(causal_mask(window), real), (batch, 1, 1))
    attended = attend(cut(query), cut(key), cut(value), heads, mask, bias)
    return ops.reshape(attended, (batch, -1, width))[:, shift : shift + time]


def update_cache(caches, new, position):
    """Writes the new keys and values of a step into the caches.

    Args:
        caches, new: lists of float (batch, time, width) and (batch, 1, width).
        position: int32 (batch,), the index of the step, the same for all rows.

    Returns:
        The new caches, and a mask of the steps so far: bool (batch, time).
    """
    positions, position = ops.arange(ops.shape(caches[0])[1])[None], position[:, None]
    here = ops.equal(positions, position)[..., None]
    return [ops.where(here, n, ops.cast(c, n.dtype)) for c, n in zip(caches, new, strict=True)], positions <= position


class _Residual(layers.Layer):
    """The common part of the blocks: output projection, MLP, two norms and dropout."""

    def __init__(self, width, heads, dropout=0.0, t5=False, **kwargs):
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"A width of {width} cannot be split into {heads} heads.")
        self.width, self.heads, self.t5 = width, heads, t5
        self.norms = [self.norm() for _ in range(2)]
        self.out = self.dense(width)
        self.hidden, self.mlp = self.dense(4 * width, activation="relu" if t5 else "gelu"), self.dense(width)
        self.dropouts = [Dropout(dropout) for _ in range(2)]

    def norm(self):
        return layers.RMSNormalization(epsilon=1e-6) if self.t5 else LayerNormalization(epsilon=1e-5)

    def dense(self, units, **kwargs):
        return layers.Dense(units, use_bias=not self.t5, **kwargs)

    def add(self, x, attended, training):
        """Adds the attention output to x, (..., width) each."""
        return x + self.dropouts[0](self.out(attended), training=training)

    def feed_forward(self, x, training):
        """Adds the output of the MLP to x."""
        return x + self.dropouts[1](self.mlp(self.hidden(self.norms[1](x))), training=training)


class Block(_Residual):
    """Self-attention and an MLP: (batch, time, width) -> the same. Weights: 12 width^2 + 13 width.

    Args:
        width: width of each position.
        heads: number of attention heads; they divide the width.
        dropout: rate on the output of each half.
        t5: as in T5 (Raffel et al. 2020): ReLU, RMS norms and no biases: 12 width^2 + 2 width.
    """

    def __init__(self, width, heads, dropout=0.0, t5=False, **kwargs):
        super().__init__(width, heads, dropout, t5, **kwargs)
        self.inputs = self.dense(3 * width)

    def call(self, x, mask, pool=None, training=False):
        """Returns the output; `pool`, a function of (batch, time, width), shortens the queries and the output."""
        query, key, value = ops.split(self.inputs(self.norms[0](x)), 3, axis=-1)
        if pool:
            x, query = pool(x), pool(query)
        x = self.add(x, attend(query, key, value, self.heads, mask), training)
        return self.feed_forward(x, training)

    def caches(self, batch, time):
        """Returns empty caches for `time` steps: keys and values, (batch, time, width) each."""
        return [ops.zeros((batch, time, self.width), self.compute_dtype) for _ in range(2)]

    def step(self, x, caches, position):
        """Runs one step of a causal `call`.

        Args:
            x: float (batch, width), the input of the step.
            caches: keys and values of the earlier steps, see `caches`.
            position: int32 (batch,), the index of the step, the same for all rows.

        Returns:
            float (batch, width) and the new caches.
        """
        query, *new = ops.split(self.inputs(self.norms[0](x[:, None])), 3, axis=-1)
        caches, so_far = update_cache(caches, new, position)
        x = self.add(x[:, None], attend(query, *caches, self.heads, so_far[:, None]), False)
        return self.feed_forward(x, False)[:, 0], caches


class DecoderBlock(Block):
    """A block that also attends to a code: self-attention, cross-attention to the code, and an MLP.

    Always as in T5. Weights: 16 width^2 + 3 width.

    Args:
        width, heads, dropout: see `Block`.
        window: positions per window of the self-attention; 0 for no windows.
        shift: see `attend_in_windows`.
    """

    def __init__(self, width, heads, dropout=0.0, window=0, shift=0, **kwargs):
        super().__init__(width, heads, dropout, t5=True, **kwargs)
        self.window, self.shift = window, shift
        self.norm_between = self.norm()
        self.query, self.code = self.dense(width), self.dense(2 * width)
        self.out_of_code, self.dropout_of_code = self.dense(width), Dropout(dropout)

    def keys_and_values(self, code):
        return ops.split(self.code(code), 2, axis=-1)

    def look_up(self, x, given, training):
        """Adds cross-attention to the given keys and values to x (batch, time, width)."""
        seen = attend(self.query(self.norm_between(x)), *given, self.heads, ops.ones((1, 1, 1), "bool"))
        return x + self.dropout_of_code(self.out_of_code(seen), training=training)

    def call(self, x, code, bias, training=False):
        """Returns the causal output for x (batch, time, width) and a code (batch, any length, width).

        The bias, float (heads, n, n) with n at least time, is added to the scores of the self-attention.
        """
        heads, time = self.heads, ops.shape(x)[1]
        three = ops.split(self.inputs(self.norms[0](x)), 3, axis=-1)
        if self.window:
            attended = attend_in_windows(*three, heads, self.window, self.shift, bias[:, : self.window, : self.window])
        else:
            attended = attend(*three, heads, causal_mask(time), bias[:, :time, :time])
        x = self.look_up(self.add(x, attended, training), self.keys_and_values(code), training)
        return self.feed_forward(x, training)

    def step(self, x, caches, given, position, bias):
        """Runs one step of `call`, see `Block`; `given` are keys and values of the code, bias is (heads, 1, time)."""
        query, *new = ops.split(self.inputs(self.norms[0](x[:, None])), 3, axis=-1)
        caches, mask = update_cache(caches, new, position)
        if self.window:
            positions, position = ops.arange(ops.shape(mask)[1])[None], position[:, None]
            same = ops.equal((positions + self.shift) // self.window, (position + self.shift) // self.window)
            mask = ops.logical_and(mask, same)
        x = self.add(x[:, None], attend(query, *caches, self.heads, mask[:, None], bias), False)
        return self.feed_forward(self.look_up(x, given, False), False)[:, 0], caches


class CrossBlock(_Residual):
    """Attention to given keys and values, without projecting them, and an MLP.

    Args:
        width, heads, dropout: see `Block`.
        given: width of the keys and values. If it equals `width`, the weights are 10 width^2 + 11 width.
    """

    def __init__(self, width, heads, dropout, given, **kwargs):
        super().__init__(width, heads, dropout, **kwargs)
        if given % heads:
            raise ValueError(f"A width of {given} cannot be split into {heads} heads.")
        self.query = layers.Dense(given)

    def call(self, x, key, value, mask, training=False):
        attended = attend(self.query(self.norms[0](x)), key, value, self.heads, mask)
        return self.feed_forward(self.add(x, attended, training), training)


FUNNEL = 4  # positions of the text per position of the code: two halvings


def halved(x, mask):
    """Halves the length: keeps the first position, averages pairs of the others, and drops one left over.

    Args:
        x: float (batch, time, units).
        mask: bool (batch, time), False at padding, which is left out of the means.

    Returns:
        float (batch, ceil(time / 2), units): 30 positions become 15, and these 8.
    """
    pairs = (ops.shape(x)[1] + 1) // 2 - 1

    def summed(a):
        return ops.sum(ops.reshape(a[:, 1 : 1 + 2 * pairs], (-1, pairs, 2, a.shape[-1])), axis=2)

    weights = ops.cast(mask, x.dtype)[..., None]
    means = summed(x * weights) / ops.maximum(summed(weights), 1.0)
    return ops.concatenate([x[:, :1], means], axis=1)


def upsampled(x):
    """Expands each position to four: (batch, n, 4 * units) -> (batch, 4 n, units).

    The first stays one position, and three zeros are added at the end.
    """
    x = ops.reshape(x, (-1, FUNNEL * x.shape[1], x.shape[2] // FUNNEL))
    first, others = x[:, :1], x[:, FUNNEL:]
    return ops.concatenate([first, others, *[ops.zeros_like(first)] * (FUNNEL - 1)], axis=1)


def normal_embedding(rows, width, deviation, **kwargs):
    """Returns an embedding layer with normal initial values of the given standard deviation."""
    normal = keras.initializers.RandomNormal(stddev=deviation)
    return layers.Embedding(rows, width, embeddings_initializer=normal, **kwargs)
