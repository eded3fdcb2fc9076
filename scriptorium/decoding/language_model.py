"""Scores and continues text with any trained language model that carries its state.

A model provides five functions of tensors; `states` is a list of float32 tensors (batch, ...):

    start(batch) -> states                                             the initial states
    read(ids (batch, time), states) -> features, states                features (batch, time, width)
    nll_of(features, targets (batch, time)) -> nll                     float32 (batch, time), nats, 0 at padding
    logits_of(features) -> logits                                      float32 (..., vocab_size)
    step(token (batch,), states) -> logits, states                     float32 (batch, vocab_size)
"""

import functools

from scriptorium.data.vocabulary import EOS, START
from scriptorium.decoding.continuation import PIECE, GrowingText, Writer, explainer, zeros
from scriptorium.decoding.settings import sampling_settings
from scriptorium.nn.compiled import Compiled
from scriptorium.streams import lines_of_input, note_unknown

import numpy as np
from keras import ops


@functools.cache
def _nll(model, with_features=False):
    def nll(inputs):
        features, states = model.read(inputs[0], inputs[2:])
        extra = [ops.cast(features, "float32")] if with_features else []
        return (model.nll_of(features, inputs[1]), *extra, *states)

    return Compiled(nll, model, same_rows=True)


def _in_pieces(length, row, warm):
    """Yields the indices of a running text that are read together, int (rows, 1 + tokens), and which of them count.

    Indices start at -1, for `START`; the first column is the token before the others. See `score`.
    """
    places = max(1, min(64, length // row))
    cuts = np.linspace(0, length, places + 1).astype(int)
    longest = min(length, int(np.diff(cuts).max()) + (warm if places > 1 else 0))
    begins = np.maximum(cuts[1:] - longest, 0)[:, None]  # no row reads anything before the text
    for start in range(0, longest, PIECE):
        where = begins + np.arange(start - 1, min(start + PIECE, longest))[None]
        yield where, (where >= cuts[:-1, None]) & (where < cuts[1:, None])


def score(model, ids, row=20_000, warm=1_000):
    """Scores running text, carrying the state along the whole text.

    Args:
        model: see the top of this file.
        ids: integers (length,).
        row: minimum number of tokens to read without a break. A longer text is read at several positions at once, each
            after the `warm` tokens before it, which are read but not counted.

    Returns:
        float, the mean nll in nats per token.
    """
    return score_with_cache(model, ids, 0, 0.0, 0.0, row, warm)


def score_with_cache(model, ids, size, share, sharpness, row=20_000, warm=1_000):
    """Scores running text with a mixture of a model and a cache of the latest words (Grave et al. 2017).

    p(w) = (1 - share) p_model(w) + share sum of softmax_i(sharpness h . h_i) over those of the last `size` positions i
    whose next word was w; h are the features of the model.

    Args:
        model, ids, row, warm: as for `score`.
        size: positions in the cache; 0 for no cache.
        share: weight of the cache, 0 to 1.
        sharpness: 0 weighs all positions equally.

    Returns:
        float, the mean nll in nats per token.
    """
    states, total, memory = None, 0.0, None
    for where, counts in _in_pieces(len(ids), row, max(warm, size)):
        text = np.where(where >= 0, np.asarray(ids[where.clip(0)], "int32"), START)
        inputs, targets, counts = text[:, :-1], text[:, 1:], counts[:, 1:]
        states = zeros(model, len(text)) if states is None else states
        nll, *states = _nll(model, size > 0).predict_on_batch((inputs, targets, *states))
        if size:
            features, *states = states
            now = features, targets, where[:, 1:] >= 0
            memory = [np.concatenate(pair, 1) for pair in zip(memory, now, strict=True)] if memory else list(now)
            memory = [part[:, -(size + targets.shape[1]) :] for part in memory]
            cached = np.stack(
                [_of_cache(*parts, targets.shape[1], size, sharpness) for parts in zip(*memory, strict=True)]
            )
            nll = -np.log((1 - share) * np.exp(-nll.astype("float64")) + share * cached)
        total += nll.sum(where=counts, dtype="float64")
    return total / len(ids)


def _of_cache(features, tokens, real, count, size, sharpness):
    """Probability under the cache of each of the last `count` of `tokens` (n,), with features (n, width)."""
    n = len(tokens)
    likeness = sharpness * features[n - count :] @ features.T  # (count, n)
    age = np.arange(n - count, n)[:, None] - np.arange(n)[None]
    likeness = np.where((age > 0) & (age <= size) & real[None], likeness, -np.inf)
    weights = np.exp(likeness - np.maximum(likeness.max(-1, keepdims=True), -1e30))
    same = tokens[None] == tokens[n - count :, None]
    return (weights * same).sum(-1) / np.maximum(weights.sum(-1), 1e-30)


def nll_of(model, inputs, targets):
    """Returns -log p of targets (batch, time) after inputs, from the initial state: nats, 0 at padding."""
    return _nll(model).predict_on_batch((inputs, targets, *zeros(model, len(inputs))))[0]


class LanguageModel:
    """Scores and continues texts with a trained language model; the scripts, demo.py and `scriptorium.load` use it.

    Args:
        run: opened `Run` with its model.
        begin: the id before a text: `<start>`, or the end of the previous line if the model reads running text.
        ends: whether a continuation ends at its first `<eos>`.
    """

    def __init__(self, run, begin=START, ends=False):
        self.run, self.begin, self.ends = run, begin, ends
        self._writer = functools.lru_cache(16)(lambda **settings: Writer(run.model, **settings))

    def prompt_ids(self, text):
        """Returns the ids to continue a text from, int32 (1 + length,): `begin`, then the ids of the text."""
        return np.append(self.begin, self.run.vocabulary.encode(text, prompt=True)).astype("int32")

    def writer(self, **settings):
        """Returns a `Writer` of the model with these settings; the last ones are kept, since each is compiled."""
        return self._writer(**settings)

    def complete(self, prompt, length=None, seed=1, **settings):
        """Continues a text.

        Args:
            prompt: str.
            length: maximum number of tokens to add; None for the run's --gen-length.
            seed: int, for sampling.
            settings: temperature, top_k, top_p.

        Returns:
            str, the prompt and its continuation.
        """
        length = length or self.run.options["gen_length"]
        return prompt + "".join(self.stream(self.writer(**settings, chunk=length), prompt, length, seed))

    def sample(self, n=1, prompt="", length=None, seed=1, **settings):
        """Samples n texts that begin with a prompt, each up to its first `<eos>`; settings as for `complete`."""
        before = self.prompt_ids(prompt)
        writer = self.writer(**settings, chunk=length or self.run.options["gen_length"])
        ids, _ = writer.continue_(writer.start([before] * n, seed))
        return [self.run.vocabulary.decode([*before[1:], *row]) for row in ids]

    def stream(self, writer, prompt, length, seed):
        """Continues a text and yields pieces of the continuation, str, as they are written.

        Args:
            writer: a `Writer` from `writer`.
            prompt, length, seed: see `complete`.
        """
        before = self.prompt_ids(prompt)
        text = GrowingText(self.run.vocabulary, before[1:], prompt)
        for ids, ended, _ in self._chunks(writer, before, length, seed):
            piece = text.add(ids, ended)
            if piece:
                yield piece

    def stream_tokens(self, writer, prompt, length, seed, alternatives=3):
        """Continues a text like `stream`, and yields each token with what the model expected.

        Args:
            alternatives: number of most likely tokens to tell.

        Yields:
            dict: text, str, which may be empty as long as the rest of a character is missing; p, the probability of the
            token under the model (at temperature 1); likely, a list of (text, p) of the most likely tokens, as
            they would be added here, the most likely first. The end of a line is "\n".
        """
        before = self.prompt_ids(prompt)
        text, explain = GrowingText(self.run.vocabulary, before[1:], prompt), explainer(self.run.model, alternatives)
        for ids, ended, (_, last, *states) in self._chunks(writer, before, length, seed):
            # As many as in each chunk, since another number would be compiled again.
            targets = np.array([[*ids, *[EOS] * (writer.chunk - len(ids))]], "int32")
            inputs = np.concatenate([last[:, None], targets[:, :-1]], axis=1)
            own, best, which = explain.predict_on_batch((inputs, targets, *states))
            for i, token in enumerate(ids):
                others = [text.piece([int(j)], True) for j in which[0, i]]
                likely = list(zip(others, best[0, i].tolist(), strict=True))
                piece = text.add([token], ended and i + 1 == len(ids))
                yield {"text": piece, "p": float(own[0, i]), "likely": likely}

    def _chunks(self, writer, before, length, seed):
        """Yields ids as they are written, whether they are the last ones, and the position before them."""
        place, left = writer.start([before], seed), length
        while left > 0:
            start = place
            more, place = writer.continue_(place)
            ids = more[0].tolist()[:left]
            ids = ids[: ids.index(EOS) + 1] if self.ends and EOS in ids else ids
            left = 0 if self.ends and EOS in ids else left - len(ids)
            yield ids, left == 0, start

    def score(self, text):
        """Returns -log p(text) in nats and the number of tokens it counts: (float, int)."""
        ids = self.prompt_ids(text)
        ids = np.append(ids, EOS).astype("int32") if self.ends else ids
        return float(nll_of(self.run.model, ids[None, :-1], ids[None, 1:]).sum()), len(ids) - 1


def talk(language_model, args):
    """Continues each line of standard input, and shows the text as it is written.

    Args:
        language_model: `LanguageModel`.
        args: options, including those for sampling.
    """
    run = language_model.run
    writer = language_model.writer(**sampling_settings(args))
    hint = "Type the beginning of a text and the model continues it; an empty line starts a new text."
    for turn, prompt in enumerate(lines_of_input(hint)):
        note_unknown(run.vocabulary, prompt)
        for number in range(args.num_samples):
            print(prompt, end="", flush=True)
            seed = run.seed + turn * args.num_samples + number
            for piece in language_model.stream(writer, prompt, args.gen_length, seed):
                print(piece, end="", flush=True)
            print("\n", flush=True)
