"""What can be done with any trained language model that carries its state: score a text, and go on with one.

A model offers four functions of tensors; `states` is a list of float32 tensors (batch, ...):

    zeros(batch) -> states                                             before any text
    read(ids (batch, time), states) -> features, states                features (batch, time, width)
    nll_of(features, targets (batch, time)) -> nll                     float32 (batch, time), nats, 0 at padding
    next(token (batch,), states) -> logits, states                     float32 (batch, vocab_size)
"""

import functools
import itertools
import sys

from scriptorium.data.vocabulary import EOS, START
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import Compiled

import keras
import numpy as np
from keras import ops

PIECE = 250  # tokens that are read at once


@functools.cache
def _nll(model, with_features=False):
    def nll(inputs):
        features, states = model.read(inputs[0], inputs[2:])
        remembered = [ops.cast(features, "float32")] if with_features else []
        return (model.nll_of(features, inputs[1]), *remembered, *states)

    return Compiled(nll, model)


@functools.cache
def _reader(model):
    return Compiled(lambda inputs: model.read(inputs[0], inputs[1:])[1], model)


def _zeros(model, batch):
    return [ops.convert_to_numpy(state) for state in model.zeros(batch)]


def _in_pieces(length, row, warm):
    """Yields the places of a running text that are read together, int (places, 1 + tokens), and where they count.

    Places from -1 on; the first column is what stands before the tokens. See `score`.
    """
    places = max(1, min(64, length // row))
    cuts = np.linspace(0, length, places + 1).astype(int)
    longest = int(np.diff(cuts).max()) + (warm if places > 1 else 0)
    for start in range(0, longest, PIECE):
        # Row i ends at cuts[i + 1].
        where = cuts[1:, None] - longest + np.arange(start - 1, min(start + PIECE, longest))[None]
        yield where, where >= cuts[:-1, None]


def score(model, ids, row=20_000, warm=1_000):
    """Scores running text with the whole past carried along.

    Args:
        model: see the top of this file.
        ids: integers (length,).
        row: tokens at least that are read without a break. A longer text is read at several places at once, each after
            the `warm` tokens before it, which are read too but not counted.

    Returns:
        float, the mean nll in nats a token.
    """
    return score_with_cache(model, ids, 0, 0.0, 0.0, row, warm)


def score_with_cache(model, ids, size, share, sharpness, row=20_000, warm=1_000):
    """Scores running text by a model mixed with a cache of the words just read (Grave et al. 2017).

    p(w) = (1 - share) p_model(w) + share sum of softmax_i(sharpness h . h_i) over the last `size` places i whose next
    word was w; h are the features of the model.

    Args:
        model, ids, row, warm: as for `score`.
        size: places that the cache holds; 0 does without.
        share: weight of the cache, 0 to 1.
        sharpness: 0 counts all places alike.

    Returns:
        float, the mean nll in nats a token.
    """
    states, total, memory = None, 0.0, None
    for where, counts in _in_pieces(len(ids), row, max(warm, size)):
        text = np.where(where >= 0, np.asarray(ids[where.clip(0)], "int32"), START)
        inputs, targets, counts = text[:, :-1], text[:, 1:], counts[:, 1:]
        states = _zeros(model, len(text)) if states is None else states
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
    """Probability under the cache of each of the last `count` tokens (n,), whose features are (n, width)."""
    n = len(tokens)
    likeness = sharpness * features[n - count :] @ features.T  # (count, n)
    age = np.arange(n - count, n)[:, None] - np.arange(n)[None]
    likeness = np.where((age > 0) & (age <= size) & real[None], likeness, -np.inf)
    weights = np.exp(likeness - np.maximum(likeness.max(-1, keepdims=True), -1e30))
    same = tokens[None] == tokens[n - count :, None]
    return (weights * same).sum(-1) / np.maximum(weights.sum(-1), 1e-30)


def nll_of(model, inputs, targets):
    """Returns -log p of targets (batch, time) after inputs, from a state of zeros: nats, 0 at padding."""
    return _nll(model).predict_on_batch((inputs, targets, *_zeros(model, len(inputs))))[0]


class Writer:
    """Writes on from prompts, the state carried from token to token.

    Args:
        model: see the top of this file.
        temperature, top_k, top_p: see `sampling.sample_logits`.
        chunk: tokens that one call of the compiled loop writes.
    """

    def __init__(self, model, temperature=1.0, top_k=0, top_p=1.0, chunk=16):
        self.model, self.seed = model, keras.random.SeedGenerator(1)

        def pick(logits, uniform):
            return sampling.sample_logits(logits, uniform, temperature, top_k, top_p)

        def write(inputs):
            token, *states = inputs
            return sampling.go_on(model.next, token, tuple(states), chunk, pick, self.seed)

        self._write = Compiled(write, model, self.seed)

    def start(self, prompts, seed=1):
        """Reads prompts, and sets the seed of what will be drawn.

        Args:
            prompts: list of int32 (length,), one token at least each.

        Returns:
            The place where the model stands, for `go_on`: the state of what is drawn, the last token of each prompt and
            the states before it. So texts that are written in turns are as if each were written alone.
        """
        self.seed.state.assign(keras.random.SeedGenerator(seed).state)
        states = []
        for ids in prompts:
            state = _zeros(self.model, 1)
            for i in range(0, len(ids) - 1, PIECE):
                piece = np.asarray(ids[i : min(i + PIECE, len(ids) - 1)], "int32")[None]
                state = _reader(self.model).predict_on_batch((piece, *state))
            states.append(state)
        last = np.array([ids[-1] for ids in prompts], "int32")
        return [self._seed(), last, *(np.concatenate(parts) for parts in zip(*states, strict=True))]

    def _seed(self):
        return np.array(ops.convert_to_numpy(self.seed.state))

    def go_on(self, place):
        """Writes `chunk` tokens: ids int32 (prompts, chunk), and where the model stands after them."""
        self.seed.state.assign(place[0])
        ids, *states = self._write.predict_on_batch(tuple(place[1:]))
        return ids, [self._seed(), ids[:, -1], *states]


def prompt_of(text, vocabulary, begin=START):
    """Returns the ids that a text is gone on with from, int32 (1 + length,): `begin`, then the text's own."""
    return np.append(begin, vocabulary.encode(text, prompt=True)).astype("int32")


def text_of(ids, vocabulary):
    """Returns the text of ids (length,), a line each up to an `<eos>`."""
    ends = np.flatnonzero(np.asarray(ids) == EOS)
    return "\n".join(vocabulary.decode(part) for part in np.split(np.asarray(ids), ends + 1))


def pieces(run, writer, prompt, length, seed, begin=START, ends=False):
    """Goes on with a text, and yields what is written while it is written, str.

    Args:
        run: opened run.
        writer: `Writer` of its model.
        prompt: str.
        length: tokens at most.
        seed: int, of what is drawn.
        begin: the id before the text.
        ends: whether it ends with its first `<eos>`.
    """
    vocabulary, before = run.vocabulary, prompt_of(prompt, run.vocabulary, begin)
    place, ids, shown, read = writer.start([before], seed), [], prompt, text_of(before[1:], vocabulary)
    while len(ids) < length and not (ends and EOS in ids):
        more, place = writer.go_on(place)
        ids = [*ids, *more[0].tolist()][:length]
        ids = ids[: ids.index(EOS) + 1] if ends and EOS in ids else ids
        text = prompt + text_of([*before[1:], *ids], vocabulary)[len(read) :]
        # The bytes of a letter may not all be there yet, and a word may still join the one before it.
        ready = text if len(ids) >= length else text.rstrip("\ufffd")
        if ready.startswith(shown):
            yield ready[len(shown) :]
            shown = ready


def talk(run, args, begin=START, ends=False):
    """Goes on with each line of the input, and shows the text while it is written.

    Args:
        run: opened run with its model.
        args: options, with those of the sampling.
        begin: the id before a text.
        ends: whether a text ends with its first `<eos>`.
    """
    settings = {name: getattr(args, name) for name in ("temperature", "top_k", "top_p")}
    vocabulary, typed = run.vocabulary, sys.stdin.isatty()
    writer = Writer(run.model, **settings)
    for turn in itertools.count():
        try:
            prompt = input("> " if typed else "")
        except EOFError:
            return
        unknown = vocabulary.unknown(prompt)
        if unknown:
            print(f"not in the text that it was trained on: {' '.join(unknown)}", file=sys.stderr)
        for number in range(args.num_samples):
            print(prompt, end="", flush=True)
            turn_seed = run.seed + turn * args.num_samples + number
            for piece in pieces(run, writer, prompt, args.gen_length, turn_seed, begin, ends):
                print(piece, end="", flush=True)
            print("\n", flush=True)
