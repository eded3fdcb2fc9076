"""Word RNN: a recurrent language model that continues your text word by word and tells you how likely any text is.

Layers of LSTM (or GRU) read a sentence and predict the next word at each step (Mikolov et al. 2010; Zaremba et al.
2014; Merity et al. 2018). The score is

    perplexity = exp(total -log p of all words and sentence ends / their number)

By default, sentences are read one at a time, each from a state of zeros. `--stream` reads them as one running text and
carries the state from sentence to sentence, which is how the published tables are computed.

Shapes: ids (batch, time), words (batch, time, embedding_dim), hidden states (batch, units).

Try:
    python words.py                                             train on English prose, no download
    python words.py --eval                                      perplexity of the newest run on the test split
    python words.py --score my.txt                              nats of each line of a file
    echo "this function returns" | python words.py --sample     continue this text

Departures from the papers (details in docs/words.md):
    1. Adam, unless `--optimizer sgd` is given, and a learning rate that decays linearly to 0.
    2. Embedding and softmax share their weights (`--untied` keeps them apart).
    3. The running text is cut at different places in each epoch, into windows of one length.
    4. Dropout masks are drawn for each window, not for each sentence or epoch.
"""

import argparse
import time

from scriptorium.command_line import Parser, bounded, command
from scriptorium.data import scenes
from scriptorium.data.batches import Streams, encode_texts
from scriptorium.data.scenes import scores as scenes_scores
from scriptorium.data.textfiles import lines_of
from scriptorium.data.vectors import start_from_vectors
from scriptorium.data.vocabulary import EOS, PAD, START, UNK
from scriptorium.decoding import language_model
from scriptorium.decoding.language_model import LanguageModel
from scriptorium.decoding.settings import sampling_settings
from scriptorium.nn.compiled import JIT, build_by_calling, limit_ops_to_one_core
from scriptorium.nn.fast import SGD, Adam, softmax_nll
from scriptorium.nn.recurrent import RNNS, CarriedState, ResetState, states_per_layer, with_weight_drop
from scriptorium.scores import metrics
from scriptorium.training.finding import say_opened
from scriptorium.training.fit import (
    averaging,
    epochs_for_max_steps,
    fit_run,
    is_reporting_epoch,
    learning_rate_schedule,
)
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options, set_unless_given

import keras
import numpy as np
from keras import layers, ops

import util
from util import add_data_options, add_sampling_options, extra_layers, load

SCRIPT = "words"
OPTIMIZERS = {"adam": Adam, "sgd": SGD}
SGD_DEFAULTS = {"learning_rate": 20.0, "clip_norm": 0.25}
TEMPERATURES = (0.0, 0.9, 1.0, 1.1, 1.2)  # of the samples in a report


class WordRNN(keras.Model):
    """Recurrent layers over words, a softmax over the next one, and the objective: nats per token.

    Args:
        vocab_size: number of words.
        units: list of int, the width of each recurrent layer.
        embedding_dim: width of the word embedding.
        rnn_type: "lstm" or "gru".
        tied: whether embedding and softmax share their weights; the last layer is then as wide as the embedding.
        dropouts: list of float: rate on the embedded words, then on the outputs of each recurrent layer.
        word_dropout: share of the vocabulary that is left out of a batch's inputs.
        weight_drop: share of the recurrent weights that are set to 0.
        carried: `CarriedState` for running text; None for separate sentences.
        seed: int, for word dropout.
    """

    def __init__(
        self, vocab_size, units, embedding_dim, rnn_type="lstm", tied=True, dropouts=(0.0, 0.0), word_dropout=0.0,
        weight_drop=0.0, carried=None, seed=1,
    ):  # fmt: skip
        super().__init__()
        self.vocab_size, self.widths, self.tied, self.carried = vocab_size, list(units), tied, carried
        self.word_dropout = word_dropout
        small = keras.initializers.RandomUniform(-0.1, 0.1)
        self.embedding = layers.Embedding(vocab_size, embedding_dim, embeddings_initializer=small)
        recurrence = with_weight_drop(RNNS[rnn_type])
        self.recurrences = [recurrence(width, weight_drop, return_sequences=True, return_state=True) for width in units]
        # Variational: one mask for all time steps (Gal and Ghahramani 2016).
        self.dropouts = [layers.Dropout(rate, noise_shape=(None, 1, None)) for rate in dropouts]
        self.seed = keras.random.SeedGenerator(seed)
        self.states_per_layer = states_per_layer(rnn_type)
        self.nll_per_sentence, self.perplexity = keras.metrics.Mean("nll"), metrics.Perplexity()

    def build(self, *shapes):
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        if not self.tied:
            self.kernel = self.add_weight(shape=(self.widths[-1], self.vocab_size), name="kernel")

    @property
    def metrics(self):
        return [*([] if self.carried else [self.nll_per_sentence]), self.perplexity]

    def start(self, batch):
        """Returns the initial state: h and, for an LSTM, c of each layer, (batch, units) each."""
        return [ops.zeros((batch, width)) for width in self.widths for _ in range(self.states_per_layer)]

    def embed(self, ids, training):
        x, rate = self.embedding(ids), self.word_dropout
        if training and rate:
            # Drop entire words of the vocabulary, wherever they occur in the batch.
            kept = keras.random.uniform((self.vocab_size,), seed=self.seed) >= rate
            x = x * ops.cast(ops.take(kept, ids), x.dtype)[..., None] / (1 - rate)
        return self.dropouts[0](x, training=training)

    def read(self, ids, states, training=False):
        """Reads words (batch, time); returns features (batch, time, width) for the next ones, and the new states."""
        x, after, n = self.embed(ids, training), [], self.states_per_layer
        for i, recurrence in enumerate(self.recurrences):
            state = [ops.cast(array, x.dtype) for array in states[i * n : (i + 1) * n]]
            x, *state = recurrence(x, initial_state=state, training=training)
            x = self.dropouts[1 + i](x, training=training)
            after += [ops.cast(array, "float32") for array in state]
        return x, after

    def nll_of(self, features, targets):
        """Returns -log p of each target (batch, time) in nats, 0 at padding."""
        kernel = self.embedding.embeddings if self.tied else self.kernel
        return softmax_nll(features, kernel, self.bias, targets, mask=targets != PAD, transposed=self.tied)

    def logits_of(self, features):
        """Returns the logits (..., vocab_size) of the next word, float32, for features (..., width)."""
        kernel = ops.transpose(self.embedding.embeddings) if self.tied else self.kernel
        return ops.cast(ops.matmul(features, ops.cast(kernel, features.dtype)), "float32") + self.bias

    def step(self, token, states):
        """Returns logits (batch, vocab_size) for the word after a token (batch,), and the new states."""
        x, after, n = self.embedding(token), [], self.states_per_layer
        for i, recurrence in enumerate(self.recurrences):
            x, state = recurrence.step(x, states[i * n : (i + 1) * n])
            after += state
        return self.logits_of(x), tuple(ops.cast(state, "float32") for state in after)

    def call(self, ids, training=False):
        if self.carried:
            inputs, targets, states = ids[:, :-1], ids[:, 1:], self.carried.read(training)
        else:
            inputs = ops.concatenate([ops.full_like(ids[:, :1], START), ids[:, :-1]], axis=1)
            targets, states = ids, self.start(ops.shape(ids)[0])
        features, states = self.read(inputs, states, training)
        if self.carried:
            self.carried.write(states)
        return {"nll": self.nll_of(features, targets), "mask": targets != PAD}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        nll, mask = y_pred["nll"], ops.cast(y_pred["mask"], "float32")
        self.perplexity.update_state(nll, mask)
        if not self.carried:
            self.nll_per_sentence.update_state(ops.sum(nll, axis=-1))
        return ops.sum(nll) / ops.maximum(ops.sum(mask), 1.0)


def build(options, vocabulary):
    """Builds the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    inner, tied, carried = options["num_layers"] - 1, not options["untied"], None
    units = [options["units"]] * inner + [options["embedding_dim"] if tied else options["units"]]
    if options["stream"]:
        widths = np.repeat(units, states_per_layer(options["rnn_type"])).tolist()
        carried = CarriedState(options["batch_size"], widths, options["reset_probability"], options["seed"] + 1)
    names = ("embedding_dim", "rnn_type", "word_dropout", "weight_drop", "seed")
    settings = {name: options[name] for name in names} | {"tied": tied, "carried": carried}
    dropouts = [options["input_dropout"], *[options["hidden_dropout"]] * inner, options["dropout"]]
    model = WordRNN(len(vocabulary), units, dropouts=dropouts, **settings)
    build_by_calling(model, np.full((options["batch_size"], 3), UNK, "int32"))
    if carried:
        carried.reset()
    return model


# Use ------------------------------------------------------------------------------------------------------------------


def open_language_model(run):
    """Returns the `LanguageModel` of a run; in running text a sentence follows the end of the one before."""
    stream = run.options["stream"]
    return LanguageModel(run, begin=EOS if stream else START, ends=not stream)


def nll_of_each(run, sequences):
    """Returns -log p of each of `Sequences` separately, including `<eos>`: float64 (n,), nats."""
    nll, begin = np.zeros(len(sequences)), open_language_model(run).begin
    for rows in np.split(np.argsort(sequences.lengths, kind="stable"), range(64, len(sequences), 64)):
        targets = sequences.padded(rows)
        inputs = np.concatenate([np.full_like(targets[:, :1], begin), targets[:, :-1]], axis=1)
        nll[rows] = language_model.nll_of(run.model, inputs, targets).sum(-1)
    return nll


def score_lines(run, path):
    """Prints the nats and the tokens of each line of a file; an empty line counts its end alone."""
    lines = lines_of(path, empty=True)
    sequences = encode_texts(lines, run.vocabulary, prompt=True)
    for line, nats, tokens in zip(lines, nll_of_each(run, sequences), sequences.lengths, strict=True):
        print(f"{nats:.3f}\t{tokens}\t{line}")


def evaluate(run, test, args):
    """Scores a run on its test split; prints the scores, writes them to eval.json and returns them."""
    started, model, stream = time.monotonic(), run.model, run.options["stream"]
    test = test.first(2 * run.options["batch_size"]) if run.dry_run else test
    ids = test.ids[: test.starts[-1]]
    run.console.phase("scores of the test split")
    total = language_model.score(model, ids) * len(ids) if stream else nll_of_each(run, test).sum()
    scores = {"nll": float(total / len(test)), "perplexity": float(np.exp(total / len(ids)))}
    if stream and args.cache:
        run.console.phase("the perplexity with a cache")
        nats = language_model.score_with_cache(model, ids, args.cache, args.cache_share, args.cache_sharpness)
        scores["perplexity_with_cache"] = float(np.exp(nats))
    if scenes.are_text_of(run.options):
        sentences = [run.vocabulary.decode(test[i]) for i in range(len(test))]
        samples = open_language_model(run).sample(20 if run.dry_run else 1000, temperature=1.0)
        scores |= scenes_scores.of_language_model(sentences, scores["nll"], samples)
    scores |= {"texts": len(test), "tokens": len(ids)}
    return run.save_scores(f"test split of {run.name}", scores, time.monotonic() - started)


class EpochReport(keras.callbacks.Callback):
    """After an epoch, samples sentences at several temperatures."""

    def __init__(self, run, last):
        super().__init__()
        self.run, self.last = run, last

    def on_epoch_end(self, epoch, logs=None):
        run, options = self.run, self.run.options
        if not is_reporting_epoch(epoch, options["output_every"], self.last):
            return
        for temperature in sorted({*TEMPERATURES, options["temperature"]}):
            settings = sampling_settings(options) | {"temperature": temperature}
            count = 1 if temperature == 0 else options["num_samples"]
            texts = open_language_model(run).sample(count, seed=epoch + 1, **settings)
            run.log_texts("samples", texts, epoch + 1, **settings)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    size, weight, share = bounded(int, 1), bounded(float, 0), bounded(float, 0, 0.99)
    parser = Parser(SCRIPT, __doc__)
    add_data_options(parser, task="pydocs", max_length=None, top_words=10_000)
    add, more = parser.group("model"), parser.group("model", rare=True)
    older = ["--embedding-size", "--embedding_size"]
    add("-E", "--embedding-dim", type=size, default=400, help="width of a word embedding", older=older)
    older = ["--lstm-hidden-size", "--num_units"]
    add("-L", "--units", type=size, default=400, help="width of a recurrent layer", older=older)
    add("--num-layers", type=size, default=1, help="recurrent layers")
    add("-x", "--extra-layers", dest="num_layers", type=extra_layers, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    more("-R", "--rnn-type", choices=tuple(RNNS), default="lstm", help="kind of recurrent layer")
    more("--untied", action="store_true", help="separate weights for word embedding and softmax")
    more("--embeddings", metavar="FILE", help="start from word vectors: text (word v1 v2 ...) or .npy in id order")
    about = "read running text, and carry the state between sentences"
    add("--stream", action="store_true", help=about)
    about, stream = "words per training window of the running text", ("--stream", lambda args: args.stream)
    more("--window", type=size, default=35, metavar="N", help=about, requires=stream)
    add, more = parser.group("objective"), parser.group("objective", rare=True)
    add("--dropout", type=share, default=0.5, help="dropout before the softmax")
    add("--hidden-dropout", type=share, default=0.3, help="dropout of the other layers")
    add("--input-dropout", type=share, default=0.4, help="dropout of the embedded words")
    about = "share of the vocabulary hidden from a batch"
    add("-d", "--word-dropout", type=share, default=0.05, help=about)
    more("--weight-drop", type=share, default=0.0, help="share of the recurrent weights set to 0")
    about = "--stream: probability that training resets a carried state before a window"
    more("--reset-probability", type=share, default=0.02, help=about, older=["--forget"], requires=stream)
    add_training_options(parser, epochs=10, batch_size=32, learning_rate=2e-3, averages=True)
    about, details = "adam, or sgd: plain gradient descent", "sgd has other defaults: -l 20 --clip-norm 0.25"
    parser.group("training")("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help=about, details=details)
    add_sampling_options(parser, temperature=0.9, num_samples=3, gen_length=60, beam=False)
    add_run_options(parser)
    add, more = parser.group("use"), parser.group("use", rare=True)
    about, details = "print nats and tokens of each line of a file", "With the run of --eval, or the newest"
    add("--score", metavar="FILE", help=about, details=details)
    about = "--eval: also score with a cache of the last N words"
    add("--cache", type=bounded(int, 0), default=0, metavar="N", help=about, requires=stream)
    cache = "--cache", lambda args: args.cache
    more("--cache-share", type=share, default=0.1, help="weight of the cache", requires=cache)
    about = "how much similarity counts in the cache"
    more("--cache-sharpness", type=weight, default=0.3, help=about, requires=cache)
    args = parser.parse(argv)
    if args.optimizer == "sgd":
        set_unless_given(args, SGD_DEFAULTS)
    if args.score is not None:
        if args.resume is not None or args.sample is not None:
            parser.error("--score uses the run of --eval, or the newest; leave out --resume and --sample")
        args.eval = args.eval or ""
    return args


def batches(run, args, splits):
    """Returns the batches for training and for validation: windows of running text, or sentences."""
    if not args.stream:
        return util.batches(run, args, splits)
    train = Streams(splits["train"].ids, args.batch_size, args.window, run.seed)
    epochs_for_max_steps(run, args, train)
    return train, Streams(splits["valid"].ids, args.batch_size, args.window)


def use(run, args):
    """Samples from a trained run, scores the lines of a file, or scores the run."""
    if args.sample is not None:
        say_opened(run)
        language_model.talk(open_language_model(run), args)
    elif args.score is not None:
        score_lines(run, args.score)
    else:
        evaluate(run, load(run, args)[2]["test"], args)


def main(args):
    limit_ops_to_one_core()
    run = open_run(SCRIPT, args)
    if run.for_use:
        use(run.load_model(build), args)
        return
    corpus, vocabulary, splits = load(run, args)
    train, valid = batches(run, args, splits)
    model = build(run.options, vocabulary)
    if args.embeddings is not None and run.begins:
        corpus.description += start_from_vectors(args.embeddings, vocabulary, model.embedding.embeddings)
    rate = learning_rate_schedule(args.learning_rate, args.decay, args.epochs * train.total)
    settings = {"global_clipnorm": args.clip_norm or None} | averaging(args)
    model.compile(OPTIMIZERS[args.optimizer](rate, **settings), jit_compile=JIT)
    with run.start(model, vocabulary, corpus):
        callbacks = [ResetState(model.carried, train)] if model.carried else []
        callbacks.append(EpochReport(run, args.epochs))
        fit_run(run, train, valid, args, "val_perplexity", callbacks)
        evaluate(run, splits["test"], args)


if __name__ == "__main__":
    command(main, parse_args)
