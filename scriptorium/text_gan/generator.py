"""A transformer that writes sentences word by word, from noise, the words before and a style of the whole sentence.

Words are ids (batch, time), noise is float (batch, time, width).
"""

import math

from scriptorium.data.vocabulary import EOS, START
from scriptorium.nn import transformer
from scriptorium.nn.fast import Dropout

import keras
import numpy as np
from keras import layers, ops


def draw_noise(shape, kind, random):
    """Returns noise of mean 0 and variance 1, float32, by a numpy Generator: "uniform", "normal" or "truncated"."""
    if kind == "uniform":
        return random.uniform(-math.sqrt(3), math.sqrt(3), shape).astype("float32")
    normal = random.standard_normal(shape, "float32")
    if kind == "truncated":
        while np.any(outside := np.abs(normal) > 2):
            normal[outside] = random.standard_normal(outside.sum(), "float32")
        normal /= 0.8796  # the deviation of what is left
    return normal


def drawn_noise(shape, kind, seed):
    """As `draw_noise`, of a `keras.random.SeedGenerator`."""
    if kind == "uniform":
        return keras.random.uniform(shape, -math.sqrt(3), math.sqrt(3), seed=seed)
    if kind == "truncated":
        return keras.random.truncated_normal(shape, seed=seed) / 0.8796
    return keras.random.normal(shape, seed=seed)


class Block(layers.Layer):
    """Self-attention, for a block of the backbone noise and attention to the style, and an MLP.

    Args:
        options: of the run.
        styled: whether it is a block of the backbone.
    """

    def __init__(self, options, styled):
        super().__init__()
        width, self.heads, self.post = options["embedding_dim"], options["num_heads"], options["norm"] == "post"
        self.inputs, self.out = layers.Dense(3 * width), layers.Dense(width)
        self.hidden, self.mlp = layers.Dense(options["units"], activation="gelu"), layers.Dense(width)
        self.styled, self.norms = styled, [layers.LayerNormalization(epsilon=1e-5) for _ in range(2 + styled)]
        self.dropouts = [Dropout(options["dropout"]) for _ in range(2)]
        if styled:
            self.query, self.style, self.out_of_style = (
                layers.Dense(width),
                layers.Dense(2 * width),
                layers.Dense(width),
            )
            # How much noise each number of a word gets is learnt (StyleGAN).
            tenth = keras.initializers.Constant(0.1)
            self.strength = self.add_weight(shape=(width,), initializer=tenth, name="strength")
        self.built = True  # its parts build themselves, in `apply`

    def residual(self, place, x, function):
        norm = self.norms[place]
        return norm(x + function(x)) if self.post else x + function(norm(x))

    def given(self, style):
        """Returns the keys and values (batch, time, width) of a style (batch, time, width)."""
        return ops.split(self.style(style), 2, axis=-1)

    def apply(self, x, attention, given, noise, training):
        """Returns x (batch, slots, width) with all that is added to it.

        Not `call`, because Keras would want to trace the function that it is given.

        Args:
            attention: function of query, key and value that returns what is attended to.
            given, noise: for a block of the backbone, see `given`, and noise in the shape of x.
        """

        def attended(x):
            return self.dropouts[0](self.out(attention(*ops.split(self.inputs(x), 3, axis=-1))), training=training)

        def looked_up(x):
            seen = transformer.attend(self.query(x), *given, self.heads, ops.ones((1, 1, 1), "bool"))
            return self.out_of_style(seen)

        x = self.residual(0, x, attended)
        if self.styled:
            x = x + ops.cast(self.strength, x.dtype) * ops.cast(noise, x.dtype)
            x = self.residual(2, x, looked_up)
        return self.residual(1, x, lambda x: self.dropouts[1](self.mlp(self.hidden(x)), training=training))


class Generator(layers.Layer):
    """Writes sentences: `call` gives states for all words at once, `step` logits for one after the other.

    A place in a sentence has one slot, the word before it, or with `--token-input noise` or `constant` a second one,
    from which the word is made, and which the slots after it do not see.
    """

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options, width = options, options["embedding_dim"]
        self.slots, self.positions = 1 if options["token_input"] == "last" else 2, options["positions"]
        small = keras.initializers.RandomNormal(stddev=width**-0.5)
        self.embedding = layers.Embedding(vocab_size, width, embeddings_initializer=small)
        self.places = layers.Embedding(self.positions, width, embeddings_initializer=small)
        self.mapping = [layers.Dense(width, activation="leaky_relu") for _ in range(options["mapping_layers"])]
        styled = [True] * options["backbone_blocks"] + [False] * options["output_blocks"]
        self.blocks = [Block(options, kind) for kind in styled]
        self.norm, self.dropout = layers.LayerNormalization(epsilon=1e-5), Dropout(options["dropout"])
        self.bias = self.add_weight(shape=(vocab_size,), initializer="zeros", name="bias")
        self.own = None
        if not options["tied"]:
            # Words are at first as likely as the bias says, whatever stands before.
            self.own = self.add_weight(shape=(vocab_size, width), initializer="zeros", name="own")
        if options["token_input"] == "constant":
            self.constant = self.add_weight(shape=(width,), initializer=small, name="constant")

    def start_from(self, counts, lengths, random):
        """Sets the softmax of an untrained generator: words as likely as their counts, ends by the number of words.

        Args:
            counts: int (vocab_size,), how often each word stands in a corpus.
            lengths: int (positions + 1,), how many sentences have so many words, the end counted.
            random: `numpy.random.Generator`, for sentences to fit the ends on.
        """
        shares = (counts + 0.1) / (counts + 0.1).sum()
        self.bias.assign(np.log(shares))
        if self.own is None:
            return
        # Of the sentences that reach a place, the share that ends there, as a logit against all other words.
        reach = lengths[::-1].cumsum()[::-1][1:]
        ends = (lengths[1:] + 0.1) / (reach + 0.2)
        logit = np.log(ends / (1 - ends)) - np.log(shares[EOS] / (1 - shares[EOS]))
        # The end's weights are a regression of it on the states of random words.
        words = np.where(np.arange(len(shares)) <= EOS, 0, shares)
        ids = random.choice(len(shares), (128, self.positions), p=words / words.sum()).astype("int32")
        noise = {
            name: draw_noise(shape, self.options["noise"], random) for name, shape in self.noise_shapes(128).items()
        }
        states = np.array(ops.convert_to_numpy(ops.cast(self.states(ids, noise), "float32")), "float64")
        states = states.reshape(-1, states.shape[-1])
        squares = states.T @ states + 1e-3 * len(states) * np.eye(states.shape[-1])
        kernel = np.array(ops.convert_to_numpy(self.own))
        kernel[EOS] = np.linalg.solve(squares, states.T @ np.tile(logit, 128))
        self.own.assign(kernel)

    def noise_shapes(self, batch):
        """Returns the shapes of what it is given to write `batch` sentences, a dict."""
        width, backbone = self.options["embedding_dim"], self.options["backbone_blocks"]
        shapes = {
            "style": (batch, self.positions, width),
            "blocks": (batch, self.positions, self.slots * backbone * width),
        }
        if self.options["token_input"] == "noise":
            shapes["words"] = (batch, self.positions, width)
        return shapes

    def noise(self, batch, seed):
        kind = self.options["noise"]
        return {name: drawn_noise(shape, kind, seed) for name, shape in self.noise_shapes(batch).items()}

    @property
    def kernel(self):
        """The weights of the softmax, (vocab_size, width): those of the words where these are tied."""
        return self.embedding.embeddings if self.own is None else self.own

    def embed(self, ids):
        return self.embedding(ids) * math.sqrt(self.options["embedding_dim"])

    def enter(self, words, place, noise):
        """Returns the slots (batch, slots * places, width) of words before (batch, places, width) at places (places,).

        `noise` is the slice of `words` at these places.
        """
        here = self.places(place)[None] * math.sqrt(self.options["embedding_dim"])
        if self.slots == 1:
            return words + here
        new = ops.cast(noise["words"], words.dtype) if "words" in noise else ops.cast(self.constant, words.dtype)
        return ops.concatenate([words + here, ops.broadcast_to(new + here, ops.shape(words))], axis=1)

    def given(self, style):
        style = ops.cast(style, self.compute_dtype)
        for layer in self.mapping:
            style = layer(style)
        return [block.given(style) for block in self.blocks if block.styled]

    def through(self, x, attentions, given, noise, training=False):
        """Returns the last states (batch, places, width) of slots; `noise` is "blocks" at these places."""
        width = self.options["embedding_dim"]
        for i, (block, attention) in enumerate(zip(self.blocks, attentions, strict=True)):
            own = None
            if block.styled:
                parts = [noise[..., (i * self.slots + s) * width : (i * self.slots + s + 1) * width] for s in (0, 1)]
                own = ops.concatenate(parts[: self.slots], axis=1)
            x = block.apply(x, attention, given[i] if block.styled else None, own, training)
        return self.norm(x if self.slots == 1 else x[:, ops.shape(x)[1] // 2 :])

    def call(self, words, noise, training=False):
        """Returns the states (batch, time, width) that each word is made of, from embedded words before it."""
        time = ops.shape(words)[1]
        noise = {name: array[:, :time] for name, array in noise.items() if name != "style"} | {"style": noise["style"]}
        x = self.dropout(self.enter(words, ops.arange(time), noise), training=training)
        mask = transformer.causal_mask(time)
        if self.slots == 2:
            seen = ops.concatenate([mask, ops.zeros_like(mask)], axis=2)
            mask = ops.concatenate([seen, ops.concatenate([mask, ops.eye(time, dtype="bool")[None]], axis=2)], axis=1)

        def attention(query, key, value):
            return transformer.attend(query, key, value, self.options["num_heads"], mask)

        return self.through(x, [attention] * len(self.blocks), self.given(noise["style"]), noise["blocks"], training)

    def states(self, ids, noise, training=False):
        """Returns what each of ids (batch, time) is predicted from, (batch, time, width)."""
        before = ops.concatenate([ops.full_like(ids[:, :1], START), ids[:, :-1]], axis=1)
        return self(self.embed(before), noise, training=training)

    def logits(self, states):
        """Returns logits float32 (..., vocab_size)."""
        kernel, shape = ops.cast(self.kernel, states.dtype), ops.shape(states)
        rows = ops.einsum("nw,vw->nv", ops.reshape(states, (-1, states.shape[-1])), kernel)
        return ops.reshape(
            ops.cast(rows, "float32") + ops.cast(self.bias, "float32"), (*shape[:-1], self.bias.shape[0])
        )

    def start(self, noise):
        """Returns the state before the first word: the place, keys and values of each block so far, style and noise."""
        batch, width = ops.shape(noise["style"])[0], self.options["embedding_dim"]
        caches = [ops.zeros((batch, self.positions, width), self.compute_dtype) for _ in range(2 * len(self.blocks))]
        given = [array for both in self.given(noise["style"]) for array in both]
        others = [noise[name] for name in ("blocks", "words") if name in noise]
        return (ops.zeros((batch,), "int32"), *caches, *given, *others)

    def step(self, word, state):
        """Returns logits (batch, vocab_size) of what comes after an embedded word (batch, width), and the state."""
        place, *state = state
        count, backbone = 2 * len(self.blocks), 2 * self.options["backbone_blocks"]
        caches, given, others = state[:count], state[count : count + backbone], state[count + backbone :]
        here = [ops.take_along_axis(array, place[:, None, None], axis=1) for array in others]
        noise = dict(zip(("blocks", "words"), here, strict=False))
        after = []

        def attention(i):
            def attend(query, key, value):
                kept, so_far = transformer.remembered(caches[2 * i : 2 * i + 2], [key[:, :1], value[:, :1]], place)
                after.extend(kept)
                mask = so_far[:, None]
                if self.slots == 2:
                    kept = [ops.concatenate([k, new[:, 1:]], 1) for k, new in zip(kept, (key, value), strict=True)]
                    alone = ops.broadcast_to(ops.convert_to_tensor([[[False], [True]]]), (ops.shape(key)[0], 2, 1))
                    mask = ops.concatenate([ops.tile(mask, (1, 2, 1)), alone], axis=2)
                return transformer.attend(query, *kept, self.options["num_heads"], mask)

            return attend

        x = self.enter(word[:, None], place[:1], noise)
        attentions, pairs = [attention(i) for i in range(len(self.blocks))], zip(given[::2], given[1::2], strict=True)
        x = self.through(x, attentions, list(pairs), noise["blocks"])
        return self.logits(x[:, 0]), (ops.minimum(place + 1, self.positions - 1), *after, *given, *others)

    def next(self, token, state):
        """As `step`, of a word's id (batch,)."""
        # Not `embed`, which converts the vectors of all words.
        word = ops.cast(ops.take(ops.convert_to_tensor(self.embedding.embeddings), token, axis=0), self.compute_dtype)
        return self.step(word * math.sqrt(self.options["embedding_dim"]), state)
