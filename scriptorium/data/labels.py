"""Labels of texts, of one kind or several: which classes there are, what a model reads for them, and telling them.

Class 0 of every kind is that of a label that is not given.
"""

from scriptorium import UserError

import numpy as np

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
