"""Attention VAE for names: names of a language, near a name, with a beginning, or between two names.

A name x of characters is read to two latents a position, a key and a value; the decoder, a causal transformer, attends
to these besides the characters so far. The character at t is written from the latents 0 to t, so neither their number
nor those behind tell how long the name will be. In nats a name,

    neg_elbo = nll + kl,   nll = E_q[-log p(x|z)], summed over characters and <eos>,
    kl = E_q[log q(z|x) - log p(z)], summed over the positions of the name, <eos> counted, and over dimensions

What is trained is the tighter bound of `--draws` K draws, -log (1/K) sum_k p(x, z_k) / q(z_k|x) (Burda et al. 2016).
Beside it, a prefix encoder learns to guess from the beginning of a name what the encoder gives for the whole of it.

Shapes: ids (batch, time), labels (batch, kinds), z (batch, positions, 2 * latent_dim): the keys, then the values.

Try:
    python names_vae.py -e 20                                first names of many languages, no download
    python names_vae.py --sample --style it                  Italian ones
    python names_vae.py --sample --anchor Johanna --radius 1.5
    python names_vae.py --eval                               all scores of the newest run

Departures from the original:
    1. The objective is a bound of the likelihood: the KL is summed as the nll is, padding counts nowhere.
    2. A query sees the latents up to its own position, which the keys are told (`--no-places` leaves that out).
    3. Labels are given at every position; in the original they leave the window after the first sampled letter.
"""

import argparse
import contextlib

from scriptorium.command_line import bounded, command, parse
from scriptorium.data.batches import Batches
from scriptorium.data.labels import UNKNOWN
from scriptorium.data.vocabulary import PAD, START, UNK
from scriptorium.names_vae import codec
from scriptorium.names_vae import report as names_report
from scriptorium.names_vae import scores as name_scores
from scriptorium.names_vae.codec import decode, draw, encode, sample_prior, score  # noqa: F401 (for homotopy.py)
from scriptorium.names_vae.labels import Head, entropies
from scriptorium.nn import transformer
from scriptorium.nn.compiled import JIT
from scriptorium.nn.fast import Adam
from scriptorium.training import transfer
from scriptorium.training.fit import falling, fit, settle_epochs
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options
from scriptorium.vae import latent, made, report

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, load

SCRIPT = "names_vae"
TEMPERATURE = 0.2  # of the characters that are written from a z; of those of a language model it is 1
PRIORS = ("causal", "made", "made-alike", "normal")


class Told(layers.Layer):
    """Sums the embeddings of positions and labels (batch, kinds): (batch, time, units)."""

    def __init__(self, options, **kwargs):
        super().__init__(**kwargs)
        sizes = [options["positions"], *(1 + len(classes) for classes in options["labels"].values())]
        tables = [layers.Embedding(n, options["units"], embeddings_initializer=_small(), **kwargs) for n in sizes]
        self.positions, *self.labels = tables

    def call(self, labels, places):
        x = self.positions(places)
        return sum((embed(labels[:, i])[:, None] for i, embed in enumerate(self.labels)), x)


class Inputs(layers.Layer):
    """Adds the embeddings of characters (batch, time) to those of their positions and labels: (batch, time, units)."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.characters = layers.Embedding(vocab_size, options["units"], embeddings_initializer=_small())
        self.told = Told(options)

    def call(self, ids, labels, places=None):
        places = ops.arange(ops.shape(ids)[1])[None] if places is None else places
        return self.characters(ids) + self.told(labels, places)


def _small():
    return keras.initializers.RandomNormal(stddev=0.02)


def blocks(options):
    return [
        transformer.Block(options["units"], options["num_heads"], options["dropout"])
        for _ in range(options["num_layers"])
    ]


class Encoder(layers.Layer):
    """Reads names to z_mean and z_log_var, float32 (batch, time, 2 * latent_dim) each.

    A position sees every character where `known` (batch, time) is True, and itself.
    """

    def __init__(self, options, vocab_size):
        super().__init__()
        self.inputs, self.blocks = Inputs(options, vocab_size), blocks(options)
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.to_latents = layers.Dense(4 * options["latent_dim"], use_bias=False, dtype="float32")

    def call(self, ids, labels, known, training=False):
        x = self.inputs(ids, labels)
        mask = ops.logical_or(known[:, None], ops.eye(ops.shape(ids)[1], dtype="bool")[None])
        for block in self.blocks:
            x = block(x, mask, training=training)
        z_mean, log_deviation = ops.split(self.to_latents(self.norm(x)), 2, axis=-1)
        return z_mean, 2 * log_deviation


class Decoder(layers.Layer):
    """Language model of characters given z: `call` gives all logits (batch, time, vocab_size), `step` the next ones."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.inputs, self.blocks = Inputs(options, vocab_size), blocks(options)
        self.has_z, self.positions = not options["no_latent"], options["positions"]
        if self.has_z:
            width = options["latent_dim"]
            self.norm_before = layers.LayerNormalization(epsilon=1e-5)
            self.look_up = transformer.CrossBlock(options["units"], options["num_heads"], options["dropout"], width)
            self.places = self.own = None
            if not options["no_places"]:
                self.places = layers.Embedding(options["positions"], width, embeddings_initializer=_small())
            if not options["no_own"]:
                self.own = layers.Dense(options["units"], use_bias=False)
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.to_logits = layers.Dense(vocab_size, use_bias=False, dtype="float32")

    def keys_and_values(self, z):
        keys, values = ops.split(ops.cast(z, self.compute_dtype), 2, axis=-1)
        if self.places:
            keys = keys + self.places(ops.arange(ops.shape(z)[1])[None])
        return keys, values

    def call(self, ids, z, labels, draws=1, training=False):
        """Returns logits (draws * batch, time, vocab_size): z is (draws * batch, ...), the others are (batch, ...)."""
        batch, time = ops.shape(ids)
        x = self.inputs(ops.concatenate([ops.full((batch, 1), START, ids.dtype), ids[:, :-1]], axis=1), labels)
        mask = transformer.causal_mask(time)
        for block in self.blocks:
            x = block(x, mask, training=training)
        if self.has_z:
            keys, values = self.keys_and_values(z)
            x = repeated(self.norm_before(x), draws)
            if self.own:
                x = x + self.own(ops.concatenate([keys, values], axis=-1))
            x = self.look_up(x, keys, values, mask, training=training)
        return self.to_logits(self.norm(x))

    def start(self, z, labels, forced):
        batch = ops.shape(labels)[0]
        given = self.keys_and_values(z) if self.has_z else ()
        caches = [cache for block in self.blocks for cache in block.caches(batch, self.positions)]
        return (ops.zeros((batch,), "int32"), forced, labels, *given, *caches)

    def step(self, token, state):
        place, forced, labels, *state = state
        x = self.inputs(token[:, None], labels, place[:, None])[:, 0]
        given, caches = state[: 2 * self.has_z], state[2 * self.has_z :]
        after = []
        for i, block in enumerate(self.blocks):
            x, kept = block.step(x, caches[2 * i : 2 * i + 2], place)
            after += kept
        if self.has_z:
            seen = ops.arange(self.positions)[None] <= place[:, None]
            x = self.norm_before(x[:, None])
            if self.own:
                here = ops.take_along_axis(ops.concatenate(given, axis=-1), place[:, None, None], axis=1)
                x = x + self.own(here)
            x = self.look_up(x, *given, seen[:, None])[:, 0]
        logits = self.to_logits(self.norm(x))
        # The beginning that is asked for is written in any case; <pad> asks for nothing.
        wanted = ops.take_along_axis(forced, place[:, None], axis=1)
        here = ops.equal(ops.arange(logits.shape[-1])[None], wanted)
        logits = ops.where(ops.logical_and(wanted != PAD, ops.logical_not(here)), -1e9, logits)
        return logits, (ops.minimum(place + 1, self.positions - 1), forced, labels, *given, *after)


class Prior(layers.Layer):
    """A learnt prior, in float32: a MADE that is told position, labels and the latents of the 8 positions before.

    As `--prior made` it is told position and labels alone, as `--prior made-alike` nothing.
    """

    WINDOW = 8

    def __init__(self, options):
        super().__init__(dtype="float32")
        units, kind = options["units"], options["prior"]
        self.told = None if kind == "made-alike" else Told(options, dtype="float32")
        self.before = layers.Conv1D(units, self.WINDOW, use_bias=False, dtype="float32") if kind == "causal" else None
        self.density = made.MADE(2 * options["latent_dim"], [options["prior_units"]] * 2, units * bool(self.told))

    def context(self, z, labels):
        context = self.told(labels, ops.arange(ops.shape(z)[1])[None]) if self.told else None
        if self.before:
            context = context + self.before(ops.pad(z[:, :-1], [(0, 0), (self.WINDOW, 0), (0, 0)]))
        return context

    def call(self, z, labels):
        """Returns log p(z) of each position, given those before, in nats: (batch, time, n) -> (batch, time)."""
        return self.density(z, self.context(z, labels))

    def expected(self, z, labels):
        """Returns the mean of each number, given those before, in the shape of z."""
        return self.density.mean_and_log_deviation(z, self.context(z, labels))[0]

    def inverse(self, u, labels, z, known):
        """Turns standard normal numbers u (batch, time, n) into draws; z is kept where `known` (batch, time) is True.

        All of them, and what is returned, are numpy arrays.
        """
        context = ops.convert_to_numpy(self.told(labels, np.arange(u.shape[1])[None])) if self.told else None
        invert = self.density.inverter()
        if not self.before:
            return np.where(known[..., None], z, invert(u, context))
        kernel = ops.convert_to_numpy(self.before.kernel).reshape(-1, context.shape[-1])
        z = np.pad(z, [(0, 0), (self.WINDOW, 0), (0, 0)])
        for t in range(u.shape[1]):
            before, now = z[:, t : t + self.WINDOW].reshape(len(z), -1), slice(t, t + 1)
            drawn = invert(u[:, now], context[:, now] + (before @ kernel)[:, None])
            z[:, t + self.WINDOW] = np.where(known[:, now], z[:, t + self.WINDOW], drawn[:, 0])
        return z[:, self.WINDOW :]


class NamesVAE(keras.Model):
    """Encoder, decoder, prior, prefix encoder, the heads that tell labels, and the objective, in nats a name."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options, self.vocab_size = options, vocab_size
        self.kinds = list(options["labels"].values())
        self.latent_shape = (options["positions"], 2 * options["latent_dim"])
        self.decoder = Decoder(options, vocab_size)
        self.seed = keras.random.SeedGenerator(options["seed"])
        names, self.has_z = ["nll"], not options["no_latent"]
        if self.has_z:
            self.encoder = Encoder(options, vocab_size)
            self.prefix_encoder = None if options["no_prefix_encoder"] else Encoder(options, vocab_size)
            self.prior = None if options["prior"] == "normal" else Prior(options)
            if self.prior:  # Keras wants it built before the model is
                self.prior(np.zeros((1, *self.latent_shape), "float32"), self.read(np.zeros((1, 1), "int32"))[1])
            names += ["kl", "neg_elbo"] + ["prefix_kl"] * bool(self.prefix_encoder)
        self.heads = {}
        if self.kinds and options["supervision"]:
            read = {"z": Head(self.kinds, options["units"])} if self.has_z else {}
            self.heads = read | {"logits": Head(self.kinds)}
            names += [f"label_accuracy_{name}" for name in self.heads]
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.characters = keras.metrics.Mean("nats_per_char")
        # A weight, so that it is saved: a Python number would be frozen into the compiled step.
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step", dtype="int32")
        self.steps_an_epoch = 1

    @property
    def metrics(self):
        return [*self.means.values(), self.characters]

    def kl_weight(self, step):
        options = self.options
        length = options["annealing_epochs"] * self.steps_an_epoch
        return latent.kl_schedule(options["kl_schedule"], step, length, options["beta"])

    def kl_weight_now(self):
        return float(self.kl_weight(int(self.step))) if self.has_z else None

    def read(self, inputs):
        """Returns ids (batch, time) and labels (batch, kinds) of a batch; labels that are not given are unknown."""
        ids, labels = (inputs["ids"], inputs["labels"]) if isinstance(inputs, dict) else (inputs, None)
        if labels is None:
            labels = ops.zeros((ops.shape(ids)[0], max(1, len(self.kinds))), "int32")
        return ids, ops.cast(labels, "int32")

    def drop(self, labels, training):
        """Makes labels unknown, each with the probability --label-dropout, in training."""
        if not training or not self.options["label_dropout"]:
            return labels
        dropped = keras.random.uniform(ops.shape(labels), seed=self.seed) < self.options["label_dropout"]
        return ops.where(dropped, UNKNOWN, labels)

    def call(self, inputs, training=False):
        ids, labels = self.read(inputs)
        told, z = self.drop(labels, training), None
        result = {"told": told}
        draws = self.options["draws"] if training else 1
        if self.has_z:
            z_mean, z_log_var = self.encoder(ids, told, ids != PAD, training=training)
            result |= {"z_mean": z_mean, "z_log_var": z_log_var}
            if self.prefix_encoder:
                lengths = ops.sum(ops.cast(ids != PAD, "float32"), axis=1)
                share = keras.random.uniform(ops.shape(lengths), seed=self.seed)
                prefix, known = self.beginning(ids, ops.cast(ops.floor(share * lengths), "int32"))
                guess = self.prefix_encoder(prefix, told, known, training=training)
                result |= {"prefix_mean": guess[0], "prefix_log_var": guess[1]}
            # All first draws, then all second ones.
            z = latent.normal_sample(repeated(z_mean, draws), repeated(z_log_var, draws), self.seed)
            result["z"] = z
        result["logits"] = self.decoder(ids, z, told, draws=draws, training=training)
        for name, head in self.heads.items():
            values = z if name == "z" else ops.softmax(result["logits"], axis=-1)
            result[f"labels_{name}"] = head(values[: ops.shape(ids)[0]], ids != PAD)
        return result

    @staticmethod
    def beginning(ids, lengths):
        """Returns ids with all but the first `lengths` (batch,) of them unknown, and where they are known."""
        known = ops.arange(ops.shape(ids)[1])[None] < lengths[:, None]
        return ops.where(known, ids, UNK), known

    def log_prior(self, z, labels):
        """Returns log p(z) of each position, given those before, in nats: (batch, time, n) -> (batch, time)."""
        return self.prior(z, labels) if self.prior else latent.normal_log_prob(z)

    def expected(self, z, labels):
        """Returns the mean that the prior gives each number of z, given those before, in the shape of z."""
        return self.prior.expected(z, labels) if self.prior else ops.zeros_like(z)

    def kl_of_positions(self, z, z_mean, z_log_var, labels):
        """Returns log q(z|x) - log p(z) at each position, (batch, time): its mean, in closed form, or at the draw z."""
        if self.prior or self.options["draws"] > 1:
            return latent.normal_log_prob(z, z_mean, z_log_var) - self.log_prior(z, labels)
        return ops.sum(latent.kl_to_standard_normal(z_mean, z_log_var), axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        ids, labels = self.read(x)
        mask, draws = ops.cast(ids != PAD, "float32"), self.options["draws"] if training and self.has_z else 1
        many, every = repeated(ids, draws), repeated(mask, draws)
        nll = ops.sum(every * keras.losses.sparse_categorical_crossentropy(many, y_pred["logits"], True), axis=1)
        self.means["nll"].update_state(nll)
        loss, bound = ops.mean(nll), nll
        if self.has_z:
            z_mean, z_log_var = y_pred["z_mean"], y_pred["z_log_var"]
            given = (repeated(a, draws) for a in (z_mean, z_log_var, y_pred["told"]))
            kl = ops.sum(every * self.kl_of_positions(y_pred["z"], *given), axis=1)
            bound = nll + kl
            self.means["kl"].update_state(kl)
            self.means["neg_elbo"].update_state(bound)
            weight = self.kl_weight(self.step)
            log_weights = ops.reshape(-nll - weight * kl, (draws, -1))
            loss = np.log(draws) - ops.mean(ops.logsumexp(log_weights, axis=0))
            free = ops.maximum(self.options["free_bits"] - ops.mean(kl), 0.0)
            if self.prior and training:
                # The prior learns all the same: what the free nats let go is the posterior.
                z, told = ops.stop_gradient(y_pred["z"])[: ops.shape(ids)[0]], y_pred["told"]
                log_prior = ops.mean(ops.sum(mask * self.log_prior(z, told), axis=1))
                free = free - ops.where(free > 0, log_prior - ops.stop_gradient(log_prior), 0.0)
            loss = loss + weight * free
            if self.prefix_encoder:
                wanted = ops.stop_gradient(z_mean), ops.stop_gradient(z_log_var)
                each = latent.kl(*wanted, y_pred["prefix_mean"], y_pred["prefix_log_var"])
                prefix_kl = ops.sum(mask * ops.sum(each, axis=-1), axis=1)
                self.means["prefix_kl"].update_state(prefix_kl)
                loss = loss + ops.mean(prefix_kl)
        for name in self.heads:
            entropy, accuracy = entropies(y_pred[f"labels_{name}"], labels)
            self.means[f"label_accuracy_{name}"].update_state(accuracy)
            loss = loss + self.options["supervision"] * entropy
        # Weighted by its characters, a batch counts as much as it holds: nats a character of all that was seen.
        self.characters.update_state(ops.sum(bound) / ops.sum(every), sample_weight=ops.sum(every))
        if training:
            self.step.assign(self.step + 1)
        return loss

    # What inference.py asks for: names are padded to all positions, and what lies behind a name counts nowhere.

    def posterior(self, inputs):
        ids, labels = self.read(inputs)
        z_mean, z_log_var = self.encoder(ids, labels, ids != PAD)
        behind = (ids == PAD)[..., None]
        return ops.where(behind, 0.0, z_mean), ops.where(behind, 0.0, z_log_var)

    def guess(self, inputs, lengths):
        """Returns z_mean and z_log_var of the prefix encoder, which knows the first `lengths` (batch,) characters."""
        ids, labels = self.read(inputs)
        prefix, known = self.beginning(ids, lengths)
        return self.prefix_encoder(prefix, labels, known)

    def nll(self, inputs, z=None):
        ids, labels = self.read(inputs)
        z = None if z is None or not self.has_z else z[:, : ops.shape(ids)[1]]
        nll = keras.losses.sparse_categorical_crossentropy(ids, self.decoder(ids, z, labels), True)
        return ops.sum(ops.where(ids != PAD, nll, 0.0), axis=1)

    def log_ratio(self, inputs, z, z_mean, z_log_var):
        """Returns log p(z) - log q(z|x) in nats, (batch,), over the positions of the names."""
        ids, labels = self.read(inputs)
        z, z_mean, z_log_var = (values[:, : ops.shape(ids)[1]] for values in (z, z_mean, z_log_var))
        each = self.log_prior(z, labels) - latent.normal_log_prob(z, z_mean, z_log_var)
        return ops.sum(ops.where(ids != PAD, each, 0.0), axis=1)

    def start(self, given):
        return self.decoder.start(given.get("z"), given["labels"], given["forced"])

    def next(self, token, state):
        return self.decoder.step(token, state)


def repeated(values, times):
    """Returns a batch as often as asked, one after the other."""
    return ops.tile(values, (times, *[1] * (values.ndim - 1))) if times > 1 else values


def label_embeddings(layer):
    """Returns the layers of an encoder or decoder that belong to the labels of a run, and not to its names."""
    told = getattr(layer, "inputs", layer).told
    return told.labels if told else []


def build(options, vocabulary):
    """Makes the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    model = NamesVAE(options, len(vocabulary))
    model(np.full((2, 3), UNK, "int32"))
    return model


# Command line -------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    size, weight, share = bounded(int, 1), bounded(float, 0), bounded(float, 0, 1)
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_data_options(parser, task="names", max_length=25, top_words=None)
    parser.set_defaults(level="char")
    add = parser.add_argument_group("model").add_argument
    add("-L", "--units", "--num_units", type=size, default=64, help="width of the blocks")
    add("--num-layers", type=size, default=2, help="blocks of each encoder and of the decoder")
    add("--num-heads", type=size, default=4, help="heads of the attention")
    add("-H", "--latent-dim", "--latent_dim", type=size, default=16, help="width of a key and of a value latent")
    add("--prior", choices=PRIORS, default="causal", help="what it is told, see the docs; normal: N(0, 1)")
    add("--prior-units", type=size, default=256, help="width of the two hidden layers of the learnt prior")
    add("--no-places", action="store_true", help="the decoder is not told the position of a key")
    about = "the decoder looks z up by attention alone, also that of its own position"
    add("--no-own", action="store_true", help=about)
    add("--no-prefix-encoder", action="store_true", help="no encoder that guesses from the beginning of a name")
    add("--no-latent", action="store_true", help="no encoder and no z: the decoder alone, a language model")
    add = parser.add_argument_group("objective").add_argument
    add("--dropout", type=bounded(float, 0, 0.99), default=0.1, help="dropout of the blocks")
    add("--label-dropout", type=share, default=0.2, help="share of the labels that are made unknown in training")
    add("--supervision", type=weight, default=1.0, help="weight of telling the labels from latents and logits")
    add("--beta", type=weight, default=1.0, help="final weight of the KL term; 1 gives the bound")
    add("--kl-schedule", choices=("none", "linear"), default="linear", help="how it gets there")
    add("--annealing-epochs", type=weight, default=6.0, help="length of the ramp")
    add("--draws", type=size, default=4, metavar="K", help="of z a name in training; above 1: the bound of K of them")
    add("--free-bits", type=weight, default=12.0, metavar="NATS", help="KL of a name that costs nothing")
    add_training_options(parser, epochs=20, batch_size=64, learning_rate=2e-3)
    parser.set_defaults(dtype="float32")  # products this small are faster so
    add = parser.add_argument_group("transfer").add_argument
    about = "start from the weights of this run, trained on other names or on a list of words"
    add("--init", metavar="RUN", help=about)
    add("--freeze", choices=("encoder",), help="what stays as it is there: the encoders")
    add_sampling_options(parser, temperature=TEMPERATURE, num_samples=10, gen_length=26)
    add_run_options(parser)
    add = parser.add_argument_group("use").add_argument
    add("--style", metavar="LABEL", help="names of this language, or class of any label; several with commas between")
    add("--anchor", metavar="NAME", help="names near this one")
    add("--radius", type=weight, default=1.0, help="how near: 0 gives the anchor back, 1 its posterior")
    about = "of draws from the prior: 1 as it is, less for likelier names"
    add("--spread", type=weight, default=codec.SPREAD, help=about)
    about = "how far names of a --style move away from those of any"
    add("--guidance", type=weight, default=codec.GUIDANCE, help=about)
    add("--prefix", metavar="TEXT", default="", help="names that begin so")
    add("--iw-samples", type=bounded(int, 0), default=100, metavar="K", help="draws for iw_nll in --eval; 0: none")
    return settle(parser, parse(parser, SCRIPT, argv))


def settle(parser, args):
    """Returns the options with those set that follow from others; what does not go together is an error."""
    if not args.max_length:
        parser.error("--max-length is needed: each position has latents of its own")
    if args.no_latent and "temperature" not in args.given:
        args.temperature = 1.0  # all the choice there is lies in the characters
    args.positions = args.max_length + 1
    args.gen_length = min(args.gen_length, args.positions)
    return args


def main(args):
    run = open_run(SCRIPT, args)
    source = None
    if args.init and run.is_new:
        source = transfer.take_model(run, args, SCRIPT, also=("max_length", "positions"))
    trained = not run.is_new and args.resume is None
    if trained:
        run.model = build(run.options, run.vocabulary)
        run.load_best(run.model)
    if args.sample is not None:
        names_report.write(run, args, name_scores.known_names(run))
        return
    corpus, vocabulary, splits = load(run, args, lambda corpus: codec.classes_of(run, corpus))
    if trained:
        report.finish(run, splits["test"], args.iw_samples, name_scores.evaluate)
        return
    known = name_scores.Known(corpus.train)
    train = Batches(splits["train"], args.batch_size, run.seed)
    valid = Batches(splits["valid"], 2 * args.batch_size, shuffle=False)
    settle_epochs(run, args, train)
    model = build(run.options, vocabulary)
    if source:
        parts = ("decoder",) if args.no_latent else ("encoder", "decoder", "prefix_encoder", "prior")
        parts = [part for part in parts if getattr(model, part)]
        corpus.description += transfer.copy_weights(source, model, build, parts, label_embeddings)
    for part in ("encoder", "prefix_encoder") if args.freeze else ():
        if getattr(model, part):
            transfer.freeze(getattr(model, part), label_embeddings)
    model.steps_an_epoch = train.total
    rate = falling(args.learning_rate, args.decay, args.epochs * train.total)
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None), jit_compile=JIT)
    run.start(model, vocabulary, corpus)
    with contextlib.closing(run):
        report.project(run, splits["valid"])
        callbacks = [names_report.ShowNames(run, splits["valid"], args.output_every, args.epochs, known)]
        limits = {"epochs": args.epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
        monitor = "val_nll" if args.no_latent else "val_neg_elbo"
        fit(run, model, train, valid, monitor=monitor, callbacks=callbacks, **limits)
        run.load_best(model)
        report.project(run, splits["valid"], picture=True)
        run.hparams(run.options, report.finish(run, splits["test"], evaluate=name_scores.evaluate))


if __name__ == "__main__":
    command(main, parse_args)
