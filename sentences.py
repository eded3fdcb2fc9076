"""Sentence VAE: it turns sentences into points of a space, where you can sample new ones or walk between two of yours.

An encoder reads a sentence x and outputs a Gaussian q(z|x) over codes z. A decoder, a recurrent language model
conditioned on z, writes the sentence again (Bowman et al. 2016). Training minimizes an upper bound on -log p(x), in
nats per sentence:

    neg_elbo = nll + kl,   nll = E_q[-log p(x|z)], summed over words and <eos>,   kl = KL(q(z|x) || N(0, 1))

Shapes: ids (batch, time), words (batch, time, embedding_dim), hidden states (batch, units), z (batch, latent_dim).

Try:
    python sentences.py -e 20                                   train on English prose, no download
    python sentences.py --eval                                  all scores: iw_nll, kl, mutual information, ...
    python sentences.py --sample                                new sentences; type one to get sentences near it
    python homotopy.py "one sentence." "another one."           interpolate between two sentences

Departures from the paper (details in docs/sentences.md):
    1. The weight of the KL term adapts until the KL is that of `--rate` (Rezende and Viola 2018), which also prevents
       posterior collapse. The paper's way: `--kl-schedule logistic --annealing-pivot 10000 -d 0.3`.
    2. Encoder, decoder and softmax share one word embedding (`--untied` keeps the softmax apart).
    3. Adam with a learning rate that decays to 0. The decoder gets z in its inputs and output as well as in its state.
    4. The end token is counted in every likelihood; the paper does not count it.
    5. Generated sentences never contain `<unk>`, `<pad>` or `<start>`.
"""

import argparse
import itertools

from scriptorium.command_line import Parser, bounded, command
from scriptorium.data import corpora
from scriptorium.data.vectors import start_from_vectors
from scriptorium.data.vocabulary import PAD, START, UNK
from scriptorium.nn.compiled import JIT, build_by_calling
from scriptorium.nn.fast import Adam, softmax_nll
from scriptorium.nn.recurrent import RNNS, read_padded, states_per_layer
from scriptorium.scores import metrics
from scriptorium.streams import note
from scriptorium.training.fit import averaging, fit_run, learning_rate_schedule
from scriptorium.training.opening import open_run
from scriptorium.training.options import EVAL, add_run_options, add_training_options
from scriptorium.vae import collapse, latent, report
from scriptorium.vae.codec import Codec

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, batches, extra_layers, load

SCRIPT = "sentences"
RATE = 24.0  # default of --rate
ADVICE = "--rate 24, or --posterior-norm 0.6, or --free-bits 8 --pretrain-epochs 3, or -d 0.4"  # against collapse
# Options for a weight of the KL term by schedule, or for the KL that follows from it: without a rate.
SCHEDULED = ("beta", "kl_schedule", "annealing_epochs", "annealing_pivot", "posterior_norm", "free_bits")
SCHEDULED += ("pretrain_epochs", "aggressive_encoder")


class Encoder(layers.Layer):
    """Reads embedded words (batch, time, embedding_dim) to z_mean and z_log_var, float32 (batch, latent_dim) each.

    Args:
        units, num_layers, rnn_type: of the recurrent layers in each direction.
        latent_dim: dimensions of z.
        bidirectional: whether to read backward too.
        posterior_norm: standard deviation of z_mean over the data, 0 to leave it free, see `latent.PosteriorNorm`.
        softplus: whether the network outputs a standard deviation instead of a log variance.
        read: function of x and a mask to use instead of the encoder's own recurrent layers, or None.
    """

    def __init__(
        self, units, latent_dim, num_layers=1, rnn_type="lstm", bidirectional=True, posterior_norm=0.6, softplus=False,
        read=None,
    ):  # fmt: skip
        super().__init__()
        self.read, self.softplus = read, softplus
        self.forward_layers, self.backward_layers = [], []
        for _ in range(0 if read else num_layers):
            self.forward_layers.append(RNNS[rnn_type](units, return_sequences=True))
            if bidirectional:
                self.backward_layers.append(RNNS[rnn_type](units, return_sequences=True, go_backwards=True))
        self.z_mean = layers.Dense(latent_dim, dtype="float32")
        self.z_spread = layers.Dense(latent_dim, dtype="float32")
        self.norm = latent.PosteriorNorm(posterior_norm) if posterior_norm else None

    def call(self, x, mask, training=False):
        if self.read:
            h = self.read(x, mask)
        else:
            for directions in itertools.zip_longest(self.forward_layers, self.backward_layers):
                read = [read_padded(layer, x, mask) for layer in directions if layer]
                x, h = (ops.concatenate(sides, axis=-1) for sides in zip(*read, strict=True))
        z_mean, z_spread = self.z_mean(h), self.z_spread(h)
        if self.norm:
            z_mean = self.norm(z_mean, training=training)
        # Softplus keeps a standard deviation positive, and -3 makes it small at first.
        z_log_var = 2 * ops.log(ops.softplus(z_spread - 3.0) + 1e-6) if self.softplus else z_spread
        return z_mean, z_log_var


class Decoder(layers.Layer):
    """Language model of words given z: `call` gives the nll of each word, `step` the logits of the next one.

    Args:
        embedding: `keras.layers.Embedding` of the words, which the softmax shares if `tied`.
        vocab_size: number of words.
        units, num_layers, rnn_type: of the recurrent layers.
        latent_dim: dimensions of z; 0 for a language model without z.
        latent_input: where z enters: "state", "inputs", "both" of these, or "all": the output, too.
        tied: whether embedding and softmax share their weights.
        word_dropout: share of the input words to hide; 1 also hides them outside training.
        dropout: rate on inputs and outputs.
        seed: int, for word dropout.
    """

    def __init__(
        self, embedding, vocab_size, units, num_layers=1, rnn_type="lstm", latent_dim=0, latent_input="all",
        tied=True, word_dropout=0.0, dropout=0.0, seed=1,
    ):  # fmt: skip
        super().__init__()
        self.embedding, self.vocab_size, self.tied, self.word_dropout = embedding, vocab_size, tied, word_dropout
        self.joined = latent_dim if latent_input != "state" else 0
        self.recurrences = [RNNS[rnn_type](units, return_sequences=True) for _ in range(num_layers)]
        self.units, self.states_per_layer = units, states_per_layer(rnn_type)
        self.num_states = self.states_per_layer * num_layers
        from_z = latent_dim and latent_input != "inputs"
        self.z_to_state = layers.Dense(self.num_states * units) if from_z else None
        self.dropouts = [layers.Dropout(dropout) for _ in range(1 + num_layers)]
        self.seed = keras.random.SeedGenerator(seed)
        self.width = embedding.output_dim if tied else units
        self.project = layers.Dense(self.width) if self.width != units else None
        self.z_to_output = layers.Dense(self.width, use_bias=False) if latent_dim and latent_input == "all" else None

    def build(self, *shapes):
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        if not self.tied:
            self.kernel = self.add_weight(shape=(self.width, self.vocab_size), name="kernel")

    def initial_state(self, z, batch):
        """Returns the initial states, a list of (batch, units): h and, for an LSTM, c of each layer."""
        if self.z_to_state is None:
            return [ops.zeros((batch, self.units), self.compute_dtype)] * self.num_states
        # A hidden state lies between -1 and 1; a cell state has no bounds.
        states = ops.split(self.z_to_state(z), self.num_states, axis=-1)
        return [ops.tanh(state) if i % self.states_per_layer == 0 else state for i, state in enumerate(states)]

    def join(self, x, z):
        """Appends z (batch, latent_dim) to each word of x (batch, [time,] embedding_dim)."""
        if not self.joined:
            return x
        if len(x.shape) == 3:
            z = ops.broadcast_to(z[:, None], (*ops.shape(x)[:2], self.joined))
        return ops.concatenate([x, ops.cast(z, x.dtype)], axis=-1)

    def to_output(self, x, z):
        """Turns recurrent outputs x (batch, [time,] units) into the inputs of the softmax, (batch, [time,] width)."""
        x = self.project(x) if self.project else x
        if not self.z_to_output:
            return x
        # This term makes some words of the whole sentence likelier than others, wherever they stand.
        shift = ops.cast(self.z_to_output(z), x.dtype)
        return x + (shift[:, None] if len(x.shape) == 3 else shift)

    def last_output(self, x, mask):
        """Reads a sentence with the decoder's recurrent layers and z = 0; returns the last output, (batch, units)."""
        x = self.join(x, ops.zeros((ops.shape(x)[0], self.joined), x.dtype))
        for recurrence in self.recurrences:
            x, last = read_padded(recurrence, x, mask)
        return last

    def hide(self, ids, training):
        """Replaces input words by `<unk>`, each with probability word_dropout; at 1 also outside training."""
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
        state, size = self.initial_state(z, batch), self.states_per_layer
        for i, recurrence in enumerate(self.recurrences):
            x = recurrence(x, initial_state=state[i * size : (i + 1) * size])
            x = self.dropouts[1 + i](x, training=training)
        x = self.to_output(x, z)
        kernel = self.embedding.embeddings if self.tied else self.kernel
        flat = ops.reshape(x, (-1, self.width)), ops.reshape(ids, (-1,))
        nll = softmax_nll(flat[0], kernel, self.bias, flat[1], mask=flat[1] != PAD, transposed=self.tied)
        return ops.reshape(nll, (batch, time))

    def start(self, z):
        """Returns the initial state: z and the states of the recurrent layers, a tuple."""
        return (z, *self.initial_state(z, ops.shape(z)[0]))

    def step(self, token, state):
        """Returns logits (batch, vocab_size) for the word after a token (batch,), and the new state."""
        z, *state = state
        x, size, after = self.join(self.embedding(self.hide(token, False)), z), self.states_per_layer, []
        for i, recurrence in enumerate(self.recurrences):
            x, states = recurrence.step(x, state[i * size : (i + 1) * size])
            after += states
        x = self.to_output(x, z)
        kernel = ops.transpose(self.embedding.embeddings) if self.tied else self.kernel
        logits = ops.matmul(x, ops.cast(kernel, x.dtype))
        after = [ops.cast(new, old.dtype) for new, old in zip(after, state, strict=True)]
        return ops.cast(logits, "float32") + self.bias, (z, *after)


class SentenceVAE(keras.Model):
    """Encoder, decoder and their objective: nll + kl_weight * kl, both summed over a sentence, in nats.

    Args:
        encoder: `Encoder`, or None for a language model.
        decoder: `Decoder`.
        latent_dim: dimensions of z.
        kl_weight: function of the training step, from 0, that returns the weight of the KL term.
        free_bits: nats of KL per sentence that cost nothing.
        mmd_weight: weight of the MMD between codes and prior, 0 for none.
        aggressive: whether the encoder trains ahead of the decoder, see `collapse.AggressiveSchedule`.
        rate: nats of KL per sentence to aim for; the weight of the KL term then adapts, see `latent.RateControl`.
            0 keeps to `kl_weight`.
        seed: int, for sampling z.
    """

    def __init__(
        self, encoder, decoder, latent_dim, kl_weight, free_bits=0.0, mmd_weight=0.0, aggressive=False, rate=0.0,
        seed=1,
    ):  # fmt: skip
        super().__init__()
        self.embedding, self.decoder, self.encoder = decoder.embedding, decoder, encoder
        self.kl_weight, self.free_bits, self.mmd_weight = kl_weight, free_bits, mmd_weight
        self.seed = keras.random.SeedGenerator(seed)
        self.aggressive = collapse.AggressiveSchedule() if aggressive and encoder else None
        self.control = latent.RateControl(rate) if rate and encoder else None
        names = ["nll"]
        if encoder:
            names += ["kl", "neg_elbo"] + (["mmd"] if mmd_weight else [])
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.perplexity = metrics.Perplexity()
        self.active_units = metrics.ActiveUnits(latent_dim) if encoder else None
        self.steps_done = latent.step_counter(self)
        self.latent_shape, self.has_latent = (latent_dim,), encoder is not None

    @property
    def metrics(self):
        return [*self.means.values(), self.perplexity, *([self.active_units] if self.encoder else [])]

    def kl_weight_now(self):
        if not self.encoder:
            return None
        return float(self.control.weight() if self.control else self.kl_weight(latent.steps(self.steps_done)))

    def call(self, ids, training=False):
        if not self.encoder:
            return {"nll": self.decoder(ids, training=training)}
        z_mean, z_log_var = self.encoder(self.embedding(ids), ids != PAD, training=training)
        z = latent.normal_sample(z_mean, z_log_var, self.seed)
        return {"nll": self.decoder(ids, z, training=training), "z": z, "z_mean": z_mean, "z_log_var": z_log_var}

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
        bounded_kl = latent.free_bits(each, self.free_bits) if self.free_bits else ops.mean(kl)
        weight = self.control.weight() if self.control else self.kl_weight(self.steps_done)
        loss = ops.mean(nll) + weight * bounded_kl
        if self.mmd_weight:
            prior = keras.random.normal(ops.shape(y_pred["z"]), seed=self.seed)
            mmd = latent.mmd(y_pred["z"], prior)
            self.means["mmd"].update_state(mmd)
            loss = loss + self.mmd_weight * mmd
        if training:
            self.steps_done.assign(self.steps_done + 1)
            if self.control:
                self.control.update(ops.mean(kl))
            if self.aggressive:
                self.aggressive.update(loss)
        return loss

    # The methods that `scriptorium/vae/inference.py` calls.

    def posterior(self, ids):
        return self.encoder(self.embedding(ids), ids != PAD)

    def nll(self, ids, z=None):
        return ops.sum(self.decoder(ids, z), axis=-1)

    def log_ratio(self, ids, z, z_mean, z_log_var):
        return latent.normal_log_prob(z) - latent.normal_log_prob(z, z_mean, z_log_var)

    def start(self, z):
        return self.decoder.start(z)

    def step(self, token, state):
        return self.decoder.step(token, state)


def build(options, vocabulary, steps_per_epoch=1):
    """Builds the untrained model of a run from its options (plain JSON values) and its vocabulary.

    Args:
        options, vocabulary: of the run.
        steps_per_epoch: int, for the schedule of the KL weight; needed only in training.
    """
    names = ("units", "num_layers", "rnn_type", "latent_input", "word_dropout", "dropout", "seed")
    latent_dim = 0 if options["no_latent"] else options["latent_dim"]
    small = keras.initializers.RandomUniform(-0.1, 0.1)
    embedding = layers.Embedding(len(vocabulary), options["embedding_dim"], embeddings_initializer=small)
    settings = {name: options[name] for name in names} | {"latent_dim": latent_dim, "tied": not options["untied"]}
    decoder = Decoder(embedding, len(vocabulary), **settings)
    encoder = None
    if latent_dim:
        names = ("latent_dim", "num_layers", "rnn_type", "posterior_norm", "softplus")
        settings = {name: options[name] for name in names} | {"bidirectional": not options["unidirectional"]}
        # Pass only a method, so that the decoder does not become a sublayer of the encoder.
        settings["read"] = decoder.last_output if options["share_rnn"] else None
        encoder = Encoder(options["encoder_units"], **settings)
    model = SentenceVAE(
        encoder, decoder, options["latent_dim"], kl_schedule(options, steps_per_epoch), options["free_bits"],
        options["mmd"], options["aggressive_encoder"], options["rate"] or 0.0, options["seed"] + 1,
    )  # fmt: skip
    build_by_calling(model, np.full((2, 3), UNK, "int32"))
    return model


def kl_schedule(options, steps_per_epoch):
    """Returns the function from training step to KL weight that the options of a run describe."""
    pretrain, total = (options[name] * steps_per_epoch for name in ("pretrain_epochs", "epochs"))
    length = options["annealing_epochs"] * steps_per_epoch
    if options["kl_schedule"] == "logistic" and options["annealing_pivot"]:
        length = options["annealing_pivot"]

    def kl_weight(step):
        step = step - pretrain
        weight = latent.kl_schedule(options["kl_schedule"], step, length, options["beta"], total)
        return ops.where(step < 0, 0.0, weight)

    return kl_weight


def compile_for(model, args, steps):
    """Compiles a model for `steps` steps: Adam with clipped gradients and a learning rate that decays to 0."""
    settings = {"learning_rate": learning_rate_schedule(args.learning_rate, args.decay, steps)}
    settings |= {"global_clipnorm": args.clip_norm or None} | averaging(args)
    if model.aggressive:
        moves = model.aggressive.decoder_moves
        optimizer = collapse.AlternatingAdam(moves, model.decoder.trainable_variables, **settings)
    else:
        optimizer = Adam(**settings)
    model.compile(optimizer, jit_compile=JIT)


# Command line ---------------------------------------------------------------------------------------------------------


def add_objective(parser, latents):
    """Adds the group "objective"; `latents` is the requirement of options that need z."""
    weight, share = bounded(float, 0), bounded(float, 0, 1)
    add, more = parser.group("objective"), parser.group("objective", rare=True)
    about, details = f"how much z knows: KL per sentence (default: {RATE:g})", "The weight of the KL term adapts to"
    details += " it; 0, or an option below that sets weight or KL otherwise, turns this off"
    add("--rate", type=weight, metavar="NATS", help=about, requires=latents, details=details)
    about = "share of the decoder's input words that are hidden"
    add("-d", "--word-dropout", type=share, default=0.0, help=about)
    add("--keep_prob", type=bounded(float, 0, 1), default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    add("--dropout", type=bounded(float, 0, 0.99), default=0.5, help="dropout of the decoder")
    more("--beta", type=weight, default=1.0, help="final weight of the KL term; 1 gives the bound", requires=latents)
    about = "how the weight of the KL term rises"
    choices = ("none", "linear", "logistic", "cyclical")
    more("--kl-schedule", choices=choices, default="linear", help=about, requires=latents)
    rises = "--kl-schedule", lambda args: args.kl_schedule != "none"
    about = "epochs until the weight of the KL term reaches --beta"
    more("--annealing-epochs", type=weight, default=2.0, help=about, requires=rises)
    about = "step at which the logistic schedule reaches half of --beta"
    more("--annealing-pivot", type=bounded(int, 1), help=about, older=["--annealing_pivot"])
    about = "standard deviation of z_mean over the data; 0: free"
    more("--posterior-norm", type=weight, default=0.0, metavar="GAMMA", help=about, requires=latents)
    about = "KL per sentence that costs nothing"
    more("--free-bits", type=weight, default=0.0, metavar="NATS", help=about, requires=latents)
    about = "weight of the MMD between codes and prior"
    more("--mmd", type=weight, default=0.0, metavar="WEIGHT", help=about, requires=latents)
    about = "pre-train this many epochs as an autoencoder, then reset the decoder"
    more("--pretrain-epochs", type=bounded(int, 0), default=0, help=about, requires=latents)
    about = "update the encoder many times per decoder update while mutual information grows"
    more("--aggressive-encoder", action="store_true", help=about, older=["--aggressive"], requires=latents)


def parse_args(argv=None):
    size, parser = bounded(int, 1), Parser(SCRIPT, __doc__)
    add_data_options(parser, task="pydocs", max_length=100, top_words=10_000)
    parser.group("data")("text", nargs="?", metavar="DATA", help="the same as --data")
    add, more = parser.group("model"), parser.group("model", rare=True)
    older = ["--embedding_size", "--embedding-size"]
    add("-E", "--embedding-dim", type=size, default=256, help="width of a word embedding", older=older)
    older = ["--num_units", "--lstm-hidden-size"]
    add("-L", "--units", type=size, default=256, help="width of the decoder", older=older)
    more("--encoder-units", type=size, default=128, help="width of the encoder's recurrent layers, per direction")
    add("--num-layers", type=size, default=1, help="layers of encoder and decoder")
    add("-x", "--extra-layers", dest="num_layers", type=extra_layers, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    more("-R", "--rnn-type", choices=tuple(RNNS), default="lstm", help="kind of recurrent layer")
    older = ["--latent_dim", "--hidden-size"]
    add("-H", "--latent-dim", type=size, default=32, help="dimensions of z", older=older)
    more("--unidirectional", action="store_true", help="the encoder reads forward only", older=["--one-way"])
    more("--share-rnn", action="store_true", help="encoder and decoder share recurrent layers, which read forward")
    more("--softplus", action="store_true", help="output a standard deviation, softplus(x - 3), not a log variance")
    about = "where the decoder receives z; all: in its state, inputs and output"
    latents = ("z; leave out --no-latent", lambda args: not args.no_latent)
    choices = ("state", "inputs", "both", "all")
    more("--latent-input", choices=choices, default="all", help=about, older=["--z-to"], requires=latents)
    more("--untied", action="store_true", help="separate weights for word embedding and softmax")
    more("--embeddings", metavar="FILE", help="start from word vectors: text (word v1 v2 ...) or .npy in id order")
    add("--no-latent", action="store_true", help="the decoder alone: a language model")
    add_objective(parser, latents)
    add_training_options(parser, epochs=20, batch_size=64, learning_rate=4e-3, averages=True)
    add_sampling_options(parser, temperature=0.5, num_samples=5, gen_length=60)
    add_run_options(parser)
    add, more = parser.group("use"), parser.group("use", rare=True)
    about = "samples per sentence for iw_nll in --eval; 0: none"
    more("--iw-samples", type=bounded(int, 0), default=500, metavar="K", help=about, requires=EVAL)
    about = "open a Python prompt at the end, with codec, run, model, vocabulary and corpus"
    more("--interactive", action="store_true", help=about)
    add("--save", action="store_true", help=argparse.SUPPRESS)  # accepted for old command lines; a run is always saved
    args = parser.parse(argv)
    return settle(parser, args)


def settle(parser, args):
    """Sets the options that follow from others, and rejects contradictions; returns the options."""
    if args.text is not None:
        args.data, args.text = args.text, None
        args.given.add("data")
    args.given.discard("text")
    if "keep_prob" in args.given:
        keep = vars(args).pop("keep_prob")
        # To use a trained run, the original's commands keep all words.
        if keep < 1 or (args.eval is None and args.sample is None):
            args.word_dropout = 1 - keep
            args.given.add("word_dropout")
    if args.annealing_pivot and args.kl_schedule != "logistic":
        if "kl_schedule" in args.given:
            parser.error(f"--annealing-pivot belongs to --kl-schedule logistic, not to {args.kl_schedule}")
        args.kl_schedule = "logistic"
        args.given.add("kl_schedule")
    args.unidirectional = args.unidirectional or args.share_rnn
    scheduled = [parser.flags[dest] for dest in SCHEDULED if dest in args.given]
    if args.rate and scheduled:
        parser.error(f"--rate adapts the weight of the KL term to a KL; leave it out, or {scheduled[0]}")
    if args.rate is None:
        args.rate = 0.0 if scheduled or args.no_latent else RATE
    return args


def use(run, args):
    """Samples from a trained run, scores it, or opens a Python prompt with it."""
    codec = Codec(run)
    if args.sample is not None and not args.interactive:
        report.talk(codec, args)
        return
    if args.interactive:
        corpus = corpora.reload_or_none(run.options, run.config["corpus"].get("fingerprint"))
        if corpus is None:
            note(f"The text of {run.name} cannot be made again here, so there is no corpus.")
        report.interact(codec, corpus)
    else:
        report.evaluate_and_save(codec, load(run, args)[2]["test"], args.iw_samples)


def main(args):
    run = open_run(SCRIPT, args)
    if run.for_use:
        use(run.load_model(build), args)
        return
    corpus, vocabulary, splits = load(run, args)
    train, valid = batches(run, args, splits, valid_size=2 * args.batch_size)
    model = build(run.options, vocabulary, train.total)
    if args.embeddings is not None and run.begins:
        corpus.description += start_from_vectors(args.embeddings, vocabulary, model.embedding.embeddings)
    epochs = args.epochs + args.pretrain_epochs
    compile_for(model, args, epochs * train.total)
    with run.start(model, vocabulary, corpus):
        callbacks = [collapse.ResetDecoder(model, train, args.pretrain_epochs)] if args.pretrain_epochs else []
        callbacks += [collapse.EndAggressivePhase(splits["valid"])] if model.aggressive else []
        report.log_projector(run, splits["valid"])
        callbacks.append(report.EpochReport(run, Codec(run), splits["valid"], args.output_every, epochs, ADVICE))
        monitor = "val_neg_elbo" if model.has_latent else "val_nll"
        fit_run(run, train, valid, args, monitor, callbacks, more_epochs=args.pretrain_epochs)
        report.evaluate_and_save(Codec(run), splits["test"])
        report.log_projector(run, splits["valid"])
        if args.interactive:
            report.interact(Codec(run), corpus)


if __name__ == "__main__":
    command(main, parse_args)
