"""The smallest script that trains: a model of random words with every kind of random state; for tests."""

import types

from scriptorium.command_line import Parser, command
from scriptorium.data.batches import Batches, encode_texts
from scriptorium.data.vocabulary import PAD, START, Vocabulary
from scriptorium.scores import metrics
from scriptorium.training.fit import fit
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options

import keras
import numpy as np
from keras import layers, ops


class Noise(layers.Layer):
    """Adds noise, in validation too; its seed generator is in a list."""

    def __init__(self):
        super().__init__()
        self.seeds = [keras.random.SeedGenerator(3)]

    def call(self, x):
        return x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seeds[0], dtype=x.dtype)


class Tiny(keras.Model):
    """Predicts each word from the one before."""

    def __init__(self, vocab_size, units):
        super().__init__()
        self.embedding, self.noise = layers.Embedding(vocab_size, units), Noise()
        self.dropout, self.logits = layers.Dropout(0.3), layers.Dense(vocab_size, dtype="float32")
        self.seed = keras.random.SeedGenerator(7)
        self.kl_weight = self.add_weight(shape=(), initializer="zeros", trainable=False, name="kl_weight")
        self.neg_elbo, self.perplexity = keras.metrics.Mean("neg_elbo"), metrics.Perplexity()
        self(np.ones((1, 2), "int32"))

    def kl_weight_now(self):
        return self.kl_weight.value

    def call(self, ids, training=False):
        x = self.noise(self.embedding(ops.pad(ids[:, :-1], ((0, 0), (1, 0)), constant_values=START)))
        return self.logits(self.dropout(x, training=training))

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        mask = ops.cast(x != PAD, "float32")
        nll = ops.sum(keras.losses.sparse_categorical_crossentropy(x, y_pred, from_logits=True) * mask, axis=-1)
        self.neg_elbo.update_state(nll)
        self.perplexity.update_state(nll, ops.sum(mask, axis=-1))
        if training:
            self.kl_weight.assign_add(0.01 * keras.random.uniform((), seed=self.seed))
        return ops.mean(nll)


def corpus(texts=70, seed=0):
    random = np.random.default_rng(seed)
    lines = [" ".join(f"w{i}" for i in random.integers(0, 30, random.integers(1, 12))) for _ in range(texts)]
    return types.SimpleNamespace(
        name="toy", fingerprint=f"{texts}-{seed}", description=f"toy: {texts} lines", lines=lines
    )


def parse_args(argv=None):
    parser = Parser("tiny.py", __doc__)
    parser.group("model")("-L", "--units", type=int, default=8)
    add_training_options(parser, epochs=3, batch_size=4, learning_rate=0.01)
    add_run_options(parser)
    return parser.parse(argv)


def arguments(logdir, *argv):
    return parse_args(["-T", str(logdir), "--dtype", "float32", *argv])


def batches(run, args, vocabulary, text):
    train = Batches(encode_texts(text.lines, vocabulary), args.batch_size, seed=args.seed)
    valid = Batches(encode_texts(text.lines[:20], vocabulary), 8, shuffle=False)
    return train, valid


def start(args, text=None):
    """Returns a started run and its batches."""
    run, text = open_run("tiny.py", args), text or corpus()
    vocabulary = run.vocabulary or Vocabulary.build(text.lines, "space")
    model = Tiny(len(vocabulary), args.units)
    model.compile(keras.optimizers.Adam(args.learning_rate), jit_compile=keras.backend.backend() == "jax")
    run.start(model, vocabulary, text)
    return run, *batches(run, args, vocabulary, text)


def main(args, callbacks=()):
    run, train, valid = start(args)
    history = fit(
        run, run.model, train, valid,
        epochs=args.epochs, callbacks=callbacks, max_steps=args.max_steps, save_minutes=args.save_minutes,
    )  # fmt: skip
    run.close()
    return run, history


if __name__ == "__main__":
    command(main, parse_args)
