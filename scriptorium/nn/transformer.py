"""Transformer blocks that also write step by step, where attention keeps what it needs of the steps before.

Pre-norm blocks as in GPT-2: x + attention(norm(x)), then x + mlp(norm(x)). A mask is bool and True where a
query may look: (batch or 1, queries, keys).
"""

import math

from scriptorium.nn.fast import Dropout

import numpy as np
from keras import layers, ops

BUCKETS, FURTHEST = 32, 128  # of the relative positions of T5


def causal_mask(time):
    """Returns bool (1, time, time): a step sees itself and those before it."""
    places = ops.arange(time)
    return (places[:, None] >= places[None])[None]


def buckets(time):
    """Returns the bucket of each earlier position, int (time, time): 16 exact distances, then ever wider (T5)."""
    back = np.maximum(np.arange(time)[:, None] - np.arange(time)[None], 0)
    exact = BUCKETS // 2
    further = exact + np.log(np.maximum(back, 1) / exact) / math.log(FURTHEST / exact) * (BUCKETS - exact)
    return np.where(back < exact, back, np.minimum(further, BUCKETS - 1)).astype("int32")


def attend(query, key, value, heads, mask, bias=None):
    """Scaled dot-product attention (Vaswani et al. 2017).

    Args:
        query: float (batch, queries, width).
        key, value: float (batch, keys, width).
        heads: the width is cut into so many parts, each of which attends for itself.
        mask: bool, which broadcasts to (batch, queries, keys); True where a query may look. At least one key for each.
        bias: float (heads, queries, keys), added to the scores, or None.

    Returns:
        float (batch, queries, width).
    """
    width = query.shape[-1]

    def parted(x):
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], heads, width // heads)), (0, 2, 1, 3))

    query = query * (1 / math.sqrt(width // heads))
    scores = ops.matmul(parted(query), ops.transpose(parted(key), (0, 1, 3, 2)))  # (batch, heads, queries, keys)
    added = ops.where(mask, 0.0, -1e9)[:, None]  # small where it is the same for all of the batch
    added = added if bias is None else added + ops.cast(bias, "float32")[None]
    weights = ops.cast(ops.softmax(ops.cast(scores, "float32") + added, axis=-1), query.dtype)
    attended = ops.transpose(ops.matmul(weights, parted(value)), (0, 2, 1, 3))
    return ops.reshape(attended, (-1, ops.shape(query)[1], width))


def attend_in_windows(query, key, value, heads, window, shift, bias):
    """Causal attention of each position to those before it in its window, in time and memory linear in the length.

    Args:
        query, key, value: float (batch, time, width).
        window: positions of a window.
        shift: how far the windows stand to the left, below `window`.
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


def remembered(caches, new, place):
    """Puts what a step adds into its caches.

    Args:
        caches, new: lists of float (batch, time, width) and (batch, 1, width).
        place: int32 (batch,), the number of the step, the same for all.

    Returns:
        The new caches, and which steps there are so far: bool (batch, time).
    """
    places, place = ops.arange(ops.shape(caches[0])[1])[None], place[:, None]
    here = ops.equal(places, place)[..., None]
    return [ops.where(here, n, ops.cast(c, n.dtype)) for c, n in zip(caches, new, strict=True)], places <= place


class _Residual(layers.Layer):
    """What the blocks have in common: the projection of what was attended to, the MLP, two norms and the dropout."""

    def __init__(self, width, heads, dropout=0.0, t5=False, **kwargs):
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"A width of {width} cannot be cut into {heads} heads.")
        self.width, self.heads, self.t5 = width, heads, t5
        self.norms = [self.norm() for _ in range(2)]
        self.out = self.dense(width)
        self.hidden, self.mlp = self.dense(4 * width, activation="relu" if t5 else "gelu"), self.dense(width)
        self.dropouts = [Dropout(dropout) for _ in range(2)]

    def norm(self):
        return layers.RMSNormalization(epsilon=1e-6) if self.t5 else layers.LayerNormalization(epsilon=1e-5)

    def dense(self, units, **kwargs):
        return layers.Dense(units, use_bias=not self.t5, **kwargs)

    def add(self, x, attended, training):
        """Returns the input x with what was attended to, (..., width) each."""
        return x + self.dropouts[0](self.out(attended), training=training)

    def think(self, x, training):
        """Returns x with what the MLP makes of it."""
        return x + self.dropouts[1](self.mlp(self.hidden(self.norms[1](x))), training=training)


class Block(_Residual):
    """Self-attention and an MLP: (batch, time, width) -> the same. Weights: 12 width^2 + 13 width.

    Args:
        width: of a position.
        heads: of the attention; they divide the width.
        dropout: of what each half adds.
        t5: as in T5 (Raffel et al. 2020): ReLU, norms by the root mean square, and no biases: 12 width^2 + 2 width.
    """

    def __init__(self, width, heads, dropout=0.0, t5=False, **kwargs):
        super().__init__(width, heads, dropout, t5, **kwargs)
        self.inputs = self.dense(3 * width)

    def call(self, x, mask, pool=None, training=False):
        """Returns the output; with `pool`, a function of (batch, time, width), queries and output are that short."""
        query, key, value = ops.split(self.inputs(self.norms[0](x)), 3, axis=-1)
        if pool:
            x, query = pool(x), pool(query)
        x = self.add(x, attend(query, key, value, self.heads, mask), training)
        return self.think(x, training)

    def caches(self, batch, time):
        """Returns empty caches for `time` steps: keys and values, (batch, time, width) each."""
        return [ops.zeros((batch, time, self.width), self.compute_dtype) for _ in range(2)]

    def step(self, x, caches, place):
        """Does one step of a causal `call`.

        Args:
            x: float (batch, width), the step's input.
            caches: keys and values of the steps before, see `caches`.
            place: int32 (batch,), the number of the step, the same for all.

        Returns:
            float (batch, width) and the new caches.
        """
        query, *new = ops.split(self.inputs(self.norms[0](x[:, None])), 3, axis=-1)
        caches, so_far = remembered(caches, new, place)
        x = self.add(x[:, None], attend(query, *caches, self.heads, so_far[:, None]), False)
        return self.think(x, False)[:, 0], caches


class DecoderBlock(Block):
    """A block that also attends to a code: self-attention, attention to keys and values of the code, and an MLP.

    Always as in T5; weights: 16 width^2 + 3 width.

    Args:
        width, heads, dropout: see `Block`.
        window: positions that the self-attention is cut into, 0 for all in one.
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
        """Returns x (batch, time, width) with what it attends to of the keys and values that are given."""
        seen = attend(self.query(self.norm_between(x)), *given, self.heads, ops.ones((1, 1, 1), "bool"))
        return x + self.dropout_of_code(self.out_of_code(seen), training=training)

    def call(self, x, code, bias, training=False):
        """Returns the output, causal, of x (batch, time, width) and a code (batch, any, width).

        The bias, float (heads, at least time, the same), is added to the scores of the self-attention.
        """
        heads, time = self.heads, ops.shape(x)[1]
        three = ops.split(self.inputs(self.norms[0](x)), 3, axis=-1)
        if self.window:
            attended = attend_in_windows(*three, heads, self.window, self.shift, bias[:, : self.window, : self.window])
        else:
            attended = attend(*three, heads, causal_mask(time), bias[:, :time, :time])
        x = self.look_up(self.add(x, attended, training), self.keys_and_values(code), training)
        return self.think(x, training)

    def step(self, x, caches, given, place, bias):
        """Does one step of `call`, see `Block`; `given` are keys and values of the code, the bias (heads, 1, time)."""
        query, *new = ops.split(self.inputs(self.norms[0](x[:, None])), 3, axis=-1)
        caches, mask = remembered(caches, new, place)
        if self.window:
            places, place = ops.arange(ops.shape(mask)[1])[None], place[:, None]
            same = ops.equal((places + self.shift) // self.window, (place + self.shift) // self.window)
            mask = ops.logical_and(mask, same)
        x = self.add(x[:, None], attend(query, *caches, self.heads, mask[:, None], bias), False)
        return self.think(self.look_up(x, given, False), False)[:, 0], caches


class CrossBlock(_Residual):
    """Attention to given keys and values, as they are, and an MLP.

    Args:
        width, heads, dropout: see `Block`.
        given: width of the keys and values. Where it is that of the block, the weights are 10 width^2 + 11 width.
    """

    def __init__(self, width, heads, dropout, given, **kwargs):
        super().__init__(width, heads, dropout, **kwargs)
        if given % heads:
            raise ValueError(f"A width of {given} cannot be cut into {heads} heads.")
        self.query = layers.Dense(given)

    def call(self, x, key, value, mask, training=False):
        attended = attend(self.query(self.norms[0](x)), key, value, self.heads, mask)
        return self.think(self.add(x, attended, training), training)


FUNNEL = 4  # positions of a text to one of the code: two halvings


def halved(x, mask):
    """Halves the length: the first position stays, then each two have their mean; one that is left over is dropped.

    Args:
        x: float (batch, time, units).
        mask: bool (batch, time), False where a position is padding and has no part in a mean.

    Returns:
        float (batch, ceil(time / 2), units): 30 positions become 15, and these 8.
    """
    pairs = (ops.shape(x)[1] + 1) // 2 - 1

    def summed(a):
        return ops.sum(ops.reshape(a[:, 1 : 1 + 2 * pairs], (-1, pairs, 2, a.shape[-1])), axis=2)

    weights = ops.cast(mask, x.dtype)[..., None]
    means = summed(x * weights) / ops.maximum(summed(weights), 1.0)
    return ops.concatenate([x[:, :1], means], axis=1)


def upsampled(x, slots=False):
    """Makes four positions of each but the first, and puts three of 0 behind: (batch, n, units) -> (batch, 4 n, units).

    With `slots`, x is (batch, n, 4 * units), what the four hold; else they repeat what x holds.
    """
    if slots:
        x = ops.reshape(x, (-1, FUNNEL * x.shape[1], x.shape[2] // FUNNEL))
        first, others = x[:, :1], x[:, FUNNEL:]
    else:
        first, others = x[:, :1], ops.repeat(x[:, 1:], FUNNEL, axis=1)
    return ops.concatenate([first, others, *[ops.zeros_like(first)] * (FUNNEL - 1)], axis=1)
