"""Samples text from a model's logits token by token, or finds likely text by beam search.

`generate` and `beam_search` work with any model: they take its step as a function, and run as one compiled loop inside
`Compiled`.
"""

from scriptorium.data.vocabulary import EOS, PAD, START, UNK

import keras
from keras import ops

RULED_OUT = -1e9  # the logit of a token that must not be drawn
BLOCK = 64  # with many tokens, a block of this many is drawn first


def filter_logits(logits, temperature=1.0, top_k=0, top_p=1.0):
    """Scales logits by 1 / temperature and sets those outside top_k and top_p to `RULED_OUT`.

    Args:
        logits: float (..., vocab_size).
        temperature: positive; below 1 sharpens.
        top_k: keeps the k most likely tokens; 0 keeps all.
        top_p: keeps the smallest set of tokens whose probability is at least p (nucleus sampling, Holtzman et al.
            2020).

    Returns:
        float32 (..., vocab_size).
    """
    logits = ops.cast(logits, "float32")
    # What is ruled out stays so at any temperature.
    logits = ops.where(logits <= RULED_OUT / 2, RULED_OUT, logits / temperature)
    if top_k:
        least = ops.top_k(logits, min(int(top_k), logits.shape[-1]))[0][..., -1:]
        logits = ops.where(logits < least, RULED_OUT, logits)
    if top_p < 1:
        descending = ops.flip(ops.sort(logits, axis=-1), axis=-1)
        probabilities = ops.softmax(descending, axis=-1)
        # Keep a token if the more likely ones sum to less than p, so the most likely token is always kept.
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        least = ops.min(ops.where(before < top_p, descending, 1e9), axis=-1, keepdims=True)
        logits = ops.where(logits < least, RULED_OUT, logits)
    return logits


def sample_logits(logits, uniform, temperature=1.0, top_k=0, top_p=1.0):
    """Draws a token from each row of logits; temperature 0 takes the most likely one.

    The draw inverts the cumulative distribution, so that all random numbers can be drawn before a loop over tokens.

    Args:
        logits: float (batch, vocab_size).
        uniform: float (batch,), draws from the uniform distribution over [0, 1).
        temperature, top_k, top_p: see `filter_logits`.

    Returns:
        int32 (batch,).
    """
    if temperature <= 0:
        return ops.cast(ops.argmax(logits, axis=-1), "int32")
    logits = filter_logits(logits, temperature, top_k, top_p)
    weights = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    # Not 0, which would draw the first token even if it is impossible.
    uniform, blocks = ops.maximum(uniform, 1e-7), -(-logits.shape[-1] // BLOCK)
    if blocks <= BLOCK // 8:
        return _first_reaching(weights, uniform * ops.sum(weights, axis=-1))[0]
    # Many tokens: draw a block first, then a token within it, so that cumulative sums stay short.
    weights = ops.pad(weights, [(0, 0), (0, blocks * BLOCK - logits.shape[-1])])
    weights = ops.reshape(weights, (-1, blocks, BLOCK))
    sums = ops.sum(weights, axis=-1)
    block, rest = _first_reaching(sums, uniform * ops.sum(sums, axis=-1))
    return block * BLOCK + _first_reaching(ops.take_along_axis(weights, block[:, None, None], axis=1)[:, 0], rest)[0]


def _first_reaching(weights, threshold):
    """Returns where running sums of weights (batch, n) reach a threshold (batch,) above 0, and the gap before that.

    If rounding puts a threshold above the total, it is lowered to the total: a weight of 0 is never chosen.
    """
    sums = ops.cumsum(weights, axis=-1)
    threshold = ops.minimum(threshold[:, None], sums[:, -1:])
    below = sums < threshold
    before = ops.max(ops.where(below, sums, 0.0), axis=-1)
    return ops.sum(ops.cast(below, "int32"), axis=-1), threshold[:, 0] - before


def mask_special_tokens(logits):
    """Returns logits (..., vocab_size) that rule out `<pad>`, `<start>` and `<unk>`."""
    return logits + ops.where(ops.arange(logits.shape[-1]) <= UNK, RULED_OUT, 0.0)


def generate(step, state, uniform, pick, scored=True):
    """Writes sequences token by token, carrying the state, until all have ended or have reached max_length.

    Args:
        step: function of (token int32 (batch,), state) that returns (logits (batch, vocab_size), state).
        state: tuple of tensors, each (batch, ...).
        uniform: float32 (batch, max_length), draws from the uniform distribution over [0, 1), one for each possible
            token, including `<eos>`.
        pick: function of (logits (batch, vocab_size), uniform (batch,)) that returns tokens int32 (batch,), such as
            `sample_logits`.
        scored: whether to compute the log-probability.

    Returns:
        ids int32 (batch, max_length), padded after `<eos>`, and their log-probability float32 (batch,) in nats under
        the unfiltered logits, or 0 if not `scored`.
    """

    def body(t, token, state, ids, log_prob):
        logits, state = step(token, state)
        logits = ops.cast(logits, "float32")
        ended = ops.logical_or(ops.equal(token, EOS), ops.equal(token, PAD))
        drawn = ops.where(ended, PAD, pick(mask_special_tokens(logits), ops.take(uniform, t, axis=1)))
        if scored:
            chosen = ops.take_along_axis(logits, ops.expand_dims(drawn, -1), axis=-1)[:, 0]
            log_prob = log_prob + ops.where(ended, 0.0, chosen - ops.logsumexp(logits, axis=-1))
        ids = ops.where(ops.expand_dims(ops.equal(positions, t), 0), ops.expand_dims(drawn, -1), ids)
        return t + 1, drawn, state, ids, log_prob

    def going(t, token, state, ids, log_prob):
        alive = ops.logical_and(ops.not_equal(token, EOS), ops.not_equal(token, PAD))
        return ops.logical_and(t < max_length, ops.any(alive))

    batch, max_length = ops.shape(uniform)[0], uniform.shape[1]
    positions = ops.arange(max_length, dtype="int32")
    first = ops.full((batch,), START, dtype="int32")
    start = (ops.zeros((), "int32"), first, tuple(state), ops.full((batch, max_length), PAD, dtype="int32"))
    *_, ids, log_prob = ops.while_loop(going, body, (*start, ops.zeros((batch,), "float32")))
    return ids, log_prob


def continue_sequence(step, token, state, length, pick, seed):
    """Continues running text, which has no end, from a token, carrying the state.

    Args:
        step, pick: as for `generate`.
        token: int32 (batch,), the last one written so far.
        state: tuple of tensors, each (batch, ...), before that token is read.
        length: int, tokens to write.
        seed: `keras.random.SeedGenerator`.

    Returns:
        tuple: ids int32 (batch, length), then the tensors of the state before the last of them is read.
    """

    def body(t, token, state, ids):
        logits, state = step(token, state)
        token = pick(mask_special_tokens(ops.cast(logits, "float32")), ops.take(uniform, t, axis=1))
        return t + 1, token, state, ops.where(ops.equal(positions, t)[None], token[:, None], ids)

    uniform = keras.random.uniform((ops.shape(token)[0], length), seed=seed)
    positions = ops.arange(length, dtype="int32")
    start = (ops.zeros((), "int32"), token, tuple(state), ops.broadcast_to(0 * token[:, None], ops.shape(uniform)))
    _, _, state, ids = ops.while_loop(lambda t, *_: t < length, body, start)
    return (ids, *state)


def beam_search(step, state, batch, max_length, beam):
    """Finds likely sequences by beam search; a beam of 1 is greedy.

    Args:
        step, state: as for `generate`; the step is called with batch * beam rows.
        batch: number of sequences.
        max_length: int, maximum number of tokens, including `<eos>`.
        beam: hypotheses kept for each sequence.

    Returns:
        ids int32 (batch, max_length) of the most likely hypothesis found, its log-probability float32 (batch,) in nats.
    """
    rows = ops.arange(batch * beam, dtype="int32") // beam

    def body(t, tokens, state, ids, scores):
        logits, state = step(ops.reshape(tokens, (-1,)), state)
        log_probs = mask_special_tokens(ops.log_softmax(ops.cast(logits, "float32"), axis=-1))
        vocab_size = log_probs.shape[-1]
        log_probs = ops.reshape(log_probs, (batch, beam, vocab_size))
        ended = ops.logical_or(ops.equal(tokens, EOS), ops.equal(tokens, PAD))
        # A hypothesis that has ended continues with padding, at no cost.
        only_pad = ops.where(ops.equal(ops.arange(vocab_size), PAD), 0.0, -1e9)
        log_probs = ops.where(ops.expand_dims(ended, -1), only_pad, log_probs)
        total = ops.reshape(ops.expand_dims(scores, -1) + log_probs, (batch, beam * vocab_size))
        scores, best = ops.top_k(total, beam)
        parent, tokens = ops.cast(best // vocab_size, "int32"), ops.cast(best % vocab_size, "int32")
        flat = ops.reshape(parent + beam * ops.expand_dims(ops.arange(batch, dtype="int32"), -1), (-1,))
        state = tuple(ops.take(s, flat, axis=0) for s in state)
        ids = ops.reshape(
            ops.take(ops.reshape(ids, (batch * beam, max_length)), flat, axis=0), (batch, beam, max_length)
        )
        ids = ops.where(ops.equal(positions, t), ops.expand_dims(tokens, -1), ids)
        return t + 1, tokens, state, ids, scores

    def going(t, tokens, state, ids, scores):
        alive = ops.logical_and(ops.not_equal(tokens, EOS), ops.not_equal(tokens, PAD))
        return ops.logical_and(t < max_length, ops.any(alive))

    positions = ops.arange(max_length, dtype="int32")
    state = tuple(ops.take(s, rows, axis=0) for s in state)
    # All hypotheses but the first start out impossible; otherwise the beam would hold copies of one hypothesis.
    scores = ops.tile(ops.where(ops.equal(ops.arange(beam), 0), 0.0, -1e9)[None], (batch, 1))
    tokens = ops.full((batch, beam), START, dtype="int32")
    ids = ops.full((batch, beam, max_length), PAD, dtype="int32")
    *_, ids, scores = ops.while_loop(going, body, (ops.zeros((), "int32"), tokens, state, ids, scores))
    return ids[:, 0], scores[:, 0]
