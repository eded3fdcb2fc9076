"""A small LSTM language model that judges texts, in addition to the count models: it also uses distant context."""

import keras
import numpy as np
from keras import layers, ops

WIDTH, BATCH, EPOCHS, PATIENCE = 256, 64, 30, 2
LONGEST = 128  # tokens read of a text
HELD_OUT = 10  # every tenth text decides when to stop


class LanguageModel(keras.Model):
    """Embedding, LSTM and softmax: ids (batch, time) -> -log p of each token (batch, time), 0 for padding.

    Ids are 0 for padding, 1 for the end of a text and of whatever comes before it, and the tokens from 2.
    """

    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = layers.Embedding(vocab_size + 2, WIDTH)
        self.recurrence = layers.LSTM(WIDTH, return_sequences=True)
        self.before, self.after = layers.Dropout(0.3), layers.Dropout(0.3)
        self.project = layers.Dense(vocab_size + 2, dtype="float32")

    def call(self, ids, training=False):
        inputs = ops.concatenate([ops.ones_like(ids[:, :1]), ids[:, :-1]], axis=1)
        x = self.recurrence(self.before(self.embedding(inputs), training=training))
        logits = self.project(self.after(x, training=training))
        nll = keras.losses.sparse_categorical_crossentropy(ids, logits, from_logits=True)
        return ops.where(ids > 0, nll, 0.0)


def _padded(texts, longest):
    ids = np.zeros((len(texts), longest), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text) + 1] = [*text, 1][:longest]
    return ids


def nats(train, others, vocab_size, seed=1):
    """Trains a model on texts until the loss on held-out ones stops falling, and scores other texts.

    Args:
        train: list of at least two texts, each a list of ids from 0.
        others: lists of such texts.
        vocab_size: int, number of ids.
        seed: int.

    Returns:
        For each list of `others`, float (texts,): -log p of each text and its end, up to LONGEST tokens.
    """
    keras.utils.set_random_seed(seed)
    train, *others = ([[i + 2 for i in text] for text in texts] for texts in (train, *others))
    longest = min(LONGEST, max(len(text) + 1 for texts in (train, *others) for text in texts))
    ids = _padded(train, longest)
    held_out = np.arange(len(ids)) % HELD_OUT == 0
    model = LanguageModel(vocab_size)

    def loss(ids, nll):
        return ops.sum(nll) / ops.sum(ops.cast(ids > 0, nll.dtype))

    model.compile(keras.optimizers.Adam(3e-3, global_clipnorm=5.0), loss)
    patience = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0, "callbacks": [patience]}
    model.fit(ids[~held_out], ids[~held_out], validation_data=(ids[held_out], ids[held_out]), **settings)
    return [model.predict(_padded(texts, longest), batch_size=BATCH, verbose=0).sum(axis=1) for texts in others]
