"""Sentence VAE: a language model that writes a sentence from a point of a continuous space (Bowman et al. 2016).

An encoder reads a sentence of words x and gives a Gaussian q(z|x) over codes z; a decoder, a recurrent language model
that is given z, writes the sentence again. Both are trained to lower a bound of -log p(x), in nats a sentence:

    neg_elbo = nll + kl,   nll = E_q[-log p(x|z)], summed over words and <eos>,   kl = KL(q(z|x) || N(0, 1))

Shapes: ids (batch, time), words (batch, time, embedding_dim), hidden states (batch, units), z (batch, latent_dim).

Try:
    python sentences.py -e 20              trains on English prose that needs no download
    python sentences.py --eval             scores the newest run: iw_nll, kl, mutual information, ...
    echo "this is a list." | python sentences.py --sample

Departures from the paper:
    1. Besides the ramp of the KL weight, the posterior is kept from collapsing by normalising its means over the batch
       (BN-VAE, Zhu et al. 2020). The paper's way is `--posterior-norm 0 --kl-schedule logistic -d 0.3`.
    2. The word embedding is shared by encoder, decoder and softmax (`--untied` keeps the softmax apart).
    3. Adam with a falling learning rate; z is given to the decoder at every step as well as at the first.
    4. The end token is counted in every likelihood; the paper does not count it.
"""

import argparse
import contextlib
import itertools
import sys

from scriptorium import UserError
from scriptorium.command_line import bounded, command, parse
from scriptorium.data.batches import Batches, encode_texts
from scriptorium.data.vectors import start_from_vectors
from scriptorium.data.vocabulary import PAD, START, UNK
from scriptorium.nn.compiled import JIT
from scriptorium.nn.fast import Adam, softmax_nll
from scriptorium.nn.recurrent import GRU, LSTM
from scriptorium.scores import metrics
from scriptorium.training.fit import falling, fit, settle_epochs
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options
from scriptorium.vae import collapse, inference, latent, report

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, load

SCRIPT = "sentences"


def recurrent(options, units, **arguments):
    return {"lstm": LSTM, "gru": GRU}[options["rnn_type"]](units, **arguments)


class Encoder(layers.Layer):
    """Reads embedded words (batch, time, embedding_dim) to z_mean and z_log_var, float32 (batch, latent_dim) each."""

    def __init__(self, options, shared=None):
        super().__init__()
        self.latent_dim = options["latent_dim"]
        # A function, so that the decoder does not become a part of the encoder.
        self.read_by_decoder = shared and shared.last_output
        self.softplus = options["softplus"]
        self.ahead, self.back = [], []
        units = options["encoder_units"]
        for layer in range(0 if shared else 1 + options["extra_layers"]):
            arguments = {"units": units, "return_sequences": layer < options["extra_layers"]}
            self.ahead.append(recurrent(options, **arguments))
            if not options["one_way"]:
                self.back.append(recurrent(options, go_backwards=True, **arguments))
        self.z_mean = layers.Dense(self.latent_dim, dtype="float32")
        self.z_spread = layers.Dense(self.latent_dim, dtype="float32")
        gamma = options["posterior_norm"]
        self.norm = latent.PosteriorNorm(gamma) if gamma else None

    def call(self, x, mask, training=False):
        if self.read_by_decoder:
            h = self.read_by_decoder(x, mask)
        else:
            h = x
            for ahead, back in itertools.zip_longest(self.ahead, self.back):
                sides = [ahead(h, mask=mask)]
                if back:
                    backwards = back(h, mask=mask)
                    # A sequence read backwards comes out backwards.
                    sides.append(ops.flip(backwards, axis=1) if len(backwards.shape) == 3 else backwards)
                h = ops.concatenate(sides, axis=-1)
        z_mean, z_spread = self.z_mean(h), self.z_spread(h)
        if self.norm:
            z_mean = self.norm(z_mean, training=training)
        # Either the log variance, or a standard deviation that softplus keeps positive and -3 keeps small at first.
        z_log_var = 2 * ops.log(ops.softplus(z_spread - 3.0) + 1e-6) if self.softplus else z_spread
        return z_mean, z_log_var


class Decoder(layers.Layer):
    """Language model of words given z: `call` gives the nll of each word, `step` the logits of the next one."""

    def __init__(self, options, vocab_size, embedding):
        super().__init__()
        self.embedding, self.vocab_size, self.tied = embedding, vocab_size, not options["untied"]
        self.latent_dim = 0 if options["no_latent"] else options["latent_dim"]
        self.joined = self.latent_dim if options["z_to"] in ("inputs", "both") else 0
        self.word_dropout = options["word_dropout"]
        self.recurrences = [
            recurrent(options, options["units"], return_sequences=True) for _ in range(1 + options["extra_layers"])
        ]
        states = {"lstm": 2, "gru": 1}[options["rnn_type"]] * len(self.recurrences)
        self.units, self.states = options["units"], states
        from_z = self.latent_dim and options["z_to"] in ("state", "both")
        self.start = layers.Dense(states * self.units) if from_z else None
        self.dropouts = [layers.Dropout(options["dropout"]) for _ in range(2 + options["extra_layers"])]
        self.seed = keras.random.SeedGenerator(options["seed"])
        width = options["embedding_dim"] if self.tied else self.units
        self.project = layers.Dense(width) if width != self.units else None
        self.width = width

    def build(self, *shapes):
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        if not self.tied:
            self.kernel = self.add_weight(shape=(self.width, self.vocab_size), name="kernel")

    def initial_state(self, z, batch):
        """Returns the recurrences' first states, a list of (batch, units): h and, for an LSTM, c of each layer."""
        if self.start is None:
            return [ops.zeros((batch, self.units), self.compute_dtype)] * self.states
        # A hidden state lies between -1 and 1; a carry may be anything.
        states = ops.split(self.start(z), self.states, axis=-1)
        hidden = self.states // len(self.recurrences)
        return [ops.tanh(state) if i % hidden == 0 else state for i, state in enumerate(states)]

    def join(self, x, z):
        """Appends z (batch, latent_dim) to each word of x (batch, [time,] embedding_dim)."""
        if not self.joined:
            return x
        if len(x.shape) == 3:
            z = ops.broadcast_to(z[:, None], (*ops.shape(x)[:2], self.joined))
        return ops.concatenate([x, ops.cast(z, x.dtype)], axis=-1)

    def last_output(self, x, mask):
        """Reads a sentence with the decoder's recurrences, z at 0: float (batch, units) after the last word."""
        x = self.join(x, ops.zeros((ops.shape(x)[0], self.joined), x.dtype))
        for recurrence in self.recurrences:
            x = recurrence(x, mask=mask)
        return x[:, -1]

    def hide(self, ids, training):
        """Replaces input words by `<unk>`, each with probability word_dropout; at 1 all of them, also when in use."""
        if self.word_dropout >= 1:
            hidden = ops.ones_like(ids, dtype="bool")
        elif training and self.word_dropout > 0:
            hidden = keras.random.uniform(ops.shape(ids), seed=self.seed) < self.word_dropout
        else:
            return ids
        return ops.where(ops.logical_and(hidden, ops.logical_and(ids != START, ids != PAD)), UNK, ids)

    def call(self, ids, z=None, training=False):
        batch, time = ops.shape(ids)
        inputs = ops.concatenate([ops.full((batch, 1), START, dtype=ids.dtype), ids[:, :-1]], axis=1)
        x = self.dropouts[0](self.embedding(self.hide(inputs, training)), training=training)
        x = self.join(x, z)
        state, size = self.initial_state(z, batch), self.states // len(self.recurrences)
        for i, recurrence in enumerate(self.recurrences):
            x = recurrence(x, initial_state=state[i * size : (i + 1) * size])
            x = self.dropouts[1 + i](x, training=training)
        x = self.project(x) if self.project else x
        kernel = self.embedding.embeddings if self.tied else self.kernel
        flat = ops.reshape(x, (-1, self.width)), ops.reshape(ids, (-1,))
        nll = softmax_nll(flat[0], kernel, self.bias, flat[1], mask=flat[1] != PAD, transposed=self.tied)
        return ops.reshape(nll, (batch, time))

    def step(self, token, state):
        """Returns logits (batch, vocab_size) after a token (batch,); state is (z, the recurrences' states)."""
        z, *state = state
        x, size = self.join(self.embedding(self.hide(token, False)), z), self.states // len(self.recurrences)
        after = []
        for i, recurrence in enumerate(self.recurrences):
            x, states = recurrence.step(x, state[i * size : (i + 1) * size])
            after += states
        x = self.project(x) if self.project else x
        kernel = ops.transpose(self.embedding.embeddings) if self.tied else self.kernel
        logits = ops.matmul(x, ops.cast(kernel, x.dtype))
        after = [ops.cast(new, old.dtype) for new, old in zip(after, state, strict=True)]
        return ops.cast(logits, "float32") + self.bias, (z, *after)


class SentenceVAE(keras.Model):
    """The two sides and their objective: nll + kl_weight * kl, both summed over a sentence, in nats."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options = options
        self.embedding = layers.Embedding(
            vocab_size, options["embedding_dim"], embeddings_initializer=keras.initializers.RandomUniform(-0.1, 0.1)
        )
        self.decoder = Decoder(options, vocab_size, self.embedding)
        self.encoder = None if options["no_latent"] else Encoder(options, options["share_rnn"] and self.decoder)
        self.seed = keras.random.SeedGenerator(options["seed"] + 1)
        self.aggressive = collapse.AggressiveEncoder() if options["aggressive"] and self.encoder else None
        names = ("nll",) if options["no_latent"] else ("nll", "kl", "neg_elbo", "mmd")[: 4 if options["mmd"] else 3]
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.perplexity = metrics.Perplexity()
        self.active_units = metrics.ActiveUnits(options["latent_dim"]) if self.encoder else None
        # A weight, so that it is saved: a Python number would be frozen into the compiled step.
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step", dtype="int32")
        self.steps_an_epoch, self.latent_shape = 1, (options["latent_dim"],)

    @property
    def metrics(self):
        return [*self.means.values(), self.perplexity, *([self.active_units] if self.encoder else [])]

    def kl_weight(self, step):
        options, epoch = self.options, self.steps_an_epoch
        step = step - options["pretrain_epochs"] * epoch
        if options["kl_schedule"] == "logistic" and options["annealing_pivot"]:
            length = options["annealing_pivot"]
        else:
            length = options["annealing_epochs"] * epoch
        total = options["epochs"] * epoch
        weight = latent.kl_schedule(options["kl_schedule"], step, length, options["beta"], total)
        return ops.where(step < 0, 0.0, weight)

    def kl_weight_now(self):
        return float(self.kl_weight(int(self.step))) if self.encoder else None

    def call(self, ids, training=False):
        if not self.encoder:
            return {"nll": self.decoder(ids, training=training)}
        z_mean, z_log_var = self.encoder(self.embedding(ids), ids != PAD, training=training)
        z = latent.normal_sample(z_mean, z_log_var, self.seed)
        return {"nll": self.decoder(ids, z, training=training), "z": z, "z_mean": z_mean, "z_log_var": z_log_var}

    def posterior(self, ids):
        return self.encoder(self.embedding(ids), ids != PAD)

    def nll(self, ids, z=None):
        return ops.sum(self.decoder(ids, z), axis=-1)

    def log_ratio(self, ids, z, z_mean, z_log_var):
        return latent.normal_log_prob(z) - latent.normal_log_prob(z, z_mean, z_log_var)

    def start(self, z):
        return (z, *self.decoder.initial_state(z, ops.shape(z)[0]))

    def next(self, token, state):
        return self.decoder.step(token, state)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        nll = ops.sum(y_pred["nll"], axis=-1)
        self.means["nll"].update_state(nll)
        if not self.encoder:
            self.perplexity.update_state(nll, x != PAD)
            return ops.mean(nll)
        each = latent.kl_to_standard_normal(y_pred["z_mean"], y_pred["z_log_var"])
        kl = ops.sum(each, axis=-1)
        self.means["kl"].update_state(kl)
        self.means["neg_elbo"].update_state(nll + kl)
        self.perplexity.update_state(nll + kl, x != PAD)
        self.active_units.update_state(y_pred["z_mean"])
        bounded = latent.free_bits(each, self.options["free_bits"]) if self.options["free_bits"] else ops.mean(kl)
        loss = ops.mean(nll) + self.kl_weight(self.step) * bounded
        if self.options["mmd"]:
            prior = keras.random.normal(ops.shape(y_pred["z"]), seed=self.seed)
            mmd = latent.mmd(y_pred["z"], prior)
            self.means["mmd"].update_state(mmd)
            loss = loss + self.options["mmd"] * mmd
        if training:
            self.step.assign(self.step + 1)
            if self.aggressive:
                self.aggressive.observe(loss)
        return loss


def build(options, vocabulary):
    """Makes the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    model = SentenceVAE(options, len(vocabulary))
    model(np.full((2, 3), UNK, "int32"))
    return model


# Use -----------------------------------------------------------------------------------------------------------------


def encode(run, texts):
    """Reads texts to their posteriors: z_mean and z_log_var, float32 (n, latent_dim) each."""
    if not run.model.encoder:
        raise UserError(f"{run.name} is a language model without a latent space (--no-latent): it cannot encode")
    return inference.posteriors(run.model, encode_texts(texts, run.vocabulary, prompt=True))


def decode(run, z, *, temperature=0.0, top_k=0, top_p=1.0, beam=1, seed=1, max_length=None, scores=False):
    """Writes a text from each z (n, latent_dim); see `inference.write`.

    Returns:
        list of n str; with `scores` also log p(text|z) in nats, float (n,).
    """
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "beam": beam, "seed": seed}
    z = np.asarray(z, "float32")
    ids, log_probs = inference.write(run.model, z, max_length or run.options["gen_length"], **settings)
    texts = [run.vocabulary.decode(row) for row in ids]
    return (texts, log_probs) if scores else texts


def score(run, texts, z):
    """Returns log p(text|z) in nats of n texts, each at its z (n, latent_dim): float (n,)."""
    return -inference.likelihoods(run.model, encode_texts(texts, run.vocabulary, prompt=True), z)


def sample_prior(run, n, seed=1):
    """Returns n draws from the prior N(0, 1): float32 (n, latent_dim)."""
    return np.random.default_rng(seed).standard_normal((n, run.options["latent_dim"]), "float32")


# Training ------------------------------------------------------------------------------------------------------------


def compiled(model, args, batches):
    """Compiles a model for training: Adam with clipped gradients and a learning rate that falls to 0."""
    steps = (args.epochs + args.pretrain_epochs) * batches.total
    rate = falling(args.learning_rate, args.decay, steps)
    settings = {"learning_rate": rate, "global_clipnorm": args.clip_norm or None}
    if args.aggressive:
        control = model.aggressive
        optimizer = collapse.AlternatingAdam(control.decoder_moves, model.decoder.trainable_variables, **settings)
    else:
        optimizer = Adam(**settings)
    model.steps_an_epoch = batches.total
    model.compile(optimizer, jit_compile=JIT)
    return model


# Command line ---------------------------------------------------------------------------------------------------------


def _kept(text):
    return 1 - bounded(float, 0, 1)(text)


def parse_args(argv=None):
    size, weight, share = bounded(int, 1), bounded(float, 0), bounded(float, 0, 1)
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_data_options(parser, task="pydocs", max_length=100, top_words=10_000)
    add = parser.add_argument_group("model").add_argument
    add("-E", "--embedding-dim", "--embedding_size", "--embedding-size", type=size, default=256, help="width of a word")
    add("-L", "--units", "--num_units", "--lstm-hidden-size", type=size, default=256, help="width of a recurrence")
    add("--encoder-units", type=size, default=128, help="width of the encoder's recurrences")
    add("-x", "--extra-layers", type=bounded(int, 0), default=0, help="recurrences of a side besides the first")
    add("-R", "--rnn-type", choices=("lstm", "gru"), default="lstm", help="kind of recurrence")
    add("-H", "--latent-dim", "--latent_dim", "--hidden-size", type=size, default=32, help="dimensions of z")
    add("--one-way", action="store_true", help="the encoder reads forwards only")
    add("--share-rnn", action="store_true", help="one recurrence for both sides, which both read forwards")
    add("--softplus", action="store_true", help="standard deviation as softplus(x - 3) instead of a log variance")
    add("--z-to", choices=("state", "inputs", "both"), default="both", help="where the decoder is given z")
    add("--untied", action="store_true", help="weights of the softmax apart from the word embedding")
    add("--embeddings", metavar="FILE", help="start from word vectors: text (word v1 v2 ...) or .npy in id order")
    add("--no-latent", action="store_true", help="no encoder and no z: the decoder alone, a language model")
    add = parser.add_argument_group("objective").add_argument
    add("-d", "--word-dropout", type=share, default=0.0, help="share of the decoder's input words hidden; 1: inputless")
    add("--keep_prob", dest="word_dropout", type=_kept, metavar="KEEP", default=argparse.SUPPRESS, help="1 - the above")
    add("--dropout", type=bounded(float, 0, 0.99), default=0.5, help="dropout of the decoder's inputs and outputs")
    add("--beta", type=weight, default=1.0, help="final weight of the KL term; 1 gives the bound")
    add("--kl-schedule", choices=("none", "linear", "logistic", "cyclical"), default="linear", help="how it gets there")
    add("--annealing-epochs", type=weight, default=2.0, help="length of the ramp")
    add("--annealing-pivot", "--annealing_pivot", type=size, help="step of the middle of the logistic schedule")
    add("--posterior-norm", type=weight, default=0.6, metavar="GAMMA", help="standard deviation of z_mean; 0: as it is")
    add("--free-bits", type=weight, default=0.0, metavar="NATS", help="KL of a sentence that costs nothing")
    add("--mmd", type=weight, default=0.0, metavar="WEIGHT", help="weight of the MMD between codes and prior")
    add("--pretrain-epochs", type=bounded(int, 0), default=0, help="epochs as an autoencoder; then a new decoder")
    add("--aggressive", action="store_true", help="many encoder steps for one of both, until z tells no more")
    add_training_options(parser, epochs=20, batch_size=64, learning_rate=4e-3)
    add_sampling_options(parser, temperature=0.5, num_samples=5, gen_length=60)
    add_run_options(parser)
    add = parser.add_argument_group("use").add_argument
    add("--iw-samples", type=bounded(int, 0), default=500, metavar="K", help="draws for iw_nll in --eval; 0: none")
    add("--interactive", action="store_true", help="at the end a Python prompt with run, model, vocabulary and corpus")
    add("--save", action="store_true", help=argparse.SUPPRESS)  # older scripts': a run is always saved
    add("text", nargs="?", metavar="DATA", help="the same as --data")
    args = parse(parser, SCRIPT, argv)
    args.data, args.one_way = args.data or args.text, args.one_way or args.share_rnn
    return args


def main(args):
    run, codec = open_run(SCRIPT, args), sys.modules[__name__]
    if not run.is_new and args.resume is None:
        run.model = build(run.options, run.vocabulary)
        run.load_best(run.model)
        if args.sample is not None and not args.interactive:
            report.talk(run, codec, args)
            return
        corpus, _, splits = load(run, args)
        if args.interactive:
            report.interact(run, codec, corpus)
        else:
            report.finish(run, splits["test"], args.iw_samples)
        return
    corpus, vocabulary, splits = load(run, args)
    train = Batches(splits["train"], args.batch_size, run.seed)
    valid = Batches(splits["valid"], 2 * args.batch_size, shuffle=False)
    settle_epochs(run, args, train)
    model = build(run.options, vocabulary)
    if args.embeddings and run.is_new:
        corpus.description += start_from_vectors(args.embeddings, vocabulary, model.embedding.embeddings)
    compiled(model, args, train)
    epochs, monitor = args.epochs + args.pretrain_epochs, "val_nll" if args.no_latent else "val_neg_elbo"
    callbacks = [collapse.NewDecoder(model, train, args.pretrain_epochs)] if args.pretrain_epochs else []
    callbacks += [collapse.UntilInformed(splits["valid"])] if model.aggressive else []
    run.start(model, vocabulary, corpus)
    with contextlib.closing(run):
        report.project(run, splits["valid"])
        callbacks.append(report.Show(run, codec, splits["valid"], args.output_every, epochs))
        limits = {"epochs": epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
        fit(run, model, train, valid, monitor=monitor, callbacks=callbacks, **limits)
        run.load_best(model)
        run.hparams(run.options, report.finish(run, splits["test"]))
        report.project(run, splits["valid"])
        if args.interactive:
            report.interact(run, codec, corpus)


if __name__ == "__main__":
    command(main, parse_args)
