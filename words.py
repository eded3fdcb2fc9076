"""Word RNN: a recurrent language model of words (Mikolov et al. 2010; Zaremba et al. 2014; Merity et al. 2018).

Layers of LSTM (or GRU) read words and give, at each, the distribution of the next one. Its score is

    perplexity = exp(total -log p of the words and sentence ends / their number)

Sentences are read one by one, each from a state of zeros; `--stream` reads them as one running text, the state carried
from sentence to sentence, which is how the published tables count.

Shapes: ids (batch, time), words (batch, time, embedding_dim), hidden states (batch, units).

Try:
    python words.py                                 trains on English prose that needs no download
    python words.py --score my.txt                  nats of each line of a file under the newest run
    echo "this function returns" | python words.py --sample

Departures from the papers:
    1. Adam, with a learning rate that falls to 0, in place of SGD and its averaged form.
    2. Embedding and softmax share their weights (`--untied` keeps them apart).
    3. The running text is cut at other places in each epoch; windows have one length.
    4. Dropped weights and outputs are drawn anew for each window, not for each sentence.
"""

import argparse
import contextlib
import time

from scriptorium.command_line import bounded, command, parse
from scriptorium.data import textfiles
from scriptorium.data.batches import Batches, Sequences, Streams, encode_texts
from scriptorium.data.vectors import start_from_vectors
from scriptorium.data.vocabulary import EOS, PAD, START, UNK
from scriptorium.decoding import language_model
from scriptorium.nn.compiled import JIT, one_core_an_operation
from scriptorium.nn.fast import Adam, softmax_nll
from scriptorium.nn.recurrent import GRU, LSTM, CarriedState, ResetState
from scriptorium.scores import metrics
from scriptorium.training.fit import due, falling, fit, settle_epochs
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, load

SCRIPT = "words"
TEMPERATURES = (0.0, 0.9, 1.0, 1.1, 1.2)  # of the samples that are shown


def dropping(kind):
    """Returns LSTM or GRU with weight drop: recurrent weights are 0 at random in training (Merity et al. 2018)."""

    class Dropping(kind):
        def __init__(self, units, weight_drop, **arguments):
            super().__init__(units, **arguments)
            self.dropped = layers.Dropout(weight_drop, dtype="float32")

        def inner_loop(self, sequences, initial_state, mask, training=False):
            if not (training and self.dropped.rate):
                return super().inner_loop(sequences, initial_state, mask, training)
            cell = self.cell
            kernel = cell.recurrent_kernel
            # Past Keras's tracking of attributes: for this call the cell has the thinned weights.
            thinned = ops.cast(self.dropped(ops.convert_to_tensor(kernel), training=True), self.compute_dtype)
            object.__setattr__(cell, "recurrent_kernel", thinned)
            try:
                return super().inner_loop(sequences, initial_state, mask, training)
            finally:
                object.__setattr__(cell, "recurrent_kernel", kernel)

    return Dropping


class WordRNN(keras.Model):
    """Recurrences over words, a softmax over the next one, and their objective: nats a token and its regularisers."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options, self.vocab_size = options, vocab_size
        count, width = 1 + options["extra_layers"], options["embedding_dim"]
        self.tied = not options["untied"]
        self.embedding = layers.Embedding(
            vocab_size, width, embeddings_initializer=keras.initializers.RandomUniform(-0.1, 0.1)
        )
        kind = dropping({"lstm": LSTM, "gru": GRU}[options["rnn_type"]])
        # The last layer is as wide as the softmax's weights.
        self.widths = [options["units"]] * (count - 1) + [width if self.tied else options["units"]]
        self.recurrences = [
            kind(units, options["weight_drop"], return_sequences=True, return_state=True) for units in self.widths
        ]
        # Variational: what is dropped is dropped at all times (Gal and Ghahramani 2016).
        rates = [options["input_dropout"], *[options["hidden_dropout"]] * (count - 1), options["dropout"]]
        self.dropouts = [layers.Dropout(rate, noise_shape=(None, 1, None)) for rate in rates]
        self.seed = keras.random.SeedGenerator(options["seed"])
        self.per_layer = {"lstm": 2, "gru": 1}[options["rnn_type"]]
        self.carried = None
        if options["stream"]:
            widths = np.repeat(self.widths, self.per_layer).tolist()
            self.carried = CarriedState(options["batch_size"], widths, options["forget"], options["seed"] + 1)
        self.nll_a_sentence, self.perplexity = keras.metrics.Mean("nll"), metrics.Perplexity()

    def build(self, *shapes):
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        if not self.tied:
            self.kernel = self.add_weight(shape=(self.widths[-1], self.vocab_size), name="kernel")

    @property
    def metrics(self):
        return [*([] if self.carried else [self.nll_a_sentence]), self.perplexity]

    def zeros(self, batch):
        """Returns the state before any text: h and, for an LSTM, c of each layer, (batch, units) each."""
        return [ops.zeros((batch, units)) for units in np.repeat(self.widths, self.per_layer).tolist()]

    def enter(self, ids, training):
        x = self.embedding(ids)
        rate = self.options["word_dropout"]
        if training and rate:
            # Whole words of the vocabulary, wherever in the batch they stand.
            kept = keras.random.uniform((self.vocab_size,), seed=self.seed) >= rate
            x = x * ops.cast(ops.take(kept, ids), x.dtype)[..., None] / (1 - rate)
        return self.dropouts[0](x, training=training)

    def read(self, ids, states, training=False):
        """Reads words (batch, time): features (batch, time, width) of what comes next, and the states after."""
        features, states, _ = self.hidden(ids, states, training)
        return features, states

    def hidden(self, ids, states, training):
        """As `read`, with the last layer's outputs before dropout besides."""
        x, after, n = self.enter(ids, training), [], self.per_layer
        for i, recurrence in enumerate(self.recurrences):
            own = [ops.cast(state, x.dtype) for state in states[i * n : (i + 1) * n]]
            output, *own = recurrence(x, initial_state=own, training=training)
            x = self.dropouts[1 + i](output, training=training)
            after += [ops.cast(state, "float32") for state in own]
        return x, after, output

    def nll_of(self, features, targets):
        """Returns -log p of each target (batch, time) in nats, 0 at padding."""
        kernel = self.embedding.embeddings if self.tied else self.kernel
        return softmax_nll(features, kernel, self.bias, targets, mask=targets != PAD, transposed=self.tied)

    def next(self, token, states):
        """Returns logits (batch, vocab_size) of what comes after a word (batch,), and the states after it."""
        x, after, n = self.embedding(token), [], self.per_layer
        for i, recurrence in enumerate(self.recurrences):
            x, own = recurrence.step(x, states[i * n : (i + 1) * n])
            after += own
        kernel = ops.transpose(self.embedding.embeddings) if self.tied else self.kernel
        logits = ops.cast(ops.matmul(x, ops.cast(kernel, x.dtype)), "float32") + self.bias
        return logits, tuple(ops.cast(state, "float32") for state in after)

    def call(self, ids, training=False):
        if self.carried:
            inputs, targets, states = ids[:, :-1], ids[:, 1:], self.carried.read(training)
        else:
            inputs = ops.concatenate([ops.full_like(ids[:, :1], START), ids[:, :-1]], axis=1)
            targets, states = ids, self.zeros(ops.shape(ids)[0])
        features, states, output = self.hidden(inputs, states, training)
        if self.carried:
            self.carried.write(states)
        return {"nll": self.nll_of(features, targets), "mask": targets != PAD, "kept": features, "output": output}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        nll, mask = y_pred["nll"], ops.cast(y_pred["mask"], "float32")
        tokens = ops.maximum(ops.sum(mask), 1.0)
        loss = ops.sum(nll) / tokens
        self.perplexity.update_state(nll, mask)
        if not self.carried:
            self.nll_a_sentence.update_state(ops.sum(nll, axis=-1))
        if training and self.options["activation_reg"]:
            # Large outputs, and outputs that change from word to word (Merity et al. 2017).
            kept, output = (ops.cast(y_pred[name], "float32") for name in ("kept", "output"))
            change = (output[:, 1:] - output[:, :-1]) * mask[:, 1:, None]
            size = ops.sum(mask[..., None] * kept**2) + ops.sum(change**2) / 2
            loss = loss + self.options["activation_reg"] * size / (tokens * self.widths[-1])
        return loss


def build(options, vocabulary):
    """Makes the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    model = WordRNN(options, len(vocabulary))
    model(np.full((options["batch_size"], 3), UNK, "int32"))
    if model.carried:
        model.carried.reset()
    return model


# Use -----------------------------------------------------------------------------------------------------------------


def likelihoods(run, sequences):
    """Returns -log p of each of `util.Sequences`, `<eos>` counted: float64 (n,), nats, each on its own."""
    nll = np.zeros(len(sequences))
    for rows in np.split(np.argsort(sequences.lengths, kind="stable"), range(64, len(sequences), 64)):
        targets = sequences.padded(rows)
        inputs = np.concatenate([np.full_like(targets[:, :1], line_begin(run)), targets[:, :-1]], axis=1)
        nll[rows] = language_model.nll_of(run.model, inputs, targets).sum(-1)
    return nll


def line_begin(run):
    """Returns the id before a sentence: in running text, the end of the one before."""
    return EOS if run.options["stream"] else START


def write(run, n, *, prompt="", seed=1, length=None, **settings):
    """Returns n sentences that begin with a prompt, list of str; settings as for `writing.Writer`."""
    writer = language_model.Writer(run.model, chunk=length or run.options["gen_length"], **settings)
    before = language_model.prompt_of(prompt, run.vocabulary, line_begin(run))
    ids, _ = writer.go_on(writer.start([before] * n, seed))
    return [run.vocabulary.decode([*before[1:], *row]) for row in ids]


def finish(run, test, args):
    """Scores a run on its test split, prints the scores and writes them to eval.json; returns them."""
    started, model, options = time.monotonic(), run.model, run.options
    if run.dry_run:
        test = Sequences(test.ids, test.starts[: 2 * options["batch_size"] + 1])
    ids = test.ids[: test.starts[-1]]
    total = language_model.score(model, ids) * len(ids) if options["stream"] else likelihoods(run, test).sum()
    scores = {"nll": float(total / len(test)), "perplexity": float(np.exp(total / len(ids)))}
    if options["stream"] and args.cache:
        nats = language_model.score_with_cache(model, ids, args.cache, args.cache_share, args.cache_sharpness)
        scores["perplexity_with_cache"] = float(np.exp(nats))
    scores |= {"sentences": len(test), "tokens": len(ids)}
    run.console.say(f"test split of {run.name}", *(f"{name:>22}  {value:,.6g}" for name, value in scores.items()))
    if not run.dry_run:
        run.write_json("eval.json", scores | {"split": "test", "seconds": round(time.monotonic() - started, 1)})
    return scores


class Averaged(keras.callbacks.Callback):
    """From validation to the end of an epoch the model has the optimizer's averaged weights, and is saved with them."""

    def __init__(self):
        super().__init__()
        self.swapped = False

    def swap(self):
        averages = self.model.optimizer._model_variables_moving_average
        for variable, average in zip(self.model.trainable_variables, averages, strict=True):
            value = ops.convert_to_numpy(variable)
            variable.assign(average)
            average.assign(value)
        self.swapped = not self.swapped

    def on_test_begin(self, logs=None):
        if not self.swapped:
            self.swap()

    def on_epoch_end(self, epoch, logs=None):
        if self.swapped:
            self.swap()


class Show(keras.callbacks.Callback):
    """After an epoch: sentences at several temperatures."""

    def __init__(self, run, last):
        super().__init__()
        self.run, self.last = run, last

    def on_epoch_end(self, epoch, logs=None):
        run, options = self.run, self.run.options
        if not due(epoch, options["output_every"], self.last):
            return
        for temperature in sorted({*TEMPERATURES, options["temperature"]}):
            settings = {"temperature": temperature, "top_k": options["top_k"], "top_p": options["top_p"]}
            count = 1 if temperature == 0 else options["num_samples"]
            run.shown("samples", write(run, count, seed=epoch + 1, **settings), epoch + 1, **settings)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    size, weight, share = bounded(int, 1), bounded(float, 0), bounded(float, 0, 0.99)
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_data_options(parser, task="pydocs", max_length=None, top_words=10_000)
    add = parser.add_argument_group("model").add_argument
    add("-E", "--embedding-dim", "--embedding-size", "--embedding_size", type=size, default=400, help="width of a word")
    add("-L", "--units", "--lstm-hidden-size", "--num_units", type=size, default=400, help="width of a recurrence")
    add("-x", "--extra-layers", type=bounded(int, 0), default=0, help="recurrences besides the first")
    add("-R", "--rnn-type", choices=("lstm", "gru"), default="lstm", help="kind of recurrence")
    add("--untied", action="store_true", help="weights of the softmax apart from the word embedding")
    add("--embeddings", metavar="FILE", help="start from word vectors: text (word v1 v2 ...) or .npy in id order")
    add("--stream", action="store_true", help="one running text, the state carried on, instead of single sentences")
    add("--window", type=size, default=35, metavar="N", help="words of a window of the running text")
    add = parser.add_argument_group("objective").add_argument
    add("--dropout", type=share, default=0.5, help="of the outputs before the softmax")
    add("--hidden-dropout", type=share, default=0.3, help="of the outputs of the other recurrences")
    add("--input-dropout", type=share, default=0.4, help="of the embedded words")
    add("-d", "--word-dropout", type=share, default=0.05, help="share of the vocabulary left out of a batch's inputs")
    add("--weight-drop", type=share, default=0.0, help="share of the recurrent weights set to 0")
    add("--forget", type=share, default=0.02, help="chance that --stream empties a carried state before a window")
    add("--activation-reg", type=weight, default=0.0, help="weight of the size of the outputs and of their changes")
    add(
        "--average",
        type=bounded(float, 0, 0.99999),
        default=0.0,
        metavar="MOMENTUM",
        help="score with averaged weights, such as 0.999",
    )
    add_training_options(parser, epochs=10, batch_size=32, learning_rate=2e-3)
    add_sampling_options(parser, temperature=0.9, num_samples=3, gen_length=60, beam=False)
    add_run_options(parser)
    add = parser.add_argument_group("use").add_argument
    add(
        "--score",
        metavar="FILE",
        help="print nats and tokens of each line of a file, by the run of --eval or the newest",
    )
    add("--cache", type=bounded(int, 0), default=0, metavar="N", help="--eval with a cache of the last N words too")
    add("--cache-share", type=share, default=0.1, help="weight of the cache")
    add("--cache-sharpness", type=weight, default=0.3, help="how much likeness counts in it")
    args = parse(parser, SCRIPT, argv)
    if args.score is not None:
        if args.resume is not None or args.sample is not None:
            parser.error("--score takes a run from --eval, or the newest")
        args.eval = args.eval or ""
    return args


def main(args):
    one_core_an_operation()
    run = open_run(SCRIPT, args)
    if not run.is_new and args.resume is None:
        run.model = build(run.options, run.vocabulary)
        run.load_best(run.model)
        if args.sample is not None:
            language_model.talk(run, args, line_begin(run), ends=not run.options["stream"])
        elif args.score is not None:
            lines = textfiles.lines_of(args.score)
            sequences = encode_texts(lines, run.vocabulary, prompt=True)
            for line, nats, tokens in zip(lines, likelihoods(run, sequences), sequences.lengths, strict=True):
                print(f"{nats:.3f}\t{tokens}\t{line}")
        else:
            finish(run, load(run, args)[2]["test"], args)
        return
    corpus, vocabulary, splits = load(run, args)
    if args.stream:
        train = Streams(splits["train"].ids, args.batch_size, args.window, run.seed)
        valid = Streams(splits["valid"].ids, args.batch_size, args.window)
    else:
        train = Batches(splits["train"], args.batch_size, run.seed)
        valid = Batches(splits["valid"], args.batch_size, shuffle=False)
    settle_epochs(run, args, train)
    model = build(run.options, vocabulary)
    if args.embeddings and run.is_new:
        corpus.description += start_from_vectors(args.embeddings, vocabulary, model.embedding.embeddings)
    rate = falling(args.learning_rate, args.decay, args.epochs * train.total)
    averaged = {"use_ema": True, "ema_momentum": args.average} if args.average else {}
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None, **averaged), jit_compile=JIT)
    run.start(model, vocabulary, corpus)
    callbacks = [ResetState(model.carried, train)] if model.carried else []
    # Averaged comes last, so that the samples are of the averaged weights.
    callbacks += [Show(run, args.epochs), *([Averaged()] if args.average else [])]
    limits = {"epochs": args.epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
    with contextlib.closing(run):
        fit(run, model, train, valid, monitor="val_perplexity", callbacks=callbacks, **limits)
        run.load_best(model)
        run.hparams(run.options, finish(run, splits["test"], args))


if __name__ == "__main__":
    command(main, parse_args)
