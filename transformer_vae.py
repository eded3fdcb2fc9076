"""Transformer autoencoder: texts to a few latent tokens and back, with a latent space that can be drawn from.

A funnel encoder (Dai et al. 2020) reads a text x and halves its length between groups of blocks; the first positions of
what is left become the code z, `--latent-tokens` numbers of `--latent-dim` each. A causal decoder as in T5 (Raffel et
al. 2020) attends to the code, upsampled to one position a token again, and writes the text. In nats a text,

    loss = nll + beta * kl_weight * kl + mmd_weight * w(step) * MMD(z, N(0, 1))
    nll = -log p(x|z), summed over tokens and <eos>,   kl = KL(q(z|x) || N(0, 1)), summed over dimensions

`--code gaussian` draws z from q(z|x) and has both terms, a bound of the likelihood at --beta 1; `--code point` takes
the mean of q for z and has the MMD alone, as the original.

In training the decoder reads some codes through noise and is told its level t, which is 0 else:

    z_t = sqrt(1 - t) z / rms(z) + sqrt(t) e,   e ~ N(0, 1)

The more noise, the more it goes by what lines are like, and the less by the code. Draws from the prior look like codes
with much noise, and so do points between two lines: they are written at `--noise`, and texts come back at 0.

Shapes: ids (batch, time), z (batch, latent_tokens, latent_dim), upsampled code (batch, 4 * latent_tokens, units).

Try:
    python transformer_vae.py -e 10                     lines of Python, no download
    python transformer_vae.py --sample                  talk to it: a line gives lines near it, an empty one new ones
    python homotopy.py "for x in y:" "return x + 1"     a walk between two lines
    python transformer_vae.py --eval                    all scores of the newest run

Departures from the original:
    1. The code is not squeezed by tanh (`--tanh` does so): a number in (-1, 1) is never N(0, 1), whatever the MMD.
    2. The MMD has kernels that reach as far as the codes lie apart (`--kernel reference` is the original's, whose
       gradient is next to nothing).
    3. Encoder and upsampled code are told their positions, the four that are made of a position of the code differ
       (`--upsampling repeat`: not), and the decoder is given those at its own place besides looking them all up
       (`--no-own`: not). So it need not learn first where in the code a token is.
    4. Codes are read through noise (`--noisy 0`: not). Else what a code drawn from the prior writes is hardly a line.
"""

import argparse
import contextlib
import functools
import math
import re
import sys

from scriptorium import UserError
from scriptorium.command_line import bounded, command, parse
from scriptorium.data.batches import Batches, encode_texts
from scriptorium.data.digits import DIRECTIONS, SIDES
from scriptorium.data.vocabulary import PAD, START, UNK
from scriptorium.nn import transformer
from scriptorium.nn.compiled import JIT, in_parts, one_core_an_operation, recomputed
from scriptorium.nn.fast import Adam, Dropout, softmax_nll
from scriptorium.nn.transformer import FUNNEL, halved, upsampled
from scriptorium.training.fit import falling, fit, settle_epochs
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options
from scriptorium.transformer_vae import experiments
from scriptorium.transformer_vae import scores as code_scores
from scriptorium.transformer_vae.experiments import CHECKS
from scriptorium.transformer_vae.report import ShowCodes
from scriptorium.vae import inference, latent, report

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, load

SCRIPT = "transformer_vae"
SETTINGS = ("noise",)  # of `decode`, besides those that any script has
NOISE = 0.8  # of what is written from draws
WAVES = 8  # cosines that tell the decoder the level of noise


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


def noised(z, noise, normal):
    """Returns codes z (n, tokens, width) through noise: of their variance `noise` (n,) is that of `normal`, so shaped.

    Each token is brought to a mean square of 1 first. Else noise would be a reason for codes to be large.
    """
    noise = noise[:, None, None]
    z = z * ops.rsqrt(ops.mean(z**2, axis=-1, keepdims=True) + 1e-6)
    return ops.sqrt(1 - noise) * z + ops.sqrt(noise) * normal


class Decoder(layers.Layer):
    """Language model of tokens given z: `call` gives the last states (batch, time, units), `step` the next logits."""

    def __init__(self, options, embedding):
        super().__init__()
        self.options, self.embedding, units = options, embedding, options["units"]
        self.slots = options["upsampling"] == "slots"
        self.from_code = layers.Dense(FUNNEL * units if self.slots else units)
        self.norm_code = layers.RMSNormalization(epsilon=1e-6)
        self.own = None if options["no_own"] else layers.Dense(units, use_bias=False)
        self.places_of_code = table(FUNNEL * options["latent_tokens"], units)
        self.places = table(options["positions"], units)
        self.of_noise = layers.Dense(units, use_bias=False) if options["noisy"] else None
        self.biases = layers.Embedding(transformer.BUCKETS, options["num_heads"], dtype="float32")
        # Every second block has its windows half a window further, so that what is told crosses their edges.
        window, sizes = options["window"], (units, options["num_heads"], options["dropout"])
        self.blocks = [
            transformer.DecoderBlock(*sizes, window, window // 2 * (i % 2)) for i in range(options["decoder_layers"])
        ]
        self.norm, self.dropout = layers.RMSNormalization(epsilon=1e-6), Dropout(options["dropout"])
        self.buckets = transformer.buckets(max(options["positions"], window))

    def code(self, z, noise):
        """Returns what the decoder attends to, (batch, 4 * latent_tokens, units), of z and its noise (batch,)."""
        code = upsampled(self.norm_code(self.from_code(ops.cast(z, self.compute_dtype))), self.slots)
        code = code + self.places_of_code(ops.arange(code.shape[1]))[None]
        if not self.of_noise:
            return code
        waves = ops.cos(math.pi * ops.arange(WAVES, dtype="float32")[None] * ops.cast(noise, "float32")[:, None])
        return code + self.of_noise(ops.cast(waves, self.compute_dtype))[:, None]

    def beside(self, code):
        """Returns what the decoder is given directly at each position: of the code that which was made of its token."""
        here = self.own(code[:, 1 : 1 + self.options["positions"]])
        return ops.pad(here, [(0, 0), (0, self.options["positions"] - here.shape[1]), (0, 0)])

    def call(self, ids, z, noise, training=False):
        time = ops.shape(ids)[1]
        ids = ops.concatenate([ops.full((ops.shape(ids)[0], 1), START, ids.dtype), ids[:, :-1]], axis=1)
        x = self.dropout(self.embedding(ids) + self.places(ops.arange(time))[None], training=training)
        bias = ops.transpose(self.biases(ops.convert_to_tensor(self.buckets)), (2, 0, 1))
        code, every = self.code(z, noise), self.options["recompute"]
        x = x + self.beside(code)[:, :time] if self.own else x
        for i, block in enumerate(self.blocks):
            if every and (i + 1) % every:
                x, _, code, bias = recomputed(block, x, code, bias)
            else:
                x = block(x, code, bias, training=training)
        return self.norm(x) * self.options["units"] ** -0.5

    def start(self, z, noise):
        code, batch = self.code(z, noise), ops.shape(z)[0]
        given = [array for block in self.blocks for array in block.keys_and_values(code)]
        caches = [array for block in self.blocks for array in block.caches(batch, self.options["positions"])]
        given += [self.beside(code)] if self.own else []
        return (ops.zeros((batch,), "int32"), *caches, *given)

    def step(self, token, state):
        place, *state = state
        caches, given, after = state[: 2 * len(self.blocks)], state[2 * len(self.blocks) :], []
        x = self.embedding(token) + self.places(place)
        x = x + ops.take_along_axis(given[-1], place[:, None, None], axis=1)[:, 0] if self.own else x
        rows = ops.take(ops.convert_to_tensor(self.buckets), place[:1], axis=0)[:, : self.options["positions"]]
        bias = ops.transpose(self.biases(rows), (2, 0, 1))
        for i, block in enumerate(self.blocks):
            two = slice(2 * i, 2 * i + 2)
            x, kept = block.step(x, caches[two], given[two], place, bias)
            after += kept
        x = self.norm(x) * self.options["units"] ** -0.5
        logits = ops.matmul(x, ops.transpose(ops.cast(self.embedding.embeddings, x.dtype)))
        return logits, (ops.minimum(place + 1, self.options["positions"] - 1), *after, *given)


class TransformerVAE(keras.Model):
    """Encoder, decoder and objective, in nats a text."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options = options
        self.latent_shape = (options["latent_tokens"], options["latent_dim"])
        self.embedding = table(vocab_size, options["units"], 1.0)
        self.encoder, self.decoder = Encoder(options, self.embedding), Decoder(options, self.embedding)
        self.seed = keras.random.SeedGenerator(options["seed"])
        self.gaussian = options["code"] == "gaussian"
        names = ["nll", "mmd"] + ["kl", "neg_elbo"] * self.gaussian
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step", dtype="int32")
        self.steps_an_epoch = 1

    @property
    def metrics(self):
        return list(self.means.values())

    def kl_weight(self, step):
        length = self.options["annealing_epochs"] * self.steps_an_epoch
        return latent.kl_schedule("linear", step, length, self.options["beta"])

    @staticmethod
    def mmd_weight(step):
        """Returns the share of the weight of the MMD at a step: 0.5 at step 2500, as in the reference."""
        return ops.sigmoid(0.0025 * ops.cast(step, "float32") - 6.25)

    def kl_weight_now(self):
        return float(self.kl_weight(int(self.step))) if self.gaussian else None

    def call(self, ids, training=False):
        return in_parts(functools.partial(self.read_and_write, training=training), ids)

    def read_and_write(self, ids, training):
        z_mean, z_log_var = self.encoder(ids, training=training)
        z = latent.normal_sample(z_mean, z_log_var, self.seed) if self.gaussian else z_mean
        given, noise = self.through_noise(z, training)
        hidden = self.decoder(ids, given, noise, training=training)
        result = {"z": z, "z_mean": z_mean, "hidden": hidden, "noise": noise}
        return result | {"z_log_var": z_log_var} if self.gaussian else result

    def through_noise(self, z, training):
        """Returns codes as the decoder reads them, and the level of their noise (batch,): in training some have any."""
        shape = (ops.shape(z)[0],)
        if not training or not self.options["noisy"]:
            return z, ops.zeros(shape, z.dtype)
        some, level = (keras.random.uniform(shape, seed=self.seed) for _ in range(2))
        some = some < self.options["noisy"]
        through = noised(z, level, keras.random.normal(ops.shape(z), seed=self.seed))
        return ops.where(some[:, None, None], through, z), ops.where(some, level, 0.0)

    def nll_of(self, ids, hidden):
        nll = softmax_nll(hidden, self.embedding.embeddings, None, ids, ids != PAD, transposed=True)
        return ops.sum(nll, axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        options, z = self.options, y_pred["z"]
        nll = self.nll_of(x, y_pred["hidden"])
        clear = ops.cast(y_pred["noise"] == 0, "float32")  # these alone count in what is shown
        self.means["nll"].update_state(nll, sample_weight=clear)
        loss = ops.mean(nll)
        if self.gaussian:
            each = latent.kl_to_standard_normal(y_pred["z_mean"], y_pred["z_log_var"])
            kl = ops.sum(each, axis=(1, 2))
            self.means["kl"].update_state(kl)
            self.means["neg_elbo"].update_state(nll + kl, sample_weight=clear)
            loss = loss + self.kl_weight(self.step) * ops.maximum(ops.mean(kl), options["free_bits"])
        flat = ops.reshape(z, (-1, math.prod(self.latent_shape)))
        mmd = latent.mmd(flat, keras.random.normal(ops.shape(flat), seed=self.seed), options["kernel"])
        self.means["mmd"].update_state(mmd)
        if options["mmd"]:
            loss = loss + options["mmd"] * self.mmd_weight(self.step) * mmd
        if training:
            self.step.assign(self.step + 1)
        return loss

    # What inference.py asks for.

    def posterior(self, ids):
        z_mean, z_log_var = self.encoder(ids)
        return z_mean, ops.full_like(z_mean, -1e9) if z_log_var is None else z_log_var

    def nll(self, ids, z=None):
        return self.nll_of(ids, self.decoder(ids, z, ops.zeros_like(z[:, 0, 0])))

    def right(self, ids, z):
        """Whether the likeliest token at each place is the right one, bool (batch, time); True behind the text."""
        logits = ops.matmul(self.decoder(ids, z, ops.zeros_like(z[:, 0, 0])), ops.transpose(self.embedding.embeddings))
        return ops.logical_or(ids == PAD, ops.cast(ops.argmax(logits, axis=-1), ids.dtype) == ids)

    def log_ratio(self, ids, z, z_mean, z_log_var):
        each = latent.normal_log_prob(z) - latent.normal_log_prob(z, z_mean, z_log_var)
        return ops.sum(each, axis=-1)

    def start(self, given):
        return self.decoder.start(given["z"], given["noise"])

    def next(self, token, state):
        return self.decoder.step(token, state)


def build(options, vocabulary):
    """Makes the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    model = TransformerVAE(options, len(vocabulary))
    model(np.full((2, 3), UNK, "int32"))
    return model


# Use -----------------------------------------------------------------------------------------------------------------


def read(run, texts):
    """Returns `util.Sequences` of texts as they are typed, cut to the length that the model has."""
    return encode_texts(texts, run.vocabulary, None, run.options["positions"] - 1, prompt=True)


def encode(run, texts):
    """Reads texts to their codes: z_mean and z_log_var, float32 (n, latent_tokens, latent_dim) each."""
    return inference.posteriors(run.model, read(run, texts))


def decode(run, z, *, noise=0.0, max_length=None, scores=False, **settings):
    """Writes a text from each z (n, latent_tokens, latent_dim); see `inference.write`.

    Args:
        noise: level of what is no code in z, one for all or of each (n,); 0 for the code of a text.
        settings: temperature, top_k, top_p, beam, seed.

    Returns:
        list of n str; with `scores` also log p(text|z) in nats, float (n,).
    """
    length = min(max_length or run.options["gen_length"], run.options["positions"])
    ids, log_probs = inference.write(run.model, code_scores.given(z, noise), length, **settings)
    texts = [run.vocabulary.decode(row) for row in ids]
    return (texts, log_probs) if scores else texts


def check_noise(run, noise):
    if noise and not run.options["noisy"]:
        raise UserError("--noise is for a run that has learnt to read through it (--noisy)")


def near(run, text, normal, args):
    """Returns codes near a text, made of standard normal numbers in their shape, and what `decode` is told of them.

    They are its code through half of the noise, or draws from its posterior where the run has learnt to read none.
    """
    z_mean, z_log_var = encode(run, [text])
    if not run.options["noisy"]:
        return z_mean + np.exp(0.5 * z_log_var) * normal, {}
    noise = np.full(len(normal), args.noise / 2, "float32")
    return ops.convert_to_numpy(noised(np.repeat(z_mean, len(normal), axis=0), noise, normal)), {"noise": noise}


def on_the_way(run, shares, noise=None, drawn=False):
    """Returns what `decode` is told of points at shares of the way between two texts, or between two draws.

    Raises:
        UserError: noise for a run that has not learnt to read through it.
    """
    noise = run.options["noise"] if noise is None else noise
    check_noise(run, noise)
    return {"noise": np.full(len(shares), noise) if drawn else code_scores.on_the_way(shares, noise)}


def score(run, texts, z):
    """Returns log p(text|z) in nats of n texts, each at its z (n, latent_tokens, latent_dim): float (n,)."""
    return -inference.likelihoods(run.model, read(run, texts), z)


def sample_prior(run, n, seed=1):
    """Returns n draws from the prior N(0, 1): float32 (n, latent_tokens, latent_dim)."""
    return np.random.default_rng(seed).standard_normal((n, *run.model.latent_shape), "float32")


# Command line ---------------------------------------------------------------------------------------------------------


def groups(text):
    """Parses --funnel: three numbers of blocks."""
    if not re.fullmatch(r"[1-9]\d*(_[1-9]\d*){2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1_1_1: blocks before, between and after two halvings")
    return text


def parse_args(argv=None):
    size, weight, part = bounded(int, 1), bounded(float, 0), bounded(float, 0, 0.99)
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_data_options(parser, task="pylines", max_length=30, top_words=4000)
    parser.set_defaults(level="bpe")
    add = parser.add_argument_group("experiment").add_argument
    about = "syntax: lines of Python; semantics: headlines, whose topic is told from the code; mnist: digits as text"
    add("--experiment", choices=tuple(experiments.EXPERIMENTS), help=about)
    add("--rows", type=int, choices=SIDES, default=9, help="of a digit, each of so many pixels")
    add("--direction", choices=tuple(DIRECTIONS), default="down", help="of the rows of a digit")
    add = parser.add_argument_group("model").add_argument
    add(
        "--preset",
        type=experiments.presets,
        metavar="A,B",
        help="several options at once, such as tenth_5_tkn,funnel_small,30Seq",
    )
    add("-L", "--units", "--num_units", type=size, default=192, help="width of the blocks")
    add("--num-heads", type=size, default=6, help="heads of the attention")
    add("--funnel", type=groups, default="1_1_1", help="blocks of the encoder before, between and after two halvings")
    add("--decoder-layers", type=size, default=3, help="blocks of the decoder")
    add(
        "--latent-tokens",
        type=bounded(int, 2),
        default=9,
        help="positions of the code, of which all but the first hold four tokens each",
    )
    add("-H", "--latent-dim", "--latent_dim", type=size, default=43, help="numbers of a position of the code")
    about = "the four positions that become one of the code, made of it: each by weights of its own, or all alike"
    add("--upsampling", choices=("slots", "repeat"), default="slots", help=about)
    add("--no-own", action="store_true", help="the decoder looks the code up by attention alone, not also by position")
    add("--code", choices=("gaussian", "point"), default="gaussian", help="a draw around the mean, or the mean itself")
    add("--noisy", type=part, default=0.15, help="share of the codes read through noise in training; 0 for a point")
    add("--tanh", action="store_true", help="numbers of the mean between -1 and 1, as in the original")
    add("--window", type=bounded(int, 0), default=0, help="tokens that the decoder's attention is cut into; 0: all")
    add("--dropout", type=part, default=0.1, help="dropout of the blocks")
    add("--mask-tokens", type=part, default=0.0, help="share of the encoder's tokens that are hidden in training")
    add = parser.add_argument_group("objective").add_argument
    add("--beta", type=weight, default=0.05, help="final weight of the KL of a gaussian code; 1 gives the bound")
    add("--annealing-epochs", type=weight, default=2.0, help="length of its ramp")
    add("--free-bits", type=weight, default=0.0, metavar="NATS", help="KL of a text that costs nothing")
    add("--mmd", type=weight, default=0.0, metavar="WEIGHT", help="final weight of the MMD between codes and prior")
    add("--kernel", choices=("imq", "rbf", "reference"), default="imq", help="of the MMD")
    add("--no-regularizer", action="store_true", help="neither KL nor MMD")
    add_training_options(parser, epochs=10, batch_size=64, learning_rate=1.2e-3)
    add = parser.add_argument_group("memory").add_argument
    about = "keep what every N-th block of the decoder computes and compute all others again; 0: keep all"
    add("--recompute", type=bounded(int, 0), default=0, metavar="N", help=about)
    add_sampling_options(parser, temperature=0.0, num_samples=5, gen_length=None)
    parser.set_defaults(beam=code_scores.BEAM)
    add_run_options(parser)
    add = parser.add_argument_group("use").add_argument
    about = "how little to go by a code where none was read, 0 to 1, between two texts most in the middle"
    add("--noise", type=bounded(float, 0, 1), default=NOISE, help=about)
    add("--check", choices=tuple(CHECKS), help="what texts are to be; default: python for pylines, else none")
    add("--iw-samples", type=bounded(int, 0), default=100, metavar="K", help="draws for iw_nll in --eval; 0: none")
    return settle(parser, parse(parser, SCRIPT, argv))


def settle(parser, args):
    """Returns the options with those set that follow from others; what does not go together is an error."""
    experiments.settle(args)
    if not args.max_length:
        parser.error("--max-length is needed: each position is told apart")
    if args.units % args.num_heads:
        parser.error(f"--num-heads {args.num_heads} do not divide --units {args.units}")
    if args.recompute and args.dropout:
        parser.error("--recompute needs --dropout 0: what is computed again would drop other numbers")
    if args.window == 1:
        parser.error("--window 1 leaves nothing to attend to")
    if args.no_regularizer:
        args.beta = args.mmd = 0.0
        args.code = "point"
    if args.code == "point" and "noisy" not in args.given:
        args.noisy = 0.0
    if args.temperature and "beam" not in args.given:
        args.beam = 1  # it draws
    args.positions = args.max_length + 1
    args.gen_length = min(args.gen_length, args.positions) if "gen_length" in args.given else args.positions
    return args


def main(args):
    one_core_an_operation()
    run, codec = open_run(SCRIPT, args), sys.modules[__name__]
    opened = not run.is_new and args.resume is None
    if not run.options["noisy"]:
        check_noise(run, args.noise if "noise" in args.given else 0)
        args.noise = run.options["noise"] = 0.0
    if opened:
        run.model = build(run.options, run.vocabulary)
        run.load_best(run.model)
        if args.sample is not None:
            report.talk(run, codec, args)
            return
    labeled = functools.partial(experiments.classes_of, experiment=args.experiment)
    corpus, vocabulary, splits = load(run, args, labeled if args.experiment in experiments.LABELED else None)
    kind = experiments.kind_of(run, args, corpus, vocabulary, splits)
    score_with = functools.partial(code_scores.evaluate, vocabulary=vocabulary, check=kind.valid, noise=args.noise)
    score_also = functools.partial(kind.scores, run, splits)
    if opened:
        report.finish(run, splits["test"], args.iw_samples, score_with, score_also)
        return
    train = Batches(splits["train"], args.batch_size, run.seed)
    valid = Batches(splits["valid"], 2 * args.batch_size, shuffle=False)
    settle_epochs(run, args, train)
    model = build(run.options, vocabulary)
    model.steps_an_epoch = train.total
    rate = falling(args.learning_rate, args.decay, args.epochs * train.total)
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None), jit_compile=JIT)
    run.start(model, vocabulary, corpus)
    with contextlib.closing(run):
        report.project(run, splits["valid"])
        callbacks = [ShowCodes(run, sys.modules[__name__], splits["valid"], args.output_every, args.epochs, kind)]
        limits = {"epochs": args.epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
        monitor = "val_neg_elbo" if model.gaussian else "val_nll"
        fit(run, model, train, valid, monitor=monitor, callbacks=callbacks, **limits)
        run.load_best(model)
        run.hparams(run.options, report.finish(run, splits["test"], 0, score_with, score_also))
        report.project(run, splits["valid"])


if __name__ == "__main__":
    command(main, parse_args)
