"""Predicts the labels of texts."""

from scriptorium.data.labels import UNKNOWN

import keras
import numpy as np
from keras import layers, ops


class Head(layers.Layer):
    """Tells the labels of texts from what each of their positions holds, on average.

    Args:
        kinds: list of list of str, the classes of each kind.
        units: width of a hidden layer, 0 for none.
    """

    def __init__(self, kinds, units=0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.sizes = [1 + len(kind) for kind in kinds]
        self.hidden = layers.Dense(units, activation="relu", dtype="float32") if units else None
        self.classes = layers.Dense(sum(self.sizes), dtype="float32")

    def call(self, values, mask):
        """Returns logits of each kind, list of (batch, classes), from (batch, time, width) and a mask (batch, time)."""
        mask = ops.cast(mask, "float32")
        mean = ops.sum(ops.cast(values, "float32") * mask[..., None], axis=1) / ops.sum(mask, axis=1, keepdims=True)
        logits = self.classes(self.hidden(mean) if self.hidden else mean)
        ends = np.cumsum(self.sizes).tolist()
        return [logits[:, end - size : end] for size, end in zip(self.sizes, ends, strict=True)]


def entropies(logits, labels):
    """Compares what a `Head` tells with the labels (batch, kinds); one that is unknown counts nowhere.

    Returns:
        cross-entropy in nats, summed over the kinds, float scalar, and the share of right labels, float scalar.
    """
    loss, right, given = 0.0, 0.0, 0.0
    for i, part in enumerate(logits):
        known = ops.cast(labels[:, i] != UNKNOWN, "float32")
        each = keras.losses.sparse_categorical_crossentropy(labels[:, i], part, from_logits=True)
        loss = loss + ops.sum(known * each) / ops.maximum(ops.sum(known), 1.0)
        right += ops.sum(known * ops.cast(ops.equal(ops.argmax(part, axis=-1), labels[:, i]), "float32"))
        given += ops.sum(known)
    return loss, right / ops.maximum(given, 1.0)
