"""What demo.py offers for models without a latent space: texts that are continued, and new ones."""

import json

from scriptorium import UserError
from scriptorium.web.server import Fields
from scriptorium.web.tool import Tool

PROMPT = 2000  # maximum characters of a text to continue


class Running(Tool):
    """Continues a text character by character or word by word.

    Args:
        model: `LanguageModel`.
    """

    def __init__(self, model):
        super().__init__(model.run)
        self.model = model

    def about(self):
        return {"unit": "characters" if self.run.script == "chars" else "words"}

    @property
    def training_texts(self):
        """See `Tool`; None for characters, whose training text has no separate texts."""
        return None if self.run.script == "chars" else super().training_texts

    def complete(self, fields):
        """Yields the continuation of a text, piece by piece, or with alternatives a line of JSON per token."""
        prompt = fields.text("prompt", PROMPT, "", lines=True)
        length, seed = fields.number("length", 1, 1000, 200, int), fields.seed()
        # Rounded, because each temperature is compiled.
        temperature = float(f"{fields.number('temperature', 0, 1000, 0.8):.2g}")
        if 0 < temperature < 0.001:
            raise UserError("temperature must be 0, or a number from 0.001 to 1000.")
        alternatives = fields.number("alternatives", 0, 10, 0, int)
        fields.nothing_else()
        asked = self.model.writer(temperature=temperature, chunk=8), prompt, length, seed
        if not alternatives:
            return self.model.stream(*asked)
        return (json.dumps(token) + "\n" for token in self.model.stream_tokens(*asked, alternatives))

    def unprompted(self, count, seed, fields, temperature=1.0):
        """Writes texts, each up to its end, or to the end of a line if the model reads running text."""
        fields.nothing_else()
        return [text.split("\n")[0] for text in self.model.sample(count, seed=seed, temperature=temperature)]

    def warm(self):
        for alternatives in (0, 3):
            next(self.complete(Fields({"prompt": "a", "length": 8, "alternatives": alternatives})))
        self.sample(Fields({"count": 10}))


class Sampling(Tool):
    """Writes sentences with a text GAN, as it is or as it was after training by likelihood.

    Args:
        sampler: `Sampler`.
    """

    def __init__(self, sampler):
        super().__init__(sampler.run)
        self.sampler, self.likelihood = sampler, sampler.likelihood

    def about(self):
        return {"likelihood": self.likelihood is not None}

    def unprompted(self, count, seed, fields, **settings):
        """Samples sentences; the field "likelihood" asks for the generator as it was before the critic came."""
        likelihood = fields.among("likelihood", [True, False], False)
        fields.nothing_else()
        if likelihood and self.likelihood is None:
            raise UserError(f"{self.run.name} has not kept its weights from before adversarial training.")
        generator = self.likelihood if likelihood else None
        return self.sampler.sample(count, seed, generator=generator, **settings)

    def warm(self):
        self.sample(Fields({"count": 8}))
