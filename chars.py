"""Character RNN: give it any text, and it learns to write more text of that kind, one letter at a time.

A recurrent network, an LSTM or a GRU, reads the text character by character and predicts the next one at each step
(Graves 2013; Karpathy 2015). To write, draw a character from the prediction, feed it back in, and repeat. The score:

    nats_per_char = mean of -log p(next character | all characters before it);   bits_per_char = nats_per_char / log 2

Training uses windows of the running text. The state at the end of a window is the initial state of the next one, so
the model can use the whole past, while gradients reach back one window (truncated backpropagation through time).

Shapes: ids (batch, 1 + time), characters (batch, time, embedding_dim), hidden states (batch, units).

Try:
    python chars.py                                     train on English prose, no download
    python chars.py -D my.txt -e 10                     train on your own text; --level byte takes any file
    python chars.py --eval                              score the newest run on the test split
    echo "The list of" | python chars.py --sample       continue this text

Departures from the papers (details in docs/chars.md):
    1. Adam with a learning rate that decays to 0, instead of RMSProp.
    2. Characters pass through an embedding; `--one-hot` feeds them in as one-hot vectors.
    3. The text is cut into windows at different places in each epoch.
    4. The state is carried from window to window; `--independent-windows` starts each from zeros.
    5. `--layer-norm` normalizes the outputs of a recurrent layer, not the activations inside it.
"""

import argparse
import time

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command
from scriptorium.data import running_text, scenes
from scriptorium.data.batches import Batches, Streams, windows
from scriptorium.data.scenes import scores as scenes_scores
from scriptorium.data.vocabulary import EOS, PAD, START
from scriptorium.decoding import language_model
from scriptorium.decoding.language_model import LanguageModel
from scriptorium.decoding.settings import sampling_settings
from scriptorium.nn.compiled import JIT, build_by_calling, limit_ops_to_one_core
from scriptorium.nn.fast import Adam, Dropout, softmax_nll
from scriptorium.nn.recurrent import RNNS, CarriedState, ResetState, states_per_layer, with_weight_drop
from scriptorium.training import prepared
from scriptorium.training.finding import say_opened
from scriptorium.training.fit import (
    averaging,
    epochs_for_max_steps,
    fit_run,
    is_reporting_epoch,
    learning_rate_schedule,
    suit_batch_size,
)
from scriptorium.training.matching import check_text, text_may_be_missing
from scriptorium.training.opening import open_run
from scriptorium.training.options import EVAL, add_run_options, add_training_options

import keras
import numpy as np
from keras import layers, ops

from util import add_sampling_options, add_source_options, extra_layers

SCRIPT = "chars"
TEMPERATURES = (0.5, 0.8, 1.0)  # of the samples in a report
PROMPT = 40  # characters of the text that the samples continue


class CharRNN(keras.Model):
    """Recurrent layers over characters, a softmax over the next one, and the objective: nats per character.

    Args:
        vocab_size: number of characters.
        units, num_layers, rnn_type: of the recurrent layers.
        embedding_dim: width of the character embedding; None for one-hot vectors.
        tied: whether embedding and softmax share their weights.
        layer_norm: whether to normalize the outputs of each recurrent layer.
        dropout: rate on these outputs.
        weight_drop: share of the recurrent weights that are set to 0 in training.
        carried: `CarriedState` for consecutive windows; None for independent windows.
    """

    def __init__(
        self, vocab_size, units, num_layers=1, rnn_type="lstm", embedding_dim=128, tied=False, layer_norm=False,
        dropout=0.0, weight_drop=0.0, carried=None,
    ):  # fmt: skip
        super().__init__()
        self.vocab_size, self.units = vocab_size, units
        self.embedding = layers.Embedding(vocab_size, embedding_dim) if embedding_dim else None
        settings, recurrence = {"return_sequences": True, "return_state": True}, with_weight_drop(RNNS[rnn_type])
        self.recurrences = [recurrence(units, weight_drop, **settings) for _ in range(num_layers)]
        self.dropouts = [Dropout(dropout) for _ in range(num_layers)]
        self.norms = [layers.LayerNormalization() for _ in range(num_layers if layer_norm else 0)]
        self.states_per_layer, self.carried = states_per_layer(rnn_type), carried
        # A softmax tied to the embedding needs states as wide as the embedding.
        self.tied = tied
        self.project = layers.Dense(embedding_dim) if tied and embedding_dim != units else None
        self.means = {name: keras.metrics.Mean(name) for name in ("nats_per_char", "bits_per_char")}

    def build(self, *shapes):
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        if not self.tied:
            self.kernel = self.add_weight(shape=(self.units, self.vocab_size), name="kernel")

    @property
    def metrics(self):
        return list(self.means.values())

    def start(self, batch):
        """Returns the initial state: h and, for an LSTM, c of each layer, (batch, units) each."""
        return [ops.zeros((batch, self.units))] * self.states_per_layer * len(self.recurrences)

    def embed(self, ids):
        return self.embedding(ids) if self.embedding else ops.one_hot(ids, self.vocab_size, dtype=self.compute_dtype)

    def read(self, ids, states, training=False):
        """Reads characters (batch, time); returns features (batch, time, width) for the next ones, and new states."""
        x, after, size = self.embed(ids), [], self.states_per_layer
        for i, recurrence in enumerate(self.recurrences):
            state = states[i * size : (i + 1) * size]
            state = [ops.cast(array, x.dtype) for array in state]
            x, *state = recurrence(x, initial_state=state, training=training)
            x = self.norms[i](x) if self.norms else x
            x = self.dropouts[i](x, training=training)
            after += [ops.cast(array, "float32") for array in state]
        return self.project(x) if self.project else x, after

    def nll_of(self, features, targets):
        """Returns -log p of each target (batch, time) in nats, 0 at padding."""
        kernel = self.embedding.embeddings if self.tied else self.kernel
        return softmax_nll(features, kernel, self.bias, targets, mask=targets != PAD, transposed=self.tied)

    def logits_of(self, features):
        """Returns the logits (..., vocab_size) of the next character, float32, for features (..., width)."""
        kernel = ops.transpose(self.embedding.embeddings) if self.tied else self.kernel
        logits = ops.cast(ops.matmul(features, ops.cast(kernel, features.dtype)), "float32") + self.bias
        # Special tokens never occur in running text.
        return ops.where(ops.arange(self.vocab_size) <= EOS, -1e9, logits)

    def call(self, ids, training=False):
        if not self.carried:
            inputs = ops.concatenate([ops.full_like(ids[:, :1], START), ids[:, :-1]], axis=1)
            return self.nll_of(self.read(inputs, self.start(ops.shape(ids)[0]), training)[0], ids)
        features, states = self.read(ids[:, :-1], self.carried.read(training), training)
        self.carried.write(states)
        return self.nll_of(features, ids[:, 1:])

    def step(self, token, states):
        """Returns logits (batch, vocab_size) for the character after a token (batch,), and the new states."""
        x, after, size = self.embed(token), [], self.states_per_layer
        for i, recurrence in enumerate(self.recurrences):
            x, state = recurrence.step(x, states[i * size : (i + 1) * size])
            x = self.norms[i](x) if self.norms else x
            after += state
        logits = self.logits_of(self.project(x) if self.project else x)
        return logits, tuple(ops.cast(state, "float32") for state in after)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        counts = ops.cast((x[:, 1:] if self.carried else x) != PAD, "float32")
        self.means["nats_per_char"].update_state(y_pred, sample_weight=counts)
        self.means["bits_per_char"].update_state(y_pred / np.log(2), sample_weight=counts)
        return ops.sum(y_pred) / ops.maximum(ops.sum(counts), 1.0)


def build(options, vocabulary):
    """Builds the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    carried = None
    if not options["independent_windows"]:
        widths = [options["units"]] * states_per_layer(options["rnn_type"]) * options["num_layers"]
        carried = CarriedState(options["batch_size"], widths, options["reset_probability"], options["seed"] + 1)
    names = ("units", "num_layers", "rnn_type", "tied", "layer_norm", "dropout", "weight_drop")
    settings = {name: options[name] for name in names}
    settings["embedding_dim"] = None if options["one_hot"] else options["embedding_dim"]
    model = CharRNN(len(vocabulary), **settings, carried=carried)
    build_by_calling(model, np.full((options["batch_size"], 3), START, "int32"))
    if carried:
        carried.reset()
    return model


# Use ------------------------------------------------------------------------------------------------------------------


def open_language_model(run):
    """Returns the `LanguageModel` of a run; a prompt starts a new line, if the text has lines."""
    return LanguageModel(run, begin=run.vocabulary.index.get("\n", START))


def score_windows(model, ids, length, rows=64):
    """Scores running text in separate windows, as models without a state do: each begins in the state of zeros.

    Args:
        model: `CharRNN`.
        ids: integers (n,), n greater than `length`. What is left after the last whole window does not count.
        length: tokens that are predicted in each window, from the token before it on.
        rows: windows read at once.

    Returns:
        float, the mean nll in nats per token.
    """
    count = (len(ids) - 1) // length
    if not count:
        raise UserError(f"A window of {length:,} is longer than the text, which has {len(ids):,} tokens.")
    inputs, targets = (np.asarray(ids[i : i + count * length], "int32").reshape(count, length) for i in (0, 1))
    total = 0.0
    for start in range(0, count, rows):
        chosen = slice(start, start + rows)
        total += language_model.nll_of(model, inputs[chosen], targets[chosen]).sum(dtype="float64")
    return float(total / targets.size)


def evaluate(run, ids, window=0):
    """Scores a run on the ids of its test split; prints the scores, writes them to eval.json and returns them.

    Args:
        run: `Run` with its model.
        ids: integers (length,).
        window: characters of the windows that are also scored on their own, each from a state of zeros; 0 for none.
    """
    started = time.monotonic()
    run.console.phase("scores of the test split")
    nats = float(language_model.score(run.model, ids[:1000] if run.dry_run else ids))
    scores = {"nats_per_char": nats, "bits_per_char": nats / float(np.log(2)), "characters": len(ids)}
    if window:
        scores["nats_per_char_in_windows"] = score_windows(run.model, ids, window)
    if scenes.are_text_of(run.options):
        sentences = run.vocabulary.decode(ids).splitlines()
        samples = open_language_model(run).sample(20 if run.dry_run else 1000, length=200, temperature=1.0)
        samples = [sample.split("\n")[0] for sample in samples]
        scores |= scenes_scores.of_language_model(sentences, nats * len(ids) / len(sentences), samples)
    return run.save_scores(f"test split of {run.name}", scores, time.monotonic() - started)


class EpochReport(keras.callbacks.Callback):
    """After an epoch, continues a piece of the validation text at several temperatures."""

    def __init__(self, run, ids, last):
        super().__init__()
        self.run, self.ids, self.last = run, ids, last

    def on_epoch_end(self, epoch, logs=None):
        run, options = self.run, self.run.options
        if not is_reporting_epoch(epoch, options["output_every"], self.last):
            return
        start = np.random.default_rng((run.seed, epoch)).integers(max(1, len(self.ids) - PROMPT))
        prompt = run.vocabulary.decode(np.asarray(self.ids[start : start + PROMPT]))
        for temperature in sorted({*TEMPERATURES, options["temperature"]}):
            settings = sampling_settings(options) | {"temperature": temperature}
            text = open_language_model(run).complete(prompt, seed=epoch + 1, **settings)
            run.log_texts("sample", text.split("\n"), epoch + 1, **settings)


# Command line ---------------------------------------------------------------------------------------------------------


def add_data_options(parser):
    """Adds the group "data" for running text: task, data, limit, window, top_words and level."""
    add, count = parser.group("data"), {"type": bounded(int, 1), "metavar": "N"}
    add_source_options(add, "pydocs", "a text file, or a folder of .txt files")
    older = ["--max-length", "--max_length", "--sequence_length"]
    add("--window", **count, default=100, help="characters per window: how far gradients reach", older=older)
    add("-m", dest="window", **count, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    about = "keep the N most frequent characters"
    add("-w", "--top-words", **count, help=about, older=["--top_words"])
    about = "what a token is; byte: any file, text or not"
    add("--level", choices=("char", "byte"), default="char", help=about)


def load(run, args):
    """Reads the running text that a command line asks for, with the vocabulary of the run or a new one.

    Raises:
        UserError: the text is not that of the run, or cannot be used.
    """
    settings = {"limit": args.limit, "level": args.level, "size": args.top_words}

    def read():
        with text_may_be_missing(run):
            return running_text.read(args.task, args.data, vocabulary=run.vocabulary, **settings)

    text = prepared.running_text(args, run.vocabulary, read) if args.prepared is not None else read()
    check_text(run, text.name, text.fingerprint)
    return text


def batches(run, args, text):
    """Returns the batches for training and for validation."""
    text.description += suit_batch_size(run, args, len(text.train) // args.window)
    if args.independent_windows:
        train = Batches(windows(text.train, args.window), args.batch_size, run.seed)
        valid = Batches(windows(text.valid, args.window), args.batch_size, run.seed, shuffle=False)
    else:
        train = Streams(text.train, args.batch_size, args.window, run.seed)
        valid = Streams(text.valid, args.batch_size, args.window)
    epochs_for_max_steps(run, args, train)
    return train, valid


def parse_args(argv=None):
    size, share = bounded(int, 1), bounded(float, 0, 0.99)
    parser = Parser(SCRIPT, __doc__)
    add_data_options(parser)
    add, more = parser.group("model"), parser.group("model", rare=True)
    older = ["--embedding-size", "--embedding_size"]
    add("-E", "--embedding-dim", type=size, default=128, help="width of a character embedding", older=older)
    older = ["--lstm-hidden-size", "--num_units"]
    add("-L", "--units", type=size, default=512, help="width of a recurrent layer", older=older)
    add("--num-layers", type=size, default=1, help="recurrent layers")
    add("-x", "--extra-layers", dest="num_layers", type=extra_layers, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    more("-R", "--rnn-type", choices=tuple(RNNS), default="lstm", help="kind of recurrent layer")
    more("--one-hot", action="store_true", help="one-hot vectors instead of an embedding")
    more("--tied", action="store_true", help="embedding and softmax share their weights")
    more("--layer-norm", action="store_true", help="normalize the outputs of each recurrent layer")
    add("--dropout", type=share, default=0.1, help="dropout of the recurrent layers")
    about = "share of the recurrent weights set to 0 in training"
    more("--weight-drop", type=share, default=0.0, help=about)
    about = "independent windows in random order, without a carried state"
    more("--independent-windows", action="store_true", help=about, older=["--windows"])
    about = "probability that training resets a carried state before a window"
    carried = "a carried state; leave out --independent-windows", lambda args: not args.independent_windows
    more("--reset-probability", type=share, default=0.0, help=about, older=["--forget"], requires=carried)
    add_training_options(parser, epochs=10, batch_size=64, learning_rate=4e-3, averages=True)
    add_sampling_options(parser, temperature=0.8, num_samples=1, gen_length=300, beam=False)
    add_run_options(parser)
    more = parser.group("use", rare=True)
    about = "--eval: also score separate windows of N characters, each without what comes before it"
    more("--eval-window", type=bounded(int, 0), default=0, metavar="N", help=about, requires=EVAL)
    args = parser.parse(argv)
    if args.tied and args.one_hot:
        parser.error("--tied needs an embedding; leave out --one-hot")
    return args


def main(args):
    limit_ops_to_one_core()
    run = open_run(SCRIPT, args)
    if run.for_use:
        run.load_model(build)
        if args.sample is not None:
            say_opened(run)
            language_model.talk(open_language_model(run), args)
        else:
            evaluate(run, load(run, args).test, args.eval_window)
        return
    text = load(run, args)
    train, valid = batches(run, args, text)
    model = build(run.options, text.vocabulary)
    rate = learning_rate_schedule(args.learning_rate, args.decay, args.epochs * train.total)
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None, **averaging(args)), jit_compile=JIT)
    with run.start(model, text.vocabulary, text):
        callbacks = [ResetState(model.carried, train)] if model.carried else []
        callbacks.append(EpochReport(run, text.valid, args.epochs))
        fit_run(run, train, valid, args, "val_nats_per_char", callbacks)
        evaluate(run, text.test)


if __name__ == "__main__":
    command(main, parse_args)
