"""Character RNN: a recurrent language model that writes text letter by letter (Graves 2013; Karpathy 2015).

An LSTM (or GRU) reads the text one character at a time and gives, at each, the distribution of the next one:

    nats_per_char = mean of -log p(next character | all characters before it);   bits_per_char = nats_per_char / log 2

It is trained on windows of the running text. The state at the end of a window is where the next window begins, so what
the model knows reaches further back than its gradients (truncated backpropagation through time).

Shapes: ids (batch, 1 + time), characters (batch, time, embedding_dim), hidden states (batch, units).

Try:
    python chars.py                                 trains on English prose that needs no download
    python chars.py -D my.txt -e 10                 your own text; --level byte takes any file
    echo "The list of " | python chars.py --sample

Departures from the papers:
    1. Adam, with a learning rate that falls to 0, in place of RMSProp.
    2. Characters pass through an embedding; `--one-hot` feeds them as they do.
    3. The text is cut at other places in each epoch.
    4. `--windows` cuts it into sequences that know nothing of one another, each from a state of zeros.
"""

import argparse
import contextlib
import time

from scriptorium import UserError
from scriptorium.command_line import bounded, command, parse
from scriptorium.data import running_text, tasks
from scriptorium.data.batches import Batches, Streams, windows
from scriptorium.data.vocabulary import EOS, PAD, START
from scriptorium.decoding import language_model
from scriptorium.nn.compiled import JIT, one_core_an_operation
from scriptorium.nn.fast import Adam, Dropout, softmax_nll
from scriptorium.nn.recurrent import GRU, LSTM, CarriedState, ResetState
from scriptorium.training.fit import due, falling, fit, settle_epochs
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options

import keras
import numpy as np
from keras import layers, ops

from util import add_sampling_options

SCRIPT = "chars"
TEMPERATURES = (0.5, 0.8, 1.0)  # of the samples that are shown
PROMPT = 40  # characters of the text that these go on from


class CharRNN(keras.Model):
    """Recurrences over characters, a softmax over the next one, and their objective: nats a character."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options, self.vocab_size, units = options, vocab_size, options["units"]
        width = options["embedding_dim"]
        self.embedding = None if options["one_hot"] else layers.Embedding(vocab_size, width)
        count = 1 + options["extra_layers"]
        kind = {"lstm": LSTM, "gru": GRU}[options["rnn_type"]]
        self.recurrences = [kind(units, return_sequences=True, return_state=True) for _ in range(count)]
        self.dropouts = [Dropout(options["dropout"]) for _ in range(count)]
        self.norms = [layers.LayerNormalization() for _ in range(count if options["layer_norm"] else 0)]
        self.per_layer = 2 if kind is LSTM else 1
        widths = [units] * self.per_layer * count
        self.carried = None
        if not options["windows"]:
            self.carried = CarriedState(options["batch_size"], widths, options["forget"], options["seed"] + 1)
        # A softmax that is tied to the embedding needs states of the embedding's width.
        self.tied = options["tied"]
        self.project = layers.Dense(width) if self.tied and width != units else None
        self.means = {name: keras.metrics.Mean(name) for name in ("nats_per_char", "bits_per_char")}

    def build(self, *shapes):
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        if not self.tied:
            self.kernel = self.add_weight(shape=(self.options["units"], self.vocab_size), name="kernel")

    @property
    def metrics(self):
        return list(self.means.values())

    def zeros(self, batch):
        """Returns the state before any text: h and, for an LSTM, c of each layer, (batch, units) each."""
        return [ops.zeros((batch, self.options["units"]))] * self.per_layer * len(self.recurrences)

    def enter(self, ids):
        if self.embedding:
            return self.embedding(ids)
        return ops.one_hot(ids, self.vocab_size, dtype=self.compute_dtype)

    def read(self, ids, states, training=False):
        """Reads characters (batch, time): features (batch, time, width) of what comes next, and the states after."""
        x, after = self.enter(ids), []
        for i, recurrence in enumerate(self.recurrences):
            own = states[i * self.per_layer : (i + 1) * self.per_layer]
            x, *own = recurrence(x, initial_state=[ops.cast(state, x.dtype) for state in own])
            x = self.norms[i](x) if self.norms else x
            x = self.dropouts[i](x, training=training)
            after += [ops.cast(state, "float32") for state in own]
        return self.project(x) if self.project else x, after

    def nll_of(self, features, targets):
        """Returns -log p of each target (batch, time) in nats, 0 at padding."""
        kernel = self.embedding.embeddings if self.tied else self.kernel
        return softmax_nll(features, kernel, self.bias, targets, mask=targets != PAD, transposed=self.tied)

    def call(self, ids, training=False):
        if self.options["windows"]:
            inputs = ops.concatenate([ops.full_like(ids[:, :1], START), ids[:, :-1]], axis=1)
            return self.nll_of(self.read(inputs, self.zeros(ops.shape(ids)[0]), training)[0], ids)
        features, states = self.read(ids[:, :-1], self.carried.read(training), training)
        self.carried.write(states)
        return self.nll_of(features, ids[:, 1:])

    def next(self, token, states):
        """Returns logits (batch, vocab_size) of what comes after a character (batch,), and the states after it."""
        x, after = self.enter(token), []
        for i, recurrence in enumerate(self.recurrences):
            x, own = recurrence.step(x, states[i * self.per_layer : (i + 1) * self.per_layer])
            x = self.norms[i](x) if self.norms else x
            after += own
        x = self.project(x) if self.project else x
        kernel = ops.transpose(self.embedding.embeddings) if self.tied else self.kernel
        logits = ops.cast(ops.matmul(x, ops.cast(kernel, x.dtype)), "float32") + self.bias
        # No text holds the special tokens.
        logits = ops.where(ops.arange(self.vocab_size) <= EOS, -1e9, logits)
        return logits, tuple(ops.cast(state, "float32") for state in after)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        counts = ops.cast((x if self.options["windows"] else x[:, 1:]) != PAD, "float32")
        self.means["nats_per_char"].update_state(y_pred, sample_weight=counts)
        self.means["bits_per_char"].update_state(y_pred / np.log(2), sample_weight=counts)
        return ops.sum(y_pred) / ops.maximum(ops.sum(counts), 1.0)


def build(options, vocabulary):
    """Makes the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    model = CharRNN(options, len(vocabulary))
    model(np.full((options["batch_size"], 3), START, "int32"))
    if model.carried:
        model.carried.reset()
    return model


# Use -----------------------------------------------------------------------------------------------------------------


def line_begin(run):
    """Returns the id before a prompt: the end of the line before, where the text has lines."""
    return run.vocabulary.index.get("\n", START)


def write(run, prompt, length, *, seed=1, **settings):
    """Returns a prompt, str, gone on with by `length` characters; settings as for `writing.Writer`."""
    writer = language_model.Writer(run.model, chunk=length, **settings)
    ids, _ = writer.go_on(writer.start([language_model.prompt_of(prompt, run.vocabulary, line_begin(run))], seed))
    return prompt + run.vocabulary.decode(ids[0])


def finish(run, ids):
    """Scores a run on the ids of its test split, prints the scores and writes them to eval.json; returns them."""
    started = time.monotonic()
    nats = float(language_model.score(run.model, ids[:1000] if run.dry_run else ids))
    scores = {"nats_per_char": nats, "bits_per_char": nats / float(np.log(2)), "characters": len(ids)}
    run.console.say(f"test split of {run.name}", *(f"{name:>20}  {value:.5g}" for name, value in scores.items()))
    if not run.dry_run:
        run.write_json("eval.json", scores | {"split": "test", "seconds": round(time.monotonic() - started, 1)})
    return scores


class Show(keras.callbacks.Callback):
    """After an epoch: the model goes on with a piece of the validation text, at several temperatures."""

    def __init__(self, run, ids, last):
        super().__init__()
        self.run, self.ids, self.last = run, ids, last

    def on_epoch_end(self, epoch, logs=None):
        run, options = self.run, self.run.options
        if not due(epoch, options["output_every"], self.last):
            return
        start = np.random.default_rng((run.seed, epoch)).integers(max(1, len(self.ids) - PROMPT))
        prompt = run.vocabulary.decode(np.asarray(self.ids[start : start + PROMPT]))
        for temperature in sorted({*TEMPERATURES, options["temperature"]}):
            settings = {"temperature": temperature, "top_k": options["top_k"], "top_p": options["top_p"]}
            text = write(run, prompt, options["gen_length"], seed=epoch + 1, **settings)
            run.shown("sample", text.split("\n"), epoch + 1, **settings)


# Command line ---------------------------------------------------------------------------------------------------------


def add_data_options(parser, task, window):
    """Adds the options of the group "data" for running text: task, data, limit, max_length, top_words and level."""
    add, count = parser.add_argument_group("data").add_argument, bounded(int, 1)
    names = "; ".join(f"{name}: {text}" for name, text in tasks.TASKS.items())
    add("-t", "--task", default=task, choices=tasks.TASKS, metavar="NAME", help=f"corpus by name. {names}")
    add(
        *("-D", "--data", "--data_dir", "--data-directory"),
        metavar="PATH",
        help="text file, or folder of .txt files (those named train, valid, test stay as they are), instead of a task",
    )
    add("-I", "--limit", type=count, metavar="N", help="read only the first N characters of the text")
    add(
        *("-m", "--max-length", "--max_length", "--sequence_length"),
        type=count,
        default=window,
        metavar="N",
        help="characters of a training window: so far back reach the gradients",
    )
    add("-w", "--top-words", "--top_words", type=count, metavar="N", help="the N most frequent characters; else <unk>")
    add("--level", choices=("char", "byte"), default="char", help="what a token is; byte: any file, text or not")


def read_run(run, args):
    """Reads the running text that a command line asks for, in the vocabulary of the run or a new one.

    Raises:
        UserError: it is not the text of the run, or cannot be used.
    """
    settings = {"limit": args.limit, "level": args.level, "size": args.top_words}
    text = running_text.read(args.task, args.data, vocabulary=run.vocabulary, **settings)
    if not run.is_new and text.fingerprint != run.config["corpus"]["fingerprint"]:
        raise UserError(f"{text.name} is not the text that {run.name} was trained on")
    return text


def parse_args(argv=None):
    size, share = bounded(int, 1), bounded(float, 0, 0.99)
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_data_options(parser, task="pydocs", window=100)
    add = parser.add_argument_group("model").add_argument
    add("-E", "--embedding-dim", "--embedding-size", "--embedding_size", type=size, default=128, help="width of a char")
    add("-L", "--units", "--lstm-hidden-size", "--num_units", type=size, default=512, help="width of a recurrence")
    add("-x", "--extra-layers", type=bounded(int, 0), default=0, help="recurrences besides the first")
    add("-R", "--rnn-type", choices=("lstm", "gru"), default="lstm", help="kind of recurrence")
    add("--one-hot", action="store_true", help="characters as one-hot vectors instead of an embedding")
    add("--tied", action="store_true", help="the embedding is the softmax's weights too")
    add("--layer-norm", action="store_true", help="normalise the outputs of each recurrence")
    add("--dropout", type=share, default=0.1, help="of the outputs of each recurrence")
    add("--windows", action="store_true", help="windows that know nothing of one another, in a random order")
    add("--forget", type=share, default=0.0, help="chance that a carried state is emptied before a window in training")
    add_training_options(parser, epochs=10, batch_size=64, learning_rate=2e-3)
    add_sampling_options(parser, temperature=0.8, num_samples=1, gen_length=300, beam=False)
    add_run_options(parser)
    args = parse(parser, SCRIPT, argv)
    if args.tied and args.one_hot:
        parser.error("--tied needs an embedding: leave out --one-hot")
    return args


def main(args):
    one_core_an_operation()
    run = open_run(SCRIPT, args)
    if not run.is_new and args.resume is None:
        run.model = build(run.options, run.vocabulary)
        run.load_best(run.model)
        if args.sample is not None:
            language_model.talk(run, args, line_begin(run))
        else:
            finish(run, read_run(run, args).test)
        return
    text = read_run(run, args)
    if args.windows:
        train, valid = (
            Batches(windows(ids, args.max_length), args.batch_size, run.seed, shuffle=shuffle)
            for ids, shuffle in ((text.train, True), (text.valid, False))
        )
    else:
        train = Streams(text.train, args.batch_size, args.max_length, run.seed)
        valid = Streams(text.valid, args.batch_size, args.max_length)
    settle_epochs(run, args, train)
    model = build(run.options, text.vocabulary)
    rate = falling(args.learning_rate, args.decay, args.epochs * train.total)
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None), jit_compile=JIT)
    run.start(model, text.vocabulary, text)
    callbacks = [] if args.windows else [ResetState(model.carried, train)]
    callbacks.append(Show(run, text.valid, args.epochs))
    limits = {"epochs": args.epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
    with contextlib.closing(run):
        fit(run, model, train, valid, monitor="val_nats_per_char", callbacks=callbacks, **limits)
        run.load_best(model)
        run.hparams(run.options, finish(run, text.test))


if __name__ == "__main__":
    command(main, parse_args)
