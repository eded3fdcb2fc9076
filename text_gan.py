"""Text GAN: a generator that writes sentences from noise, and a critic that learns to tell them from real ones.

Use it to compare adversarial training with maximum likelihood on your own text. The generator, a transformer, writes
word by word, from the preceding words, noise for each word, and noise for the whole sentence, its style. The critic C
scores a sentence. They take turns as in WGAN-GP (Gulrajani et al. 2017), with G generated and R real sentences:

    critic      mean C(G) - mean C(R) + gp_weight * mean (|gradient of C between G and R| - 1)^2
    generator   - mean C(G) + likelihood_weight * nats per token of real sentences

Gradients stop at discrete words. `--feedback` chooses how the generator learns from C:

    both      draws from the softmax; words learn by a straight-through gradient, the length by the score function
              (REINFORCE), because a gradient with fixed following words cannot tell where to end
    draw      the same draws, words and length both by that straight-through gradient
    gumbel    straight-through Gumbel-softmax (Jang et al. 2017), with gradients through all preceding words
    argmax    the most likely word, without gradient; C sees the rows of the softmax, and only the noise is random

Epochs of likelihood come first (`--pretrain-epochs`). `--mode mle` has nothing else, and `--mode diffusion` is
Diffusion-GAN (Wang et al. 2023), whose discriminator sees sentences through noise.

Shapes: ids (batch, time), noise (batch, time, width), embedded words (batch, time, width), scores (batch,).

Try:
    python text_gan.py -e 10                            train on English prose, no download
    python text_gan.py --sample                         twenty new sentences
    python text_gan.py --sample --style-seed 3          the same, all with one style
    python text_gan.py --eval                           all scores of the newest run, and curves over temperatures

Departures from the original, PyTorch_TextGen by gmongaras (2022) (details in docs/text_gan.md):
    1. Attention is causal and caches the preceding words, so that a new word costs one step.
    2. After the end of a sentence comes padding, in generated sentences as in real ones.
    3. C sees a linear map of rows over the vocabulary; the gradient penalty is computed without creating the rows.
    4. One batch of generated sentences serves a turn of the critic and the generator's turn that follows.
    5. Small, with pre-training, a likelihood term, averaged weights and clipped gradients by default;
       `--preset reference` restores the original's settings.
    6. C does not see positions after the longest sentence of a batch (on JAX it does).
"""

import dataclasses
import functools
import math

from scriptorium.command_line import Parser, bounded, command
from scriptorium.data.vocabulary import PAD, START, UNK, read_vocabulary
from scriptorium.decoding import sampling
from scriptorium.nn import mirrored, transformer
from scriptorium.nn.compiled import JIT, build_by_calling, in_halves, limit_ops_to_one_core, xla_fused
from scriptorium.nn.fast import Adam, Dropout, LayerNormalization
from scriptorium.text_gan import diffusion, evaluation, feedback, players, samples
from scriptorium.text_gan.counts import init_from_counts, ppmi_vectors
from scriptorium.text_gan.feedback import sentence_mask
from scriptorium.text_gan.noise import tensor_noise
from scriptorium.text_gan.options import REFERENCE, Game, add_model_options, add_objective_options
from scriptorium.text_gan.samples import Sampler
from scriptorium.training.finding import say_opened
from scriptorium.training.fit import fit_run, learning_rate_schedule
from scriptorium.training.opening import open_run
from scriptorium.training.options import EVAL, SAMPLE, add_run_options, add_training_options, set_unless_given

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, batches, load

SCRIPT = "text_gan"
ADVERSARIAL_EPOCHS = 2  # default, after the epochs of likelihood
VALIDATION_SCORES = ("lm_score", "reverse_lm_score", "text_score", "bleu_3", "self_bleu_3", "jsd_4", "copies", "unique")


class GeneratorBlock(layers.Layer):
    """Self-attention and an MLP; a block of the backbone also has noise and attention to the style.

    Args:
        width, num_heads, units: width and heads of the attention, hidden width of the MLP.
        dropout: rate on the output of each part.
        post_norm: whether norms come after each part instead of before it.
        styled: whether this is a block of the backbone.
    """

    def __init__(self, width, num_heads, units, dropout, post_norm, styled):
        super().__init__()
        self.num_heads, self.post_norm, self.styled = num_heads, post_norm, styled
        self.inputs, self.out = layers.Dense(3 * width), layers.Dense(width)
        self.hidden, self.mlp = layers.Dense(units, activation="gelu"), layers.Dense(width)
        self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2 + styled)]
        self.dropouts = [Dropout(dropout) for _ in range(2)]
        if styled:
            self.query, self.style = layers.Dense(width), layers.Dense(2 * width)
            self.out_of_style = layers.Dense(width)
            # The strength of the noise on each number of a word is learned (StyleGAN).
            tenth = keras.initializers.Constant(0.1)
            self.strength = self.add_weight(shape=(width,), initializer=tenth, name="strength")
        self.built = True  # its sublayers are built in `apply`

    def residual(self, i, x, function):
        norm = self.norms[i]
        return norm(x + function(x)) if self.post_norm else x + function(norm(x))

    def keys_and_values(self, style):
        """Returns the keys and values (batch, time, width) of a style (batch, time, width)."""
        return ops.split(self.style(style), 2, axis=-1)

    def apply(self, x, attention, style, noise, training):
        """Returns the output for x (batch, slots, width).

        Not named `call`, because Keras would try to trace the argument `attention`.

        Args:
            attention: function of query, key and value that returns the attention output.
            style, noise: in a block of the backbone, the `keys_and_values` of the style, and noise in the shape of x.
        """

        def attend(x):
            return self.dropouts[0](self.out(attention(*ops.split(self.inputs(x), 3, axis=-1))), training=training)

        def attend_to_style(x):
            seen = transformer.attend(self.query(x), *style, self.num_heads, ops.ones((1, 1, 1), "bool"))
            return self.out_of_style(seen)

        x = self.residual(0, x, attend)
        if self.styled:
            x = x + ops.cast(self.strength, x.dtype) * ops.cast(noise, x.dtype)
            x = self.residual(2, x, attend_to_style)
        return self.residual(1, x, lambda x: self.dropouts[1](self.mlp(self.hidden(x)), training=training))


class Generator(layers.Layer):
    """Writes sentences: `call` gives states for all words at once, `step` logits for one word after another.

    A position has one slot, the word before it. With token_input "noise" or "constant" it has a second slot, which
    predicts the word and is hidden from later slots.

    Args:
        vocab_size, positions: number of words, and maximum number of words per sentence, including the end.
        width: width of the word embedding.
        units: hidden width of the MLPs.
        num_heads: attention heads.
        mapping_layers: layers that map the noise of the whole sentence to its style.
        backbone_blocks: number of blocks with noise and attention to the style.
        output_blocks: number of blocks after them, without noise and style.
        noise: distribution of the noise, one of `KINDS`.
        token_input: "last", "noise" or "constant".
        post_norm, dropout: see `GeneratorBlock`.
    """

    def __init__(
        self, vocab_size, positions, width, units, num_heads, mapping_layers, backbone_blocks, output_blocks,
        noise="normal", token_input="last", post_norm=False, dropout=0.0,
    ):  # fmt: skip
        super().__init__()
        self.positions, self.width, self.num_heads, self.noise_kind = positions, width, num_heads, noise
        self.backbone, self.token_input, self.slots = backbone_blocks, token_input, 1 if token_input == "last" else 2
        small = keras.initializers.RandomNormal(stddev=width**-0.5)
        self.embedding = layers.Embedding(vocab_size, width, embeddings_initializer=small)
        self.position_embedding = layers.Embedding(positions, width, embeddings_initializer=small)
        self.mapping = [layers.Dense(width, activation="leaky_relu") for _ in range(mapping_layers)]
        styled = [True] * backbone_blocks + [False] * output_blocks
        self.blocks = [GeneratorBlock(width, num_heads, units, dropout, post_norm, kind) for kind in styled]
        self.norm, self.dropout = layers.LayerNormalization(epsilon=1e-5), Dropout(dropout)
        self.bias = self.add_weight(shape=(vocab_size,), initializer="zeros", name="bias")
        # Zero: at first the bias alone sets the probabilities of words.
        self.kernel = self.add_weight(shape=(vocab_size, width), initializer="zeros", name="kernel")
        if token_input == "constant":
            self.constant = self.add_weight(shape=(width,), initializer=small, name="constant")

    def noise_shapes(self, batch):
        """Returns the shapes of the noise for `batch` sentences, a dict."""
        shapes = {
            "style": (batch, self.positions, self.width),
            "blocks": (batch, self.positions, self.slots * self.backbone * self.width),
        }
        if self.token_input == "noise":
            shapes["words"] = (batch, self.positions, self.width)
        return shapes

    def noise(self, batch, seed):
        shapes = self.noise_shapes(batch)
        return {name: tensor_noise(shape, self.noise_kind, seed) for name, shape in shapes.items()}

    def embed(self, ids):
        return self.embedding(ids) * math.sqrt(self.width)

    def enter(self, words, position, noise):
        """Returns the slots (batch, slots * time, width) for preceding words (batch, time, width) at positions (time,).

        `noise` holds the noise of `words` at these positions.
        """
        here = self.position_embedding(position)[None] * math.sqrt(self.width)
        if self.slots == 1:
            return words + here
        new = ops.cast(noise["words"] if self.token_input == "noise" else self.constant, words.dtype)
        return ops.concatenate([words + here, ops.broadcast_to(new + here, ops.shape(words))], axis=1)

    def styles(self, style):
        """Returns the keys and values of a style for each block of the backbone."""
        style = ops.cast(style, self.compute_dtype)
        for layer in self.mapping:
            style = layer(style)
        return [block.keys_and_values(style) for block in self.blocks if block.styled]

    def run_blocks(self, x, attentions, styles, noise, training=False):
        """Returns the final states (batch, time, width) of slots; `noise` is "blocks" at these positions."""
        width = self.width
        for i, (block, attention) in enumerate(zip(self.blocks, attentions, strict=True)):
            block_noise = None
            if block.styled:
                parts = [noise[..., (i * self.slots + s) * width : (i * self.slots + s + 1) * width] for s in (0, 1)]
                block_noise = ops.concatenate(parts[: self.slots], axis=1)
            x = block.apply(x, attention, styles[i] if block.styled else None, block_noise, training)
        return self.norm(x if self.slots == 1 else x[:, ops.shape(x)[1] // 2 :])

    def call(self, words, noise, training=False):
        """Returns the states (batch, time, width) that predict each word, from the embedded words before it."""
        time = ops.shape(words)[1]
        noise = {name: array[:, :time] for name, array in noise.items() if name != "style"} | {"style": noise["style"]}
        x = self.dropout(self.enter(words, ops.arange(time), noise), training=training)
        mask = transformer.causal_mask(time)
        if self.slots == 2:
            seen = ops.concatenate([mask, ops.zeros_like(mask)], axis=2)
            mask = ops.concatenate([seen, ops.concatenate([mask, ops.eye(time, dtype="bool")[None]], axis=2)], axis=1)

        def attention(query, key, value):
            return transformer.attend(query, key, value, self.num_heads, mask)

        attentions = [attention] * len(self.blocks)
        return self.run_blocks(x, attentions, self.styles(noise["style"]), noise["blocks"], training)

    def states(self, ids, noise, training=False):
        """Returns the states (batch, time, width) that predict ids (batch, time)."""
        before = ops.concatenate([ops.full_like(ids[:, :1], START), ids[:, :-1]], axis=1)
        return self(self.embed(before), noise, training=training)

    def logits(self, states):
        """Returns logits float32 (..., vocab_size)."""
        kernel, shape = ops.cast(self.kernel, states.dtype), ops.shape(states)
        rows = ops.einsum("nw,vw->nv", ops.reshape(states, (-1, states.shape[-1])), kernel)
        rows = ops.cast(rows, "float32") + ops.cast(self.bias, "float32")
        return ops.reshape(rows, (*shape[:-1], self.bias.shape[0]))

    def start(self, noise):
        """Returns the initial state: position, caches of keys and values, style and noise."""
        batch = ops.shape(noise["style"])[0]
        cache = (batch, self.positions, self.width)
        caches = [ops.zeros(cache, self.compute_dtype) for _ in range(2 * len(self.blocks))]
        styles = [array for both in self.styles(noise["style"]) for array in both]
        others = [noise[name] for name in ("blocks", "words") if name in noise]
        return (ops.zeros((batch,), "int32"), *caches, *styles, *others)

    def step(self, token, state):
        """Returns logits (batch, vocab_size) for the word after a token (batch,), and the new state."""
        # Not `embed`, which would cast the embeddings of all words.
        word = ops.cast(ops.take(ops.convert_to_tensor(self.embedding.embeddings), token, axis=0), self.compute_dtype)
        return self.step_embedded(word * math.sqrt(self.width), state)

    def step_embedded(self, word, state):
        """Like `step`, for an embedded word (batch, width)."""
        position, *state = state
        count, styled = 2 * len(self.blocks), 2 * self.backbone
        caches, styles, others = state[:count], state[count : count + styled], state[count + styled :]
        here = [ops.take_along_axis(array, position[:, None, None], axis=1) for array in others]
        noise, after = dict(zip(("blocks", "words"), here, strict=False)), []

        def attention(i):
            def attend(query, key, value):
                new = [key[:, :1], value[:, :1]]
                kept, so_far = transformer.update_cache(caches[2 * i : 2 * i + 2], new, position)
                after.extend(kept)
                mask = so_far[:, None]
                if self.slots == 2:
                    kept = [ops.concatenate([k, new[:, 1:]], 1) for k, new in zip(kept, (key, value), strict=True)]
                    alone = ops.broadcast_to(ops.convert_to_tensor([[[False], [True]]]), (ops.shape(key)[0], 2, 1))
                    mask = ops.concatenate([ops.tile(mask, (1, 2, 1)), alone], axis=2)
                return transformer.attend(query, *kept, self.num_heads, mask)

            return attend

        x = self.enter(word[:, None], position[:1], noise)
        attentions, pairs = [attention(i) for i in range(len(self.blocks))], zip(styles[::2], styles[1::2], strict=True)
        x = self.run_blocks(x, attentions, list(pairs), noise["blocks"])
        return self.logits(x[:, 0]), (ops.minimum(position + 1, self.positions - 1), *after, *styles, *others)


class Critic(layers.Layer):
    """Scores sentences, float32 (batch,), from embedded words (batch, positions, width).

    Args:
        vocab_size, positions: see `Generator`.
        width: width of the word embedding; the blocks are twice as wide, because positions are appended.
        num_heads: attention heads.
        layers_per_block: transformer layers per block.
        blocks, output_blocks: number of blocks before the class token, and with it.
        trainable_embedding: False for fixed word vectors.
        unit_vectors: whether embedded words have length 1; if not, the penalty is on rows over the vocabulary.
        pooling: "none", "average" or "max": halves the length after each block before the class token.
        hide_after_end: whether positions after the end of a sentence are masked.
        with_depth: whether the class token is conditioned on the depth of diffusion.
    """

    def __init__(
        self, vocab_size, positions, width, num_heads, layers_per_block, blocks, output_blocks,
        trainable_embedding=True, unit_vectors=True, pooling="none", hide_after_end=False, with_depth=False,
    ):  # fmt: skip
        super().__init__()
        self.num_blocks, self.pooling, self.hide_after_end = blocks, pooling, hide_after_end
        self.unit_vectors = unit_vectors
        small = keras.initializers.RandomNormal(stddev=vocab_size**-0.5)
        kernel = {"shape": (vocab_size, width), "trainable": trainable_embedding, "dtype": "float32"}
        self.kernel = self.add_weight(**kernel, initializer=small, name="kernel")
        self.position_kernel = self.add_weight(shape=(positions, width), initializer=small, name="position_kernel")
        self.token = self.add_weight(shape=(2 * width,), initializer=small, name="token")
        self.groups = [
            [transformer.Block(2 * width, num_heads) for _ in range(layers_per_block)]
            for _ in range(blocks + output_blocks)
        ]
        self.blocks = [block for group in self.groups for block in group]  # names them in saved weights
        self.norm, self.out = LayerNormalization(epsilon=1e-5), layers.Dense(1, dtype="float32")
        self.depth_embedding = layers.Dense(2 * width) if with_depth else None

    def vectors(self):
        """Returns the embeddings of all words, float32 (vocab_size, width)."""
        kernel = ops.convert_to_tensor(self.kernel)
        return kernel * ops.rsqrt(ops.sum(kernel**2, axis=1, keepdims=True) + 1e-12) if self.unit_vectors else kernel

    def products(self):
        """Returns W^T W of the embeddings W, (width, width)."""
        vectors = self.vectors()
        return ops.matmul(ops.transpose(vectors), vectors)

    def embed(self, ids):
        return ops.take(self.vectors(), ids, axis=0)

    def embed_rows(self, rows):
        """Embeds rows over the vocabulary, float (batch, time, vocab_size)."""
        return ops.matmul(rows, ops.cast(self.vectors(), rows.dtype))

    def gradient_norm_squared(self, gradient):
        """Returns the squared gradient norms (batch,) for the penalty, from gradients g (batch, time, width).

        Rows r over the vocabulary enter as r W, so their gradient is g W^T, with squared norm g W^T W g^T.
        """
        other = gradient if self.unit_vectors else ops.matmul(gradient, self.products())
        return ops.sum(other * gradient, axis=(1, 2))

    def pool(self, x, mask):
        """Halves the number of positions by the average or the maximum of each pair."""
        odd, width = ops.shape(x)[1] % 2, x.shape[2]
        x, mask = ops.pad(x, [(0, 0), (0, odd), (0, 0)]), ops.pad(ops.cast(mask, "int32"), [(0, 0), (0, odd)])
        half = ops.shape(x)[1] // 2
        pairs, masks = ops.reshape(x, (-1, half, 2, width)), ops.reshape(mask, (-1, half, 2))
        # A pair with one masked position becomes the other one.
        if self.pooling == "max":
            pooled = ops.max(ops.where(masks[..., None] > 0, pairs, -1e4), axis=2)
        else:
            weights = ops.cast(masks, x.dtype)
            weights = weights / ops.maximum(ops.sum(weights, axis=2, keepdims=True), 1)
            pooled = ops.sum(pairs * weights[..., None], axis=2)
        return pooled, ops.max(masks, axis=2) > 0

    def call(self, embedded, mask, depth=None):
        """Scores sentences.

        Args:
            embedded: float (batch, positions, width).
            mask: bool (batch, positions), False after the end.
            depth: of diffusion, float (batch,) between 0 and 1, or None.
        """
        longest = ops.max(mirrored.all_rows(ops.sum(ops.cast(mask, "int32"), axis=1)))
        # Positions after the longest sentence do not count. Only JAX, whose shapes are fixed, computes them.
        if keras.backend.backend() != "jax":
            embedded, mask = embedded[:, :longest], mask[:, :longest]
        if not self.hide_after_end:
            mask = ops.broadcast_to(ops.arange(ops.shape(mask)[1])[None] < longest, ops.shape(mask))
        positions = ops.cast(self.position_kernel, embedded.dtype)[None, : ops.shape(embedded)[1]]
        positions = ops.broadcast_to(positions, ops.shape(embedded))
        x = ops.cast(ops.concatenate([embedded, positions], axis=-1), self.compute_dtype)
        for i, group in enumerate(self.groups):
            if i == self.num_blocks:
                x, mask = self.with_token(x, depth), ops.concatenate([mask, ops.ones_like(mask[:, :1])], axis=1)
            for block in group:
                x = block(x, mask[:, None])
            if i < self.num_blocks and self.pooling != "none":
                x, mask = self.pool(x, mask)
        return self.out(self.norm(x[:, -1]))[:, 0]

    def with_token(self, x, depth):
        """Appends the class token, conditioned on the depth of diffusion, to x (batch, time, width)."""
        token = ops.broadcast_to(ops.cast(self.token, x.dtype), (ops.shape(x)[0], 1, x.shape[2]))
        if self.depth_embedding is not None:
            waves = ops.cos(math.pi * ops.arange(8, dtype="float32")[None] * ops.cast(depth, "float32")[:, None])
            token = token + self.depth_embedding(ops.cast(waves, x.dtype))[:, None]
        return ops.concatenate([x, token], axis=1)


class TextGAN(players.TwoPlayerModel):
    """Generator, critic and their training in two phases: likelihood, then adversarial.

    `critic`: None for likelihood alone. `averaged`: a `Generator` with averaged weights to sample from, or None.
    """

    def __init__(self, generator, critic, averaged, game, seed):
        super().__init__()
        self.generator, self.critic, self.averaged, self.game = generator, critic, averaged, game
        self.seed = keras.random.SeedGenerator(seed)
        self.phase = "likelihood" if game.pretrain_epochs or not critic else "adversarial"
        number = {"shape": (), "trainable": False}
        # Rounds so far, critic steps since the last generator step, depth of the diffusion.
        self.rounds = self.add_weight(**number, initializer="zeros", name="rounds", dtype="int32")
        self.critic_steps_done = self.add_weight(**number, initializer="zeros", name="critic_steps_done", dtype="int32")
        first = keras.initializers.Constant(diffusion.DEPTHS[0])
        self.depth = self.add_weight(**number, initializer=first, name="depth")
        # Rows: critic and generator. Columns: last loss, and its relative change in the last step.
        self.last_losses = self.add_weight(shape=(2, 2), initializer="zeros", trainable=False, name="last_losses")
        names = ("nll", "critic_loss", "generator_loss", "real", "fake", "mean_difference", "gradient_penalty")
        names = (*names, "critic_norm", "generator_norm", "diffusion_depth")
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.scores = {name: players.ExternalMetric(name) for name in VALIDATION_SCORES}

    @property
    def metrics(self):
        return [*self.means.values(), *self.scores.values()]

    def reported(self):
        """Returns the names of the means that a training step of this phase reports."""
        if self.phase == "likelihood":
            return ("nll",)
        names = ("critic_loss", "generator_loss", "mean_difference", "real", "fake", "critic_norm", "generator_norm")
        return (*names, "diffusion_depth" if self.game.mode == "diffusion" else "gradient_penalty")

    def begin_epoch(self, epoch):
        """Enters the phase of an epoch, from 0; returns whether it is the first adversarial one."""
        pretrain = epoch < self.game.pretrain_epochs or not self.critic
        last, self.phase = self.phase, "likelihood" if pretrain else "adversarial"
        if last != self.phase:
            self.make_train_function(force=True)
            self.make_test_function(force=True)
        return bool(self.critic) and epoch == self.game.pretrain_epochs

    @property
    def sampling_generator(self):
        """The generator to sample from: the one with averaged weights, if there is one."""
        return self.averaged or self.generator

    def update_average(self, momentum):
        """Updates the averaged weights: momentum * average + (1 - momentum) * weight."""
        if self.averaged:
            for average, weight in zip(self.averaged.weights, self.generator.weights, strict=True):
                average.assign(momentum * average + (1 - momentum) * weight)

    # Training by likelihood.

    def nll_of(self, ids, generator, training=False):
        """Returns -log p of sentences (batch, time) in nats, given random noise: (batch,)."""
        noise = generator.noise(ops.shape(ids)[0], self.seed)
        function = functools.partial(feedback.nll_given, generator=generator, training=training)
        return ops.sum(in_halves(function, {"ids": ids, "noise": noise}), axis=-1)

    def call(self, ids, training=False):
        nll = self.nll_of(ids, self.generator, training)
        if self.averaged:
            self.nll_of(ids, self.averaged)
        if self.critic:
            words, depth = self.pad_to_positions(ids), ops.zeros((ops.shape(ids)[0],))
            self.critic(self.critic.embed(words), sentence_mask(words), depth)
        return nll

    def pad_to_positions(self, ids):
        """Pads ids to the maximum number of positions."""
        width = self.generator.positions
        return ops.reshape(ops.pad(ids, [(0, 0), (0, width - ops.shape(ids)[1])]), (-1, width))

    def likelihood_step(self, ids):
        def loss():
            nll, words = mirrored.all_rows((self.nll_of(ids, self.generator, training=True), ids != PAD))
            return ops.sum(nll) / ops.sum(ops.cast(words, "float32")), nll

        variables = self.generator.trainable_variables
        _, nll, gradients = players.loss_and_gradients(loss, variables, players.all_variables(self))
        self.optimizer.update("likelihood", gradients)
        self.means["nll"].update_state(nll)
        self.update_average(0.0)

    # Adversarial training.

    def sample(self, noise):
        """Samples sentences, ids (batch, positions), word by word; no gradient passes through."""
        generator, temperature = self.generator, 0.0 if self.game.feedback == "argmax" else 1.0
        pick = functools.partial(sampling.sample_logits, temperature=temperature)

        def write(inputs):
            noise, uniform = inputs
            return sampling.generate(generator.step, generator.start(noise), uniform, pick, scored=False)[0]

        uniform = keras.random.uniform((ops.shape(noise["style"])[0], self.generator.positions), seed=self.seed)
        return ops.stop_gradient(in_halves(xla_fused(write, generator), (noise, uniform)))

    def critic_inputs(self, noise, ids):
        """Returns the critic's inputs for generated sentences.

        These are embedded words (batch, positions, width) with gradients, their mask, and -log p (batch,) of what is
        learned by the score function, or None.
        """
        both, kind = (self.generator, self.critic), self.game.feedback
        if kind == "gumbel":
            shape = (self.generator.positions, ops.shape(noise["style"])[0], self.generator.bias.shape[0])
            uniform = keras.random.uniform(shape, 1e-7, 1.0, seed=self.seed)
            return *feedback.gumbel_straight_through(*both, noise, uniform, self.game.gumbel_temperature), None
        if kind == "argmax":
            return feedback.softmax_mean(*both, noise, ids), sentence_mask(ids), None
        if kind == "both":
            return feedback.words_and_length(*both, noise, ids)
        return *feedback.straight_through(*both, noise, ids), None

    def adversarial_step(self, ids):
        """Trains the critic on real and generated sentences, then, if it is due, the generator on the latter."""
        real, all_variables = self.pad_to_positions(ids), players.all_variables(self)
        rows = ops.shape(real)[0]
        # One of several devices may have no row; sampling needs one.
        noise = self.generator.noise(ops.maximum(rows, 1) if mirrored.in_use() else rows, self.seed)
        drawn, noise = keras.tree.map_structure(lambda array: array[:rows], (self.sample(noise), noise))
        warm = self.rounds >= self.game.critic_warmup
        critic, generator = True, ops.logical_and(warm, self.critic_steps_done + 1 >= self.game.critic_steps)
        if self.game.dynamic_critic_steps:
            # The player whose loss changes faster (Ouyang and Agam 2020); first each gets one turn.
            change = ops.convert_to_tensor(self.last_losses)[:, 1]
            critic = ops.logical_or(self.rounds == 0, change[0] > self.game.dynamic_weight * change[1])
            critic = ops.logical_and(critic, self.rounds != 1)
            generator = ops.logical_not(critic)
        players.when(critic, lambda: self.critic_turn(real, noise, drawn), all_variables)
        players.when(generator, lambda: self.generator_turn(real, noise, drawn), all_variables)
        self.rounds.assign(self.rounds + 1)

    def track_loss(self, player, loss):
        """Records the loss of a player (0: critic, 1: generator) and its relative change."""
        before = ops.convert_to_tensor(self.last_losses)
        change = ops.abs(loss - before[player, 0]) / (ops.abs(before[player, 0]) + 1e-8)
        row = ops.stack([loss, ops.minimum(change, 1e6)])
        self.last_losses.assign(ops.stack([row, before[1]] if player == 0 else [before[0], row]))

    def critic_turn(self, real, noise, ids):
        masks, rows = [sentence_mask(real), sentence_mask(ids)], self.game.feedback == "argmax"

        def loss():
            written = feedback.softmax_mean(self.generator, self.critic, noise, ids) if rows else self.critic.embed(ids)
            both = [self.critic.embed(real), written]
            if self.game.mode == "diffusion":
                scores = [self.score(*x) for x in zip(both, masks, strict=True)]
                return diffusion.discriminator_loss(*mirrored.all_rows(scores))
            # One pass for both.
            scores = ops.reshape(self.critic(ops.concatenate(both), ops.concatenate(masks)), (2, -1))
            means = ops.mean(mirrored.all_rows(ops.transpose(scores)), axis=0)
            some = max(1, int(self.game.penalty_share * self.game.batch_size) // mirrored.replicas())
            difference, penalty = means[0] - means[1], self.gradient_penalty(*(x[:some] for x in (*both, *masks)))
            logs = {"real": means[0], "fake": means[1], "mean_difference": difference, "gradient_penalty": penalty}
            return self.game.gp_weight * penalty - difference, logs

        variables = self.critic.trainable_variables
        loss, logs, gradients = players.loss_and_gradients(loss, variables, players.all_variables(self))
        self.optimizer.update("critic", gradients)
        if self.game.mode == "diffusion":
            self.depth.assign(diffusion.next_depth(self.depth, logs.pop("sure"), self.game.discriminator_target))
            logs["diffusion_depth"] = ops.convert_to_tensor(self.depth)
        logs |= {"critic_loss": loss, "critic_norm": players.norm_of(gradients)}
        for name, value in logs.items():
            self.means[name].update_state(value)
        self.track_loss(0, loss)
        self.critic_steps_done.assign(self.critic_steps_done + 1)

    def gradient_penalty(self, real, written, real_mask, written_mask):
        """Returns the mean of (|gradient| - 1)^2 at random points between real and generated sentences.

        Arguments are embedded words (batch, positions, width) and their masks; see `Critic.gradient_norm_squared` for
        the gradient.
        """
        share = keras.random.uniform((ops.shape(real)[0], 1, 1), seed=self.seed)
        between, mask = share * real + (1 - share) * written, ops.logical_or(real_mask, written_mask)
        gradient = players.gradient_of_sum(lambda x: self.critic(x, mask), between)
        return ops.mean(mirrored.all_rows((ops.sqrt(self.critic.gradient_norm_squared(gradient) + 1e-12) - 1) ** 2))

    def score(self, embedded, mask):
        """Returns the critic's scores (batch,) of embedded words; `--mode diffusion` adds noise first."""
        if self.game.mode != "diffusion":
            return self.critic(embedded, mask)
        embedded, share = diffusion.diffused(self.critic, embedded, ops.convert_to_tensor(self.depth), self.seed)
        return self.critic(embedded, mask, share)

    def generator_turn(self, real, noise, ids):
        def loss():
            *inputs, nll = self.critic_inputs(noise, ids)
            scores, nll = mirrored.all_rows((self.score(*inputs), nll))
            total = shown = ops.mean(ops.softplus(-scores)) if self.game.mode == "diffusion" else -ops.mean(scores)
            if nll is not None:
                total = total + feedback.reinforce_loss(ops.stop_gradient(scores), nll) / self.generator.positions
            if self.game.likelihood_weight:
                of_real, words = mirrored.all_rows((self.nll_of(real, self.generator), real != PAD))
                total = total + self.game.likelihood_weight * ops.sum(of_real) / ops.sum(ops.cast(words, "float32"))
            return total, shown

        variables = self.generator.trainable_variables
        _, loss, gradients = players.loss_and_gradients(loss, variables, players.all_variables(self))
        self.optimizer.update("generator", gradients)
        self.means["generator_loss"].update_state(loss)
        self.means["generator_norm"].update_state(players.norm_of(gradients))
        self.track_loss(1, loss)
        self.critic_steps_done.assign(0)
        self.update_average(self.game.ema)

    def train_on(self, ids):
        ids = ops.cast(ids, "int32")
        if self.phase == "likelihood":
            self.likelihood_step(ids)
        else:
            self.adversarial_step(ids)
        return {name: self.means[name].result() for name in self.reported()}

    def test_on(self, ids):
        self.means["nll"].update_state(mirrored.all_rows(self.nll_of(ops.cast(ids, "int32"), self.sampling_generator)))
        return {"nll": self.means["nll"].result()} | {name: metric.result() for name, metric in self.scores.items()}


def build(options, vocabulary):
    """Builds the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    vocab_size, adversarial = len(vocabulary), options["mode"] != "mle"
    names = ("positions", "units", "num_heads", "mapping_layers", "backbone_blocks", "output_blocks", "noise")
    sizes = {name: options[name] for name in (*names, "token_input", "dropout")}
    sizes |= {"width": options["embedding_dim"], "post_norm": options["norm"] == "post"}
    generator = Generator(vocab_size, **sizes)
    critic = averaged = None
    if adversarial:
        critic = Critic(
            vocab_size, options["positions"], options["critic_embedding_dim"], options["num_heads"],
            options["critic_layers"], options["critic_blocks"], options["critic_output_blocks"],
            trainable_embedding=options["critic_embedding"] == "linear",
            unit_vectors=options["penalty_space"] == "words", pooling=options["pooling"],
            hide_after_end=options["hide_after_end"], with_depth=options["mode"] == "diffusion",
        )  # fmt: skip
        averaged = Generator(vocab_size, **sizes) if options["ema"] else None
    game = Game(**{field.name: options[field.name] for field in dataclasses.fields(Game)})
    model = TextGAN(generator, critic, averaged, game, options["seed"])
    build_by_calling(model, np.full((2, 3), UNK, "int32"))
    model.update_average(0.0)
    return model


def compile_for(model, options, steps):
    """Compiles a model with its three optimizers; the learning rate for the likelihood decays in `steps` steps."""
    rate = learning_rate_schedule(options["learning_rate"], options["decay"], max(1, steps))
    clip, generator = {"global_clipnorm": options["clip_norm"] or None}, model.generator
    betas = {"beta_1": options["beta_1"], "beta_2": options["beta_2"]}
    parts = {"likelihood": (Adam(rate, **clip), lambda: generator.trainable_variables)}
    if model.critic:
        adversarial, critic = (Adam(options[name], **betas, **clip) for name in ("adversarial_rate", "critic_rate"))
        parts["generator"] = (adversarial, lambda: generator.trainable_variables)
        parts["critic"] = (critic, lambda: model.critic.trainable_variables)
    shown = lambda: "likelihood" if model.phase == "likelihood" else "generator"  # noqa: E731
    model.compile(players.Optimizers(parts, shown), jit_compile=JIT)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    parser = Parser(SCRIPT, __doc__)
    add_data_options(parser, max_length=31, top_words=5000)
    add, more = parser.group("data"), parser.group("data", rare=True)
    add("--unknown", choices=("drop", "keep"), default="drop", help="what to do with sentences of unknown words")
    more("--vocab", metavar="FILE", help="use these words: one per line, or rows of id,word")
    add_model_options(parser)
    add_objective_options(parser)
    add_training_options(parser, epochs=10, batch_size=64, learning_rate=2e-3)
    add_sampling_options(parser, temperature=None, num_samples=10, gen_length=None, beam=False)
    add_run_options(parser)
    more = parser.group("use", rare=True)
    about = "--sample: seed of one style for all sentences"
    more("--style-seed", type=bounded(int, 0), metavar="S", help=about, requires=SAMPLE)
    about = "--eval: number of sentences to score"
    more("--eval-samples", type=bounded(int, 1), default=10_000, help=about, older=["--samples"], requires=EVAL)
    return settle(parser, parser.parse(argv))


def settle(parser, args):
    """Sets the options that follow from others, and rejects contradictions; returns the options."""
    if args.preset:
        set_unless_given(args, REFERENCE)
    if not args.max_length:
        parser.error("--max-length is required, because each position has its own embedding")
    for width, flag in ((args.embedding_dim, "--embedding-dim"), (2 * args.critic_embedding_dim, "the critic's width")):
        if width % args.num_heads:
            parser.error(f"--num-heads {args.num_heads} does not divide {flag} {width}")
    args.positions = args.max_length + 1
    if args.pretrain_epochs is None:
        args.pretrain_epochs = max(0, args.epochs - ADVERSARIAL_EPOCHS)
    if args.mode == "mle":
        args.pretrain_epochs = args.epochs
    return args


def open_sampler(run):
    """Returns the `Sampler` of a run."""
    return Sampler(run, build)


def use(run, args):
    """Samples from a trained run, or scores it."""
    if args.sample is not None:
        count = args.num_samples if "num_samples" in args.given else 20
        settings = samples.settings_of(args) | {"style_seed": args.style_seed}
        say_opened(run)
        print(*open_sampler(run).sample(count, args.seed, **settings), sep="\n")
    else:
        corpus, _, splits = read(run, args)
        evaluation.evaluate(run, corpus, splits, args, args.eval_samples, build)


def read(run, args):
    """Like `util.load`, but drops sentences with unknown words unless --unknown keep is given."""
    if args.vocab is not None and run.is_new:
        run.vocabulary = read_vocabulary(args.vocab, args.level)
    corpus, vocabulary, splits = load(run, args)
    if args.unknown == "drop":
        splits = samples.drop_unknown(corpus, splits)
    samples.check_sizes(splits, args.batch_size)
    return corpus, vocabulary, splits


def main(args):
    limit_ops_to_one_core()
    run = open_run(SCRIPT, args)
    if run.for_use:
        run.load_model(build)
        use(run, args)
        return
    corpus, vocabulary, splits = read(run, args)
    # JAX would compile each length separately.
    train, valid = batches(run, args, splits, buckets=1 if keras.backend.backend() == "jax" else None)
    model = build(run.options, vocabulary)
    if run.begins:
        init_from_counts([model.generator, model.averaged], splits["train"], args.seed)
        if model.critic and args.critic_embedding == "pca":
            model.critic.kernel.assign(ppmi_vectors(splits["train"], len(vocabulary), args.critic_embedding_dim))
    compile_for(model, run.options, (args.pretrain_epochs if model.critic else args.epochs) * train.total)
    with run.start(model, vocabulary, corpus):
        judge = evaluation.make_judge(run, corpus, splits["train"], "valid")
        monitor = "val_nll" if args.mode == "mle" else "val_reverse_lm_score"
        fit_run(run, train, valid, args, monitor, [evaluation.EpochReport(run, judge, args.epochs)])
        evaluation.evaluate(run, corpus, splits, args, 2000, build)


if __name__ == "__main__":
    command(main, parse_args)
