"""A funnel: an encoder that halves the length of a text as it reads it, and the way back to a token a position.

Floor 1, used by transformer_vae.py. After F. Greenlee's Transformer-VAE (2020) and the funnel transformer (Dai et al.
2020): the first position stays apart, each halving takes means of two neighbours.
"""

import functools

import keras
from keras import layers, ops

import transformer
from layers import recomputed
from util import PAD, START, UNK

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


def table(rows, units, deviation=0.3):
    return layers.Embedding(rows, units, embeddings_initializer=keras.initializers.RandomNormal(stddev=deviation))


class Encoder(layers.Layer):
    """Reads ids (batch, time) to z_mean and z_log_var, float32 (batch, latent_tokens, latent_dim) each."""

    def __init__(self, options, embedding):
        super().__init__()
        self.options, self.embedding = options, embedding
        units, heads = options["units"], options["num_heads"]
        self.positions = table(1 + options["positions"] + FUNNEL * options["latent_tokens"], units)
        self.groups = [
            [transformer.Block(units, heads, options["dropout"], t5=True) for _ in range(int(n))]
            for n in options["funnel"].split("_")
        ]
        self.norm = layers.RMSNormalization(epsilon=1e-6)
        self.to_mean = layers.Dense(options["latent_dim"], dtype="float32")
        self.to_log_var = (
            layers.Dense(options["latent_dim"], dtype="float32") if options["code"] == "gaussian" else None
        )
        self.seed = keras.random.SeedGenerator(options["seed"] + 2)

    def hide(self, ids, training):
        """Replaces tokens by `<unk>`, each with probability --mask-tokens, in training."""
        if not training or not self.options["mask_tokens"]:
            return ids
        hidden = keras.random.uniform(ops.shape(ids), seed=self.seed) < self.options["mask_tokens"]
        return ops.where(ops.logical_and(hidden, ids != PAD), UNK, ids)

    def call(self, ids, training=False):
        ids = self.hide(ids, training)
        # A first position of its own, then whole fours; at least as many as the code has where all of it is used.
        (batch, time), tokens = ops.shape(ids), self.options["latent_tokens"]
        fours = (time + FUNNEL - 1) // FUNNEL
        if not self.to_log_var:
            fours = max(fours, tokens - 1) if isinstance(fours, int) else ops.maximum(fours, tokens - 1)
        first, rest = ops.full((batch, 1), START, ids.dtype), ops.full((batch, FUNNEL * fours - time), PAD, ids.dtype)
        ids = ops.concatenate([first, ids, rest], axis=1)
        mask = ids != PAD
        x = self.embedding(ids) + self.positions(ops.arange(ops.shape(ids)[1]))[None]
        for i, group in enumerate(self.groups):
            for j, block in enumerate(group):
                pool = functools.partial(halved, mask=mask) if i and not j else None

                def read(x, block=block, seen=mask[:, None], pool=pool):
                    return block(x, seen, pool=pool, training=training)

                x = recomputed(read, x)[0] if self.options["recompute"] else read(x)
                mask = halved(ops.cast(mask, "float32")[..., None], mask)[..., 0] > 0 if pool else mask
        x, mask = self.norm(x[:, :tokens]), ops.cast(mask[:, :tokens], "float32")[..., None]
        missing = [(0, 0), (0, tokens - ops.shape(x)[1]), (0, 0)]
        x = ops.reshape(ops.pad(x, missing), (-1, tokens, self.options["units"]))
        z_mean = self.to_mean(x)
        z_mean = ops.tanh(z_mean) if self.options["tanh"] else z_mean
        if not self.to_log_var:
            return z_mean, None
        # Where no token was the posterior is the prior: a code does not depend on what a text is padded to. And none is
        # wider than the prior, which no code needs, so that it cannot run away.
        mask = ops.pad(mask, missing)
        return z_mean * mask, -ops.softplus(-self.to_log_var(x)) * mask
