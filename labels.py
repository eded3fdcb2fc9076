"""Labels of texts, of one kind or several: which classes there are, what a model reads for them, and telling them.

Floor 1. Class 0 of every kind is that of a label that is not given.
"""

import keras
import numpy as np
from keras import layers, ops

from util import UserError

UNKNOWN = 0


class Labels:
    """The classes of each kind of label.

    Args:
        kinds: dict of name -> list of str, the classes.
    """

    def __init__(self, kinds):
        self.kinds = kinds

    @classmethod
    def of(cls, labels):
        """Makes them from the labels of texts (see `corpora.Corpus`), a list of str or None."""
        columns = zip(*(label.split("\t") for label in labels or () if label), strict=True)
        return cls({f"label_{i + 1}": sorted(set(column) - {""}) for i, column in enumerate(columns)})

    def encode(self, label):
        """Returns the class of each kind, list of int, of a label with tabs between its kinds."""
        parts, kinds = label.split("\t"), list(self.kinds.values()) or [[]]
        parts += [""] * len(kinds)
        return [1 + kind.index(part) if part in kind else UNKNOWN for kind, part in zip(kinds, parts, strict=False)]

    def encode_all(self, labels, count):
        """Returns the classes of `count` labels, int32 (count, kinds); None stands for as many that are not given."""
        known = {label: self.encode(label) for label in set(labels or [""])}
        return np.array([known[label] for label in labels or [""] * count], "int32").reshape(count, -1)

    def asked(self, names):
        """Returns the class of each kind, list of int, for a class of any kind, or several with commas between.

        Raises:
            UserError: there is no such class; says which there are.
        """
        wanted, kinds = [name.strip() for name in names.split(",")], list(self.kinds.values())
        for name in wanted:
            if not any(name in kind for kind in kinds):
                known = ", ".join(name for kind in kinds for name in kind) or "none: it was trained without labels"
                raise UserError(f"there is no label {name!r}; there are {known}")
        return [next((1 + kind.index(name) for name in wanted if name in kind), UNKNOWN) for kind in kinds]

    def text(self, classes):
        """Returns the label of classes, a list of int: what `encode` gives them for."""
        return "\t".join(kind[c - 1] if c else "" for kind, c in zip(self.kinds.values(), classes, strict=False))


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
