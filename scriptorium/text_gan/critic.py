"""A transformer that gives each sentence one number: high for real ones, low for those that a generator writes."""

import math

from scriptorium.data.vocabulary import EOS, PAD
from scriptorium.nn import transformer

import keras
from keras import layers, ops


def present(ids):
    """Returns which places of ids (batch, time) belong to a sentence, its end counted: bool (batch, time)."""
    ends = ops.cast(ids == EOS, "int32")
    return ops.logical_and(ops.cumsum(ends, axis=1) - ends == 0, ids != PAD)


class Critic(layers.Layer):
    """Gives sentences a score, float32 (batch,), from embedded words (batch, positions, width)."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options, width = options, options["critic_embedding_dim"]
        small = keras.initializers.RandomNormal(stddev=vocab_size**-0.5)
        linear = options["critic_embedding"] == "linear"
        self.kernel = self.add_weight(
            shape=(vocab_size, width), initializer=small, trainable=linear, name="kernel", dtype="float32"
        )
        self.places = self.add_weight(shape=(options["positions"], width), initializer=small, name="places")
        self.token = self.add_weight(shape=(2 * width,), initializer=small, name="token")
        sizes = (2 * width, options["num_heads"])
        groups = [options["critic_layers"]] * (options["critic_blocks"] + options["critic_output_blocks"])
        self.groups = [[transformer.Block(*sizes) for _ in range(count)] for count in groups]
        # Keras finds layers in a list, not in lists within one.
        self.blocks = [block for group in self.groups for block in group]
        self.norm, self.out = layers.LayerNormalization(epsilon=1e-5), layers.Dense(1, dtype="float32")
        self.of_depth = layers.Dense(2 * width) if options["mode"] == "diffusion" else None

    def vectors(self):
        """Returns what words are embedded as, float32 (vocab_size, width): of length 1 where that is what counts."""
        kernel = ops.convert_to_tensor(self.kernel)
        if self.options["penalty"] == "rows":
            return kernel
        return kernel * ops.rsqrt(ops.sum(kernel**2, axis=1, keepdims=True) + 1e-12)

    def products(self):
        """Returns W^T W of the words' vectors W, (width, width)."""
        vectors = self.vectors()
        return ops.matmul(ops.transpose(vectors), vectors)

    def embed(self, ids):
        return ops.take(self.vectors(), ids, axis=0)

    def embed_rows(self, rows):
        """Embeds rows over the vocabulary, float (batch, time, vocab_size)."""
        return ops.matmul(rows, ops.cast(self.vectors(), rows.dtype))

    def squared(self, gradient):
        """Returns the squared norms (batch,) of the penalty, from gradients (batch, time, width) of embedded words.

        Rows r enter as r W, so their gradient is g W^T, whose square is g W^T W g^T.
        """
        other = gradient
        if self.options["penalty"] == "rows":
            other = ops.matmul(gradient, self.products())
        return ops.sum(other * gradient, axis=(1, 2))

    def pooled(self, x, mask):
        """Returns half as many positions: the average or the larger one of each two."""
        odd, width = ops.shape(x)[1] % 2, x.shape[2]
        x, mask = ops.pad(x, [(0, 0), (0, odd), (0, 0)]), ops.pad(ops.cast(mask, "int32"), [(0, 0), (0, odd)])
        half = ops.shape(x)[1] // 2
        pairs, masks = ops.reshape(x, (-1, half, 2, width)), ops.reshape(mask, (-1, half, 2))
        # A pair of which only one is there is that one.
        if self.options["pooling"] == "max":
            pooled = ops.max(ops.where(masks[..., None] > 0, pairs, -1e4), axis=2)
        else:
            weights = ops.cast(masks, x.dtype)
            weights = weights / ops.maximum(ops.sum(weights, axis=2, keepdims=True), 1)
            pooled = ops.sum(pairs * weights[..., None], axis=2)
        return pooled, ops.max(masks, axis=2) > 0

    def call(self, embedded, present, depth=None):
        """Scores sentences.

        Args:
            embedded: float (batch, positions, width).
            present: bool (batch, positions), False behind the end.
            depth: of diffusion, float (batch,) between 0 and 1, or None.
        """
        options, count = self.options, ops.shape(embedded)[0]
        if keras.backend.backend() != "jax":
            # What lies behind the longest sentence of all need not be computed.
            longest = ops.max(ops.sum(ops.cast(present, "int32"), axis=1))
            embedded, present = embedded[:, :longest], present[:, :longest]
        present = present if options["hide_after_end"] else ops.ones_like(present)
        places = ops.cast(self.places, embedded.dtype)[None, : ops.shape(embedded)[1]]
        places = ops.broadcast_to(places, ops.shape(embedded))
        x = ops.cast(ops.concatenate([embedded, places], axis=-1), self.compute_dtype)
        for i, group in enumerate(self.groups):
            if i == options["critic_blocks"]:
                x, present = self.with_token(x, depth), ops.concatenate([present, ops.ones((count, 1), "bool")], axis=1)
            for block in group:
                x = block(x, present[:, None])
            if i < options["critic_blocks"] and options["pooling"] != "none":
                x, present = self.pooled(x, present)
        return self.out(self.norm(x[:, -1]))[:, 0]

    def with_token(self, x, depth):
        """Appends the class token, which is told the depth of diffusion, to x (batch, time, width)."""
        token = ops.broadcast_to(ops.cast(self.token, x.dtype), (ops.shape(x)[0], 1, x.shape[2]))
        if self.of_depth is not None:
            waves = ops.cos(math.pi * ops.arange(8, dtype="float32")[None] * ops.cast(depth, "float32")[:, None])
            token = token + self.of_depth(ops.cast(waves, x.dtype))[:, None]
        return ops.concatenate([x, token], axis=1)
