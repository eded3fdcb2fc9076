"""Labels of texts, of one kind or several, and the integer classes that a model reads.

In every kind, class 0 stands for an unknown label.
"""

from scriptorium import UserError

import numpy as np

UNKNOWN = 0
LANGUAGES = {  # of the built-in names
    "ar": "Arabic", "az": "Azerbaijani", "bg": "Bulgarian", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "fi": "Finnish", "fr": "French", "ga": "Irish", "he": "Hebrew", "hi": "Hindi",
    "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ne": "Nepali", "nl": "Dutch",
    "or": "Odia", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sk": "Slovak",
    "sl": "Slovenian", "sv": "Swedish", "ta": "Tamil", "th": "Thai", "tr": "Turkish", "zh": "Chinese",
}  # fmt: skip


class Labels:
    """The classes of each kind of label.

    Args:
        kinds: dict of name -> list of str, the classes.
    """

    def __init__(self, kinds):
        self.kinds = kinds

    @classmethod
    def of(cls, labels):
        """Collects the classes from the labels of texts (see `corpora.Corpus`), a list of str or None."""
        columns = zip(*(label.split("\t") for label in labels or () if label), strict=True)
        return cls({f"label_{i + 1}": sorted(set(column) - {""}) for i, column in enumerate(columns)})

    def encode(self, label):
        """Returns the class of each kind, list of int, for a label whose kinds are separated by tabs."""
        parts, kinds = label.split("\t"), list(self.kinds.values()) or [[]]
        parts += [""] * len(kinds)
        return [1 + kind.index(part) if part in kind else UNKNOWN for kind, part in zip(kinds, parts, strict=False)]

    def encode_all(self, labels, count):
        """Returns the classes of `count` labels, int32 (count, kinds); None means that all are unknown."""
        known = {label: self.encode(label) for label in set(labels or [""])}
        return np.array([known[label] for label in labels or [""] * count], "int32").reshape(count, -1)

    def parse(self, names):
        """Returns the class of each kind, list of int, for the name of a class, or several separated by commas.

        Raises:
            UserError: no such class; the message lists all classes.
        """
        requested, kinds = [name.strip() for name in names.split(",")], list(self.kinds.values())
        for name in requested:
            if not any(name in kind for kind in kinds):
                known = ", ".join(name for kind in kinds for name in kind) or "none (trained without labels)"
                raise UserError(f"unknown label {name!r}; the labels are: {known}")
        return [next((1 + kind.index(name) for name in requested if name in kind), UNKNOWN) for kind in kinds]

    def text(self, classes):
        """Returns the label for a list of classes, the inverse of `encode`."""
        return "\t".join(kind[c - 1] if c else "" for kind, c in zip(self.kinds.values(), classes, strict=False))
