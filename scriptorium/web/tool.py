"""What every tool of demo.py can do: write texts without a prompt, and say what is known about them."""

import functools

from scriptorium.data import corpora, scenes
from scriptorium.transformer_vae.experiments import is_python


def _letters(text):
    """What is compared when a text is looked up: its characters in lower case, without spaces."""
    return "".join(text.lower().split())


class Tool:
    """Answers requests for one model.

    Args:
        run: opened `Run` with its model.
    """

    def __init__(self, run):
        self.run = run

    @functools.cached_property
    def corpus(self):
        """The text that the run was trained on, or None if it is no longer available."""
        return corpora.reload_or_none(self.run.options, self.run.config["corpus"].get("fingerprint"))

    @functools.cached_property
    def valid(self):
        """A function that says whether a text is valid: parses as Python, or is grammatical in scenes; else None."""
        options = self.run.options
        if self.run.script == "transformer_vae" and options.get("task") == "pylines" and not options.get("data"):
            return is_python
        return scenes.grammar().is_grammatical if scenes.are_text_of(options) else None

    @functools.cached_property
    def training_texts(self):
        """The training texts as letters, a frozenset, or None if they are no longer available."""
        return frozenset(map(_letters, self.corpus.train)) if self.corpus else None

    def sample(self, fields):
        """Writes texts without a prompt, and says which are valid and which are in the training text."""
        count, seed = fields.number("count", 1, 100, 8, int), fields.seed()
        # Rounded, because some models are compiled for each temperature.
        temperature = fields.number_or_none("temperature", 0, 2)
        settings = {} if temperature is None else {"temperature": round(temperature, 1)}
        texts = self.unprompted(count, seed, fields, **settings)
        known, valid = self.training_texts, self.valid
        return {
            "texts": texts,
            "seen": [None if known is None else _letters(text) in known for text in texts],
            "valid": [valid(text) if valid else None for text in texts],
        }
