"""Transformer blocks that also write step by step, where attention keeps what it needs of the steps before.

Floor 1. Pre-norm blocks as in GPT-2: x + attention(norm(x)), then x + mlp(norm(x)). A mask is bool and True where a
query may look: (batch or 1, queries, keys).
"""

import math

from keras import layers, ops


def causal_mask(time):
    """Returns bool (1, time, time): a step sees itself and those before it."""
    places = ops.arange(time)
    return (places[:, None] >= places[None])[None]


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
    scores = ops.cast(scores, "float32")
    scores = scores if bias is None else scores + ops.cast(bias, "float32")[None]
    scores = ops.where(mask[:, None], scores, -1e9)
    weights = ops.cast(ops.softmax(scores, axis=-1), query.dtype)
    attended = ops.transpose(ops.matmul(weights, parted(value)), (0, 2, 1, 3))
    return ops.reshape(attended, (-1, ops.shape(query)[1], width))


class _Residual(layers.Layer):
    """What the blocks have in common: the projection of what was attended to, the MLP, two norms and the dropout."""

    def __init__(self, width, heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"A width of {width} cannot be cut into {heads} heads.")
        self.width, self.heads = width, heads
        self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        self.out = layers.Dense(width)
        self.hidden, self.mlp = layers.Dense(4 * width, activation="gelu"), layers.Dense(width)
        self.dropouts = [layers.Dropout(dropout) for _ in range(2)]

    def add(self, x, attended, training):
        """Returns the output of the block from its input x and what was attended to, (..., width) each."""
        x = x + self.dropouts[0](self.out(attended), training=training)
        return x + self.dropouts[1](self.mlp(self.hidden(self.norms[1](x))), training=training)


class Block(_Residual):
    """Self-attention and an MLP: (batch, time, width) -> the same. Weights: 12 width^2 + 13 width.

    Args:
        width: of a position.
        heads: of the attention; they divide the width.
        dropout: of what each half adds.
    """

    def __init__(self, width, heads, dropout=0.0, **kwargs):
        super().__init__(width, heads, dropout, **kwargs)
        self.inputs = layers.Dense(3 * width)

    def call(self, x, mask, pool=None, training=False):
        """Returns the output; with `pool`, a function of (batch, time, width), queries and output are that short."""
        query, key, value = ops.split(self.inputs(self.norms[0](x)), 3, axis=-1)
        if pool:
            x, query = pool(x), pool(query)
        return self.add(x, attend(query, key, value, self.heads, mask), training)

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
        places = ops.arange(ops.shape(caches[0])[1])[None]
        here = ops.equal(places, place[:, None])
        caches = [ops.where(here[..., None], n, ops.cast(c, n.dtype)) for c, n in zip(caches, new, strict=True)]
        mask = (places <= place[:, None])[:, None]
        return self.add(x, attend(query, *caches, self.heads, mask)[:, 0], False), caches


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
        return self.add(x, attended, training)
