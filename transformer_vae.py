"""Transformer autoencoder: it compresses short texts, such as lines of Python, into codes and writes them back.

You can decode a code, walk between the codes of two lines, or sample a random one: most results are valid lines.
A funnel encoder (Dai et al. 2020) reads a text x and halves its length between groups of blocks. The first positions
of the result become the code z: `--latent-tokens` vectors of `--latent-dim` numbers. A causal decoder as in T5 (Raffel
et al. 2020) upsamples the code to one position per token, attends to it, and writes the text. In nats per text:

    loss = nll + kl_weight * max(kl, free_bits) + mmd_weight * w(step) * MMD(z, N(0, 1))
    nll = -log p(x|z), summed over tokens and <eos>,   kl = KL(q(z|x) || N(0, 1)), summed over dimensions

`--code gaussian` samples z from q(z|x), and nll + kl is a bound on -log p(x). `--code point` uses the mean as z and
has the MMD alone, as in the original. In training, some codes reach the decoder through noise of level t:

    z_t = sqrt(1 - t) z / rms(z) + sqrt(t) e,   e ~ N(0, 1)

The decoder is conditioned on t. The more noise, the more it writes what lines are like in general. Samples from the
prior and points between two lines look like noisy codes, so they are decoded at `--noise-level`; texts are
reconstructed at level 0.

Shapes: ids (batch, time), z (batch, latent_tokens, latent_dim), upsampled code (batch, 4 * latent_tokens, units).

Try:
    python transformer_vae.py -e 10                     train on lines of Python, no download
    python transformer_vae.py --sample                  type a line to get lines near it; an empty line gives new ones
    python homotopy.py "for x in y:" "return x + 1"     interpolate between two lines
    python transformer_vae.py --eval                    all scores of the newest run

Departures from the original, Transformer-VAE by F. Greenlee (2020) (details in docs/transformer_vae.md):
    1. The code is not squeezed by tanh (`--tanh` does so).
    2. The code is Gaussian with a KL term; the kernel of the MMD is as wide as the distances between codes.
    3. No posterior is wider than the prior.
    4. In training, some codes are read through noise (`--noise-probability 0` turns this off).
    5. Encoder and upsampled code have positions, and a skip connection adds the code vector aligned with each one.
    6. Softmax is applied once, padding is masked, and attention windows also work during generation.
    7. Scores come from 200 walks and 1,000 samples, with confidence intervals.
"""

import argparse
import functools
import math
import re

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command
from scriptorium.data.digits import DIRECTIONS, SIDES
from scriptorium.data.vocabulary import PAD, START, UNK
from scriptorium.nn import transformer
from scriptorium.nn.compiled import JIT, build_by_calling, in_halves, limit_ops_to_one_core, rematerialized
from scriptorium.nn.fast import Adam, Dropout, softmax_nll
from scriptorium.nn.transformer import FUNNEL, halved, normal_embedding, upsampled
from scriptorium.training.fit import fit_run, learning_rate_schedule
from scriptorium.training.opening import open_run
from scriptorium.training.options import EVAL, add_run_options, add_training_options
from scriptorium.transformer_vae import experiments, scores
from scriptorium.transformer_vae.experiments import CHECKS
from scriptorium.transformer_vae.report import CodesReport
from scriptorium.vae import inference, latent, report
from scriptorium.vae.codec import Codec

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, batches, load

SCRIPT = "transformer_vae"
NOISE_LEVEL = 0.8  # for samples from the prior
WAVES = 8  # cosines that encode the noise level


def with_noise(z, level, normal):
    """Adds noise to codes z (n, tokens, width); `level` (n,) is the share of noise in the variance.

    Each token is first scaled to a mean square of 1. Otherwise codes would grow to drown the noise.

    Args:
        z: float (n, tokens, width).
        level: float (n,), 0 to 1.
        normal: standard normal numbers, in the shape of z.
    """
    level = level[:, None, None]
    z = z * ops.rsqrt(ops.mean(z**2, axis=-1, keepdims=True) + 1e-6)
    return ops.sqrt(1 - level) * z + ops.sqrt(level) * normal


class Encoder(layers.Layer):
    """Encodes ids (batch, time) to z_mean and z_log_var, float32 (batch, latent_tokens, latent_dim) each.

    Args:
        embedding: `keras.layers.Embedding` of the tokens, of width `units`.
        positions: maximum number of tokens per text, including the end.
        latent_tokens, latent_dim: shape of the code.
        units, num_heads, dropout: of the blocks.
        groups: list of int, the number of blocks before, between and after the two halvings.
        gaussian: whether to output a z_log_var; False returns None for it.
        tanh: whether to squeeze the mean between -1 and 1.
        mask_tokens: share of the tokens that training hides.
        recompute: whether the gradient recomputes each block, to save memory.
        seed: int.
    """

    def __init__(
        self, embedding, positions, latent_tokens, latent_dim, units, num_heads, groups=(1, 1, 1), dropout=0.0,
        gaussian=True, tanh=False, mask_tokens=0.0, recompute=False, seed=1,
    ):  # fmt: skip
        super().__init__()
        self.embedding, self.latent_tokens, self.units = embedding, latent_tokens, units
        self.tanh, self.mask_tokens, self.recompute = tanh, mask_tokens, recompute
        self.position_embedding = normal_embedding(1 + positions + FUNNEL * latent_tokens, units, 0.3)
        self.groups = [
            [transformer.Block(units, num_heads, dropout, t5=True) for _ in range(count)] for count in groups
        ]
        self.norm = layers.RMSNormalization(epsilon=1e-6)
        self.to_mean = layers.Dense(latent_dim, dtype="float32")
        self.to_log_var = layers.Dense(latent_dim, dtype="float32") if gaussian else None
        self.seed = keras.random.SeedGenerator(seed)

    def hide(self, ids, training):
        """Replaces tokens by `<unk>`, each with probability mask_tokens, in training."""
        if not training or not self.mask_tokens:
            return ids
        hidden = keras.random.uniform(ops.shape(ids), seed=self.seed) < self.mask_tokens
        return ops.where(ops.logical_and(hidden, ids != PAD), UNK, ids)

    def call(self, ids, training=False):
        ids = self.hide(ids, training)
        # One first position, then a multiple of four; for a point code at least as many as fill the code.
        (batch, time), tokens = ops.shape(ids), self.latent_tokens
        fours = (time + FUNNEL - 1) // FUNNEL
        if not self.to_log_var:
            fours = max(fours, tokens - 1) if isinstance(fours, int) else ops.maximum(fours, tokens - 1)
        first, rest = ops.full((batch, 1), START, ids.dtype), ops.full((batch, FUNNEL * fours - time), PAD, ids.dtype)
        ids = ops.concatenate([first, ids, rest], axis=1)
        mask = ids != PAD
        x = self.embedding(ids) + self.position_embedding(ops.arange(ops.shape(ids)[1]))[None]
        for i, group in enumerate(self.groups):
            for j, block in enumerate(group):
                pool = functools.partial(halved, mask=mask) if i and not j else None

                def read(x, block=block, seen=mask[:, None], pool=pool):
                    return block(x, seen, pool=pool, training=training)

                x = rematerialized(read, x)[0] if self.recompute else read(x)
                mask = halved(ops.cast(mask, "float32")[..., None], mask)[..., 0] > 0 if pool else mask
        x, mask = self.norm(x[:, :tokens]), ops.cast(mask[:, :tokens], "float32")[..., None]
        missing = [(0, 0), (0, tokens - ops.shape(x)[1]), (0, 0)]
        x = ops.reshape(ops.pad(x, missing), (-1, tokens, self.units))
        z_mean = self.to_mean(x)
        z_mean = ops.tanh(z_mean) if self.tanh else z_mean
        if not self.to_log_var:
            return z_mean, None
        # Where there is no token, the posterior is the prior, so that a code does not depend on padding. No posterior
        # is wider than the prior, so that the variance cannot diverge.
        mask = ops.pad(mask, missing)
        return z_mean * mask, -ops.softplus(-self.to_log_var(x)) * mask


class Decoder(layers.Layer):
    """Language model of tokens given z: `call` gives the last states (batch, time, units), `step` the next logits.

    Args:
        embedding, positions, latent_tokens, units, num_heads, dropout: see `Encoder`.
        num_layers: number of blocks.
        window: tokens per attention window; 0 for no windows.
        noise: whether codes may be noisy; the decoder is then conditioned on the noise level.
        recompute: the gradient recomputes all blocks but every N-th; 0 recomputes none.
    """

    def __init__(
        self, embedding, positions, latent_tokens, units, num_heads, num_layers, dropout=0.0, window=0, noise=True,
        recompute=0,
    ):  # fmt: skip
        super().__init__()
        self.embedding, self.positions, self.units, self.recompute = embedding, positions, units, recompute
        self.from_code = layers.Dense(FUNNEL * units)
        self.norm_code = layers.RMSNormalization(epsilon=1e-6)
        self.skip = layers.Dense(units, use_bias=False)
        self.code_position_embedding = normal_embedding(FUNNEL * latent_tokens, units, 0.3)
        self.position_embedding = normal_embedding(positions, units, 0.3)
        self.noise_embedding = layers.Dense(units, use_bias=False) if noise else None
        self.biases = layers.Embedding(transformer.BUCKETS, num_heads, dtype="float32")
        # The windows of every second block are shifted by half a window, so that information crosses their edges.
        self.blocks = [
            transformer.DecoderBlock(units, num_heads, dropout, window, window // 2 * (i % 2))
            for i in range(num_layers)
        ]
        self.norm, self.dropout = layers.RMSNormalization(epsilon=1e-6), Dropout(dropout)
        self.buckets = transformer.buckets(max(positions, window))

    def upsample(self, z, noise_level):
        """Upsamples z, with noise levels (batch,), to the code for attention, (batch, 4 * latent_tokens, units)."""
        code = upsampled(self.norm_code(self.from_code(ops.cast(z, self.compute_dtype))))
        code = code + self.code_position_embedding(ops.arange(code.shape[1]))[None]
        if not self.noise_embedding:
            return code
        level = ops.cast(noise_level, "float32")[:, None]
        waves = ops.cos(math.pi * ops.arange(WAVES, dtype="float32")[None] * level)
        return code + self.noise_embedding(ops.cast(waves, self.compute_dtype))[:, None]

    def skip_from_code(self, code):
        """Returns the code vector aligned with each position, to be added to the decoder's input."""
        here = self.skip(code[:, 1 : 1 + self.positions])
        return ops.pad(here, [(0, 0), (0, self.positions - here.shape[1]), (0, 0)])

    def call(self, ids, z, noise_level, training=False):
        time = ops.shape(ids)[1]
        ids = ops.concatenate([ops.full((ops.shape(ids)[0], 1), START, ids.dtype), ids[:, :-1]], axis=1)
        x = self.dropout(self.embedding(ids) + self.position_embedding(ops.arange(time))[None], training=training)
        bias = ops.transpose(self.biases(ops.convert_to_tensor(self.buckets)), (2, 0, 1))
        code, every = self.upsample(z, noise_level), self.recompute
        x = x + self.skip_from_code(code)[:, :time]
        for i, block in enumerate(self.blocks):
            if every and (i + 1) % every:
                x, _, code, bias = rematerialized(block, x, code, bias)
            else:
                x = block(x, code, bias, training=training)
        return self.norm(x) * self.units**-0.5

    def start(self, z, noise_level):
        """Returns the initial state: position, caches, keys and values of the code, skip connection."""
        code, batch = self.upsample(z, noise_level), ops.shape(z)[0]
        given = [array for block in self.blocks for array in block.keys_and_values(code)]
        caches = [array for block in self.blocks for array in block.caches(batch, self.positions)]
        return (ops.zeros((batch,), "int32"), *caches, *given, self.skip_from_code(code))

    def step(self, token, state):
        """Returns logits (batch, vocab_size) for the token after a token (batch,), and the new state."""
        position, *state = state
        caches, given, after = state[: 2 * len(self.blocks)], state[2 * len(self.blocks) :], []
        x = self.embedding(token) + self.position_embedding(position)
        x = x + ops.take_along_axis(given[-1], position[:, None, None], axis=1)[:, 0]
        rows = ops.take(ops.convert_to_tensor(self.buckets), position[:1], axis=0)[:, : self.positions]
        bias = ops.transpose(self.biases(rows), (2, 0, 1))
        for i, block in enumerate(self.blocks):
            two = slice(2 * i, 2 * i + 2)
            x, kept = block.step(x, caches[two], given[two], position, bias)
            after += kept
        x = self.norm(x) * self.units**-0.5
        logits = ops.matmul(x, ops.transpose(ops.cast(self.embedding.embeddings, x.dtype)))
        return logits, (ops.minimum(position + 1, self.positions - 1), *after, *given)


class TransformerVAE(keras.Model):
    """Encoder, decoder and objective, in nats per text.

    Args:
        encoder, decoder: `Encoder` and `Decoder`.
        latent_shape: (latent_tokens, latent_dim).
        kl_weight: function of the training step, from 0, that returns the weight of the KL term.
        free_bits: nats of KL per text that cost nothing.
        noise_probability: share of the codes that training reads through noise.
        mmd_weight, kernel: final weight and kernel of the MMD between codes and prior.
        seed: int.
    """

    def __init__(
        self, encoder, decoder, latent_shape, kl_weight, free_bits=0.0, noise_probability=0.15, mmd_weight=0.0,
        kernel="imq", seed=1,
    ):  # fmt: skip
        super().__init__()
        self.latent_shape, self.has_latent, self.gaussian = latent_shape, True, encoder.to_log_var is not None
        self.kl_weight, self.free_bits, self.noise_probability = kl_weight, free_bits, noise_probability
        self.mmd_weight, self.kernel = mmd_weight, kernel
        self.embedding, self.encoder, self.decoder = encoder.embedding, encoder, decoder
        self.seed = keras.random.SeedGenerator(seed)
        names = ["nll", "mmd"] + (["kl", "neg_elbo"] if self.gaussian else [])
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.steps_done = latent.step_counter(self)

    @property
    def metrics(self):
        return list(self.means.values())

    @staticmethod
    def mmd_share(step):
        """Returns the factor on the weight of the MMD at a step: 0.5 at step 2500, as in the original."""
        return ops.sigmoid(0.0025 * ops.cast(step, "float32") - 6.25)

    def kl_weight_now(self):
        return float(self.kl_weight(latent.steps(self.steps_done))) if self.gaussian else None

    def call(self, ids, training=False):
        return in_halves(functools.partial(self.autoencode, training=training), ids)

    def autoencode(self, ids, training):
        z_mean, z_log_var = self.encoder(ids, training=training)
        z = latent.normal_sample(z_mean, z_log_var, self.seed) if self.gaussian else z_mean
        noisy, level = self.read_through_noise(z, training)
        hidden = self.decoder(ids, noisy, level, training=training)
        result = {"z": z, "z_mean": z_mean, "nll": self.nll_of(ids, hidden), "noise_level": level}
        return result | {"z_log_var": z_log_var} if self.gaussian else result

    def read_through_noise(self, z, training):
        """Adds noise to some of the codes in training; returns the codes and their noise levels (batch,)."""
        shape = (ops.shape(z)[0],)
        if not training or not self.noise_probability:
            return z, ops.zeros(shape, z.dtype)
        some, level = (keras.random.uniform(shape, seed=self.seed) for _ in range(2))
        some = some < self.noise_probability
        noisy = with_noise(z, level, keras.random.normal(ops.shape(z), seed=self.seed))
        return ops.where(some[:, None, None], noisy, z), ops.where(some, level, 0.0)

    def nll_of(self, ids, hidden):
        nll = softmax_nll(hidden, self.embedding.embeddings, None, ids, ids != PAD, transposed=True)
        return ops.sum(nll, axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        z, nll = y_pred["z"], y_pred["nll"]
        clear = ops.cast(y_pred["noise_level"] == 0, "float32")  # only these count in the reported scores
        self.means["nll"].update_state(nll, sample_weight=clear)
        loss = ops.mean(nll)
        if self.gaussian:
            each = latent.kl_to_standard_normal(y_pred["z_mean"], y_pred["z_log_var"])
            kl = ops.sum(each, axis=(1, 2))
            self.means["kl"].update_state(kl)
            self.means["neg_elbo"].update_state(nll + kl, sample_weight=clear)
            loss = loss + self.kl_weight(self.steps_done) * ops.maximum(ops.mean(kl), self.free_bits)
        flat = ops.reshape(z, (-1, math.prod(self.latent_shape)))
        mmd = latent.mmd(flat, keras.random.normal(ops.shape(flat), seed=self.seed), self.kernel)
        self.means["mmd"].update_state(mmd)
        if self.mmd_weight:
            loss = loss + self.mmd_weight * self.mmd_share(self.steps_done) * mmd
        if training:
            self.steps_done.assign(self.steps_done + 1)
        return loss

    # The methods that `inference` and `scores` call.

    def posterior(self, ids):
        z_mean, z_log_var = self.encoder(ids)
        return z_mean, ops.full_like(z_mean, -1e9) if z_log_var is None else z_log_var

    def states(self, ids, z):
        """Returns the decoder's last states at codes without noise, (batch, time, units)."""
        return self.decoder(ids, z, ops.zeros_like(z[:, 0, 0]))

    def nll(self, ids, z=None):
        return self.nll_of(ids, self.states(ids, z))

    def is_correct(self, ids, z):
        """Whether the most likely token at each position is correct, bool (batch, time); True after the text."""
        logits = ops.matmul(self.states(ids, z), ops.transpose(self.embedding.embeddings))
        return ops.logical_or(ids == PAD, ops.cast(ops.argmax(logits, axis=-1), ids.dtype) == ids)

    def log_ratio(self, ids, z, z_mean, z_log_var):
        each = latent.normal_log_prob(z) - latent.normal_log_prob(z, z_mean, z_log_var)
        return ops.sum(each, axis=-1)

    def start(self, given):
        """Returns the decoder's initial state; `given` is a dict of z and noise_level (batch,)."""
        return self.decoder.start(given["z"], given["noise_level"])

    def step(self, token, state):
        return self.decoder.step(token, state)


def build(options, vocabulary, steps_per_epoch=1):
    """Builds the untrained model of a run from its options (plain JSON values) and its vocabulary.

    Args:
        options, vocabulary: of the run.
        steps_per_epoch: int, for the schedule of the KL weight; needed only in training.
    """
    embedding = normal_embedding(len(vocabulary), options["units"], 1.0)
    sizes = {name: options[name] for name in ("positions", "latent_tokens", "units", "num_heads", "dropout")}
    encoder = Encoder(
        embedding, **sizes, latent_dim=options["latent_dim"], groups=[int(n) for n in options["funnel"].split("_")],
        gaussian=options["code"] == "gaussian", tanh=options["tanh"], mask_tokens=options["mask_tokens"],
        recompute=bool(options["recompute"]), seed=options["seed"] + 2,
    )  # fmt: skip
    decoder = Decoder(
        embedding, **sizes, num_layers=options["decoder_layers"], window=options["attention_window"],
        noise=options["noise_probability"] > 0, recompute=options["recompute"],
    )  # fmt: skip
    length = options["annealing_epochs"] * steps_per_epoch
    model = TransformerVAE(
        encoder, decoder, (options["latent_tokens"], options["latent_dim"]),
        lambda step: latent.kl_schedule("linear", step, length, options["beta"]), options["free_bits"],
        options["noise_probability"], options["mmd"], options["kernel"], options["seed"],
    )  # fmt: skip
    build_by_calling(model, np.full((2, 3), UNK, "int32"))
    return model


# Use ------------------------------------------------------------------------------------------------------------------


class TransformerCodec(Codec):
    """A `Codec` whose codes can have noise."""

    extra_settings = ("noise_level",)

    @property
    def has_noise(self):
        """Whether the run was trained to read codes through noise."""
        return self.run.options["noise_probability"] > 0

    def decode(self, z, *, noise_level=0.0, max_length=None, scores=False, **settings):
        """Decodes a text from each z; see `Codec.decode`.

        Args:
            noise_level: share of noise in z, one for all or one for each (n,); 0 for the code of a text.
        """
        options = self.run.options
        length = min(max_length or options["gen_length"], options["positions"])
        given = {"z": np.asarray(z, "float32")}
        given["noise_level"] = np.broadcast_to(np.asarray(noise_level, "float32"), len(z))
        ids, log_probs = inference.write(self.run.model, given, length, **settings)
        texts = [self.run.vocabulary.decode(row) for row in ids]
        return (texts, log_probs) if scores else texts

    def near(self, text, normal, noise_level=None):
        """Returns codes near a text, see `Codec.near`: its code with half of the noise level.

        If the run was trained without noise, they are draws from the posterior.
        """
        if not self.has_noise:
            return super().near(text, normal)
        level = self.run.options["noise_level"] if noise_level is None else noise_level
        level, z_mean = np.full(len(normal), level / 2, "float32"), self.encode([text])[0]
        z = with_noise(*map(ops.convert_to_tensor, (np.repeat(z_mean, len(normal), axis=0), level, normal)))
        return ops.convert_to_numpy(z), {"noise_level": level}

    def walk_settings(self, shares, drawn=False, noise_level=None):
        """See `Codec.walk_settings`; between two texts the noise is strongest in the middle.

        Raises:
            UserError: a noise level for a run that was trained without noise.
        """
        level = self.run.options["noise_level"] if noise_level is None else noise_level
        if level and not self.has_noise:
            raise UserError("--noise-level needs a run that was trained with noise (--noise-probability)")
        return {"noise_level": np.full(len(shares), level) if drawn else scores.walk_noise(shares, level)}


# Command line ---------------------------------------------------------------------------------------------------------


def groups(text):
    """Parses --funnel: three numbers of blocks."""
    if not re.fullmatch(r"[1-9]\d*(_[1-9]\d*){2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be like 1_1_1: blocks before, between and after two halvings")
    return text


def parse_args(argv=None):
    size, weight, share, count = bounded(int, 1), bounded(float, 0), bounded(float, 0, 0.99), bounded(int, 0)
    parser = Parser(SCRIPT, __doc__)
    add_data_options(parser, task="pylines", max_length=30, top_words=4000, level="bpe")
    add, more = parser.group("experiment"), parser.group("experiment", rare=True)
    about = "syntax: lines of Python; semantics: headlines; mnist: digits"
    add("--experiment", choices=tuple(experiments.EXPERIMENTS), help=about)
    more("--rows", type=int, choices=SIDES, default=9, help="rows of a digit, and pixels per row")
    more("--direction", choices=tuple(DIRECTIONS), default="down", help="order of the rows of a digit")
    add, more = parser.group("model"), parser.group("model", rare=True)
    details = "Such as tenth_5_tkn,funnel_small,30Seq; the words may also stand alone"
    more("--preset", type=experiments.presets, metavar="A,B", help="several options at once", details=details)
    parser.add_argument("presets", type=experiments.presets, nargs="*", help=argparse.SUPPRESS)
    add("-L", "--units", type=size, default=192, help="width of the blocks", older=["--num_units"])
    more("--num-heads", type=size, default=6, help="attention heads")
    more("--funnel", type=groups, default="1_1_1", help="blocks of the encoder before, between and after two halvings")
    more("--decoder-layers", type=size, default=3, help="blocks of the decoder")
    about = "vectors of the code, four tokens each"
    add("--latent-tokens", type=bounded(int, 2), default=9, help=about)
    add("-H", "--latent-dim", type=size, default=43, help="numbers in each vector", older=["--latent_dim"])
    about = "gaussian: sample around the mean; point: use the mean itself"
    more("--code", choices=("gaussian", "point"), default="gaussian", help=about)
    about = "share of codes with noise in training"
    add("--noise-probability", type=share, default=0.15, help=about, older=["--noisy"])
    more("--tanh", action="store_true", help="squeeze the mean between -1 and 1, as in the original")
    about = "tokens per window of the decoder's attention; 0: no windows"
    more("--attention-window", type=count, default=0, help=about, older=["--window"])
    add("--dropout", type=share, default=0.1, help="dropout of the blocks")
    more("--mask-tokens", type=share, default=0.0, help="share of the encoder's tokens that training hides")
    add, more = parser.group("objective"), parser.group("objective", rare=True)
    add("--beta", type=weight, default=0.05, help="final weight of the KL; 1 trains the ELBO")
    more("--annealing-epochs", type=weight, default=2.0, help="epochs until the weight of the KL term reaches --beta")
    more("--free-bits", type=weight, default=0.0, metavar="NATS", help="KL per text that costs nothing")
    more("--mmd", type=weight, default=0.0, metavar="WEIGHT", help="final weight of the MMD between codes and prior")
    more("--kernel", choices=("imq", "rbf", "reference"), default="imq", help="kernel of the MMD")
    more("--no-regularizer", action="store_true", help="train with neither KL nor MMD")
    add_training_options(parser, epochs=10, batch_size=64, learning_rate=1.2e-3)
    about = "save memory: keep the activations of every N-th decoder block and recompute the others; 0: keep all"
    parser.group("memory", rare=True)("--recompute", type=count, default=0, metavar="N", help=about)
    add_sampling_options(parser, temperature=0.0, num_samples=5, gen_length=None)
    parser.set_defaults(beam=scores.BEAM)
    add_run_options(parser)
    add, more = parser.group("use"), parser.group("use", rare=True)
    about = "noise that the decoder assumes in samples and walks"
    add("--noise-level", type=bounded(float, 0, 1), default=NOISE_LEVEL, help=about, older=["--noise"])
    about = "what counts as a valid text; default: python for pylines, else none"
    more("--check", choices=tuple(CHECKS), help=about)
    about = "samples per text for iw_nll in --eval; 0: none"
    more("--iw-samples", type=count, default=100, metavar="K", help=about, requires=EVAL)
    return experiments.settle(parser, parser.parse(argv))


def read(run, args):
    """Returns the kind of texts of a run, see `experiments.Texts`, and the results of `util.load`."""
    labeled = functools.partial(experiments.classes_of, experiment=args.experiment)
    corpus, vocabulary, splits = load(run, args, labeled if args.experiment in experiments.LABELED else None)
    return experiments.kind_of(run, args, corpus, vocabulary, splits), corpus, vocabulary, splits


def evaluate(run, args, kind, splits, iw_samples):
    """Scores a run on its test split; writes the scores to eval.json and returns them."""
    settings = {"check": kind.check, "noise_level": args.noise_level, "quick": run.dry_run}
    score = functools.partial(scores.evaluate, vocabulary=run.vocabulary, **settings)
    more = functools.partial(kind.scores, run, splits)
    return report.evaluate_and_save(TransformerCodec(run), splits["test"], iw_samples, score, more)


def main(args):
    limit_ops_to_one_core()
    run = open_run(SCRIPT, args)
    if not run.options["noise_probability"]:
        if args.noise_level and "noise_level" in args.given:
            raise UserError("--noise-level needs a run that was trained with noise (--noise-probability)")
        args.noise_level = run.options["noise_level"] = 0.0
    if run.for_use:
        run.load_model(build)
        if args.sample is not None:
            report.talk(TransformerCodec(run), args)
        else:
            kind, _, _, splits = read(run, args)
            evaluate(run, args, kind, splits, args.iw_samples)
        return
    kind, corpus, vocabulary, splits = read(run, args)
    train, valid = batches(run, args, splits, valid_size=2 * args.batch_size)
    model = build(run.options, vocabulary, train.total)
    rate = learning_rate_schedule(args.learning_rate, args.decay, args.epochs * train.total)
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None), jit_compile=JIT)
    with run.start(model, vocabulary, corpus):
        report.log_projector(run, splits["valid"])
        codec = TransformerCodec(run)
        callbacks = [CodesReport(run, codec, splits["valid"], args.output_every, args.epochs, kind)]
        fit_run(run, train, valid, args, "val_neg_elbo" if model.gaussian else "val_nll", callbacks)
        evaluate(run, args, kind, splits, 0)
        report.log_projector(run, splits["valid"])


if __name__ == "__main__":
    command(main, parse_args)
