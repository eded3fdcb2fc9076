"""Continues texts with a language model that carries its state, see language_model.py, and turns ids into text."""

import functools

from scriptorium.data.vocabulary import EOS
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import Compiled
from scriptorium.nn.mirrored import array_of

import keras
import numpy as np
from keras import ops

PIECE = 250  # tokens read at once


def zeros(model, batch):
    """Returns the initial states of a batch, numpy arrays."""
    return [ops.convert_to_numpy(state) for state in model.start(batch)]


@functools.cache
def _reader(model):
    return Compiled(lambda inputs: model.read(inputs[0], inputs[1:])[1], model)


@functools.cache
def explainer(model, alternatives):
    """Compiles a function of (ids, next ids, *states): their p (1, time), the highest p, and the ids that have them.

    Tokens that are never written, such as `<unk>`, have a p of 0.
    """

    def explain(inputs):
        features, _ = model.read(inputs[0], inputs[2:])
        p = ops.softmax(sampling.mask_special_tokens(model.logits_of(features)))
        own = ops.take_along_axis(p, inputs[1][..., None], axis=-1)[..., 0]
        return (own, *ops.top_k(p, min(alternatives, p.shape[-1])))

    return Compiled(explain, model, same_rows=True)


class Writer:
    """Continues prompts, carrying the state from token to token.

    Args:
        model: see language_model.py.
        temperature, top_k, top_p: see `sampling.sample_logits`.
        chunk: tokens written per call of the compiled loop.
    """

    def __init__(self, model, temperature=1.0, top_k=0, top_p=1.0, chunk=16):
        self.model, self.chunk, self.seed = model, chunk, keras.random.SeedGenerator(1)

        def pick(logits, uniform):
            return sampling.sample_logits(logits, uniform, temperature, top_k, top_p)

        def write(inputs):
            token, *states = inputs
            return sampling.continue_sequence(model.step, token, tuple(states), chunk, pick, self.seed)

        self._write = Compiled(write, model, self.seed)

    def start(self, prompts, seed=1):
        """Reads prompts and sets the seed for sampling.

        Args:
            prompts: list of int32 (length,), each at least one token long.

        Returns:
            The position for `continue_`: the state of the seed generator, the last token of each prompt and the states
            before it. With their own positions, texts written in turns do not affect each other.
        """
        self.seed.state.assign(keras.random.SeedGenerator(seed).state)
        states = []
        for ids in prompts:
            state = zeros(self.model, 1)
            for i in range(0, len(ids) - 1, PIECE):
                piece = np.asarray(ids[i : min(i + PIECE, len(ids) - 1)], "int32")[None]
                state = _reader(self.model).predict_on_batch((piece, *state))
            states.append(state)
        last = np.array([ids[-1] for ids in prompts], "int32")
        return [self._seed(), last, *(np.concatenate(parts) for parts in zip(*states, strict=True))]

    def _seed(self):
        return array_of(self.seed.state)

    def continue_(self, place):
        """Writes `chunk` tokens; returns ids int32 (prompts, chunk) and the position after them."""
        self.seed.state.assign(place[0])
        ids, *states = self._write.predict_on_batch(tuple(place[1:]))
        return ids, [self._seed(), ids[:, -1], *states]


def text_of(ids, vocabulary):
    """Returns the text of ids (length,), with a line end at each `<eos>`."""
    ends = np.flatnonzero(np.asarray(ids) == EOS)
    return "\n".join(vocabulary.decode(part) for part in np.split(np.asarray(ids), ends + 1))


def rest_of(text, beginning):
    """Returns what follows a beginning in a text that may have other spaces than it does.

    Args:
        text: str, whose characters other than white space begin with those of `beginning`.
        beginning: str.
    """
    known, place = sum(not character.isspace() for character in beginning), 0
    while known and place < len(text):
        known -= not text[place].isspace()
        place += 1
    return text[place:]


class GrowingText:
    """The text of a continuation while it is written; `add` returns what it adds.

    Args:
        vocabulary: `Vocabulary`.
        read: ids that were read before.
        prompt: str, their text as typed.
    """

    def __init__(self, vocabulary, read, prompt):
        self.vocabulary, self.ids, self.shown = vocabulary, list(read), ""
        self.read = text_of(read, vocabulary)
        self.exact = vocabulary.level in ("char", "byte", "bpe")
        self.spaced = not prompt or prompt[-1].isspace()

    def add(self, ids, ended):
        """Adds ids; returns the text that can be shown since the last time, all of it if the continuation ended."""
        piece = self.piece(ids, ended)
        self.ids += ids
        self.shown += piece
        return piece

    def piece(self, ids, ended):
        """Returns what `add` would return."""
        text = text_of([*self.ids, *ids], self.vocabulary)
        # The spaces between words depend on what follows, also those within the prompt.
        added = text[len(self.read) :] if self.exact else rest_of(text, self.read)
        if not self.exact and self.spaced:
            added = added.lstrip(" ")
        # Some bytes of a character may still be missing.
        ready = added if ended else added.rstrip("\ufffd")
        return ready[len(self.shown) :] if ready.startswith(self.shown) else rest_of(ready, self.shown)
