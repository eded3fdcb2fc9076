"""What demo.py offers for language models: texts that are continued."""

import functools
import json

from scriptorium import UserError
from scriptorium.web.server import Fields

PROMPT = 2000  # maximum characters of a text to continue


class Running:
    """Continues a text character by character or word by word.

    Args:
        model: `LanguageModel`.
    """

    def __init__(self, model):
        self.model, self.run = model, model.run
        self.writer = functools.lru_cache(16)(lambda temperature: model.writer(temperature=temperature, chunk=8))

    def about(self):
        return {"unit": "characters" if self.run.script == "chars" else "words"}

    def complete(self, fields):
        """Yields the continuation of a text, piece by piece, or with alternatives a line of JSON per token."""
        prompt = fields.text("prompt", PROMPT, "")
        length, seed = fields.number("length", 1, 1000, 200, int), fields.seed()
        # Rounded, because each temperature is compiled.
        temperature = float(f"{fields.number('temperature', 0, 1000, 0.8):.2g}")
        if 0 < temperature < 0.001:
            raise UserError("temperature must be 0, or a number from 0.001 to 1000.")
        alternatives = fields.number("alternatives", 0, 10, 0, int)
        fields.nothing_else()
        asked = self.writer(temperature), prompt, length, seed
        if not alternatives:
            return self.model.stream(*asked)
        return (json.dumps(token) + "\n" for token in self.model.stream_tokens(*asked, alternatives))

    def warm(self):
        for alternatives in (0, 3):
            next(self.complete(Fields({"prompt": "a", "length": 8, "alternatives": alternatives})))
