"""What a critic is given of sentences that a generator writes, so that the generator can learn from its scores.

Sentences are ids (batch, positions); as a critic is given them they are embedded words
(batch, positions, width) and which places they have, bool (batch, positions).
"""

import math

from scriptorium.data.vocabulary import EOS, PAD, START
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import in_parts
from scriptorium.nn.fast import softmax_nll
from scriptorium.text_gan.critic import present

from keras import ops


def nll_given(inputs, generator, training=False):
    """Returns -log p in nats of each word of `ids`, 0 behind the end, given `noise`: (batch, time)."""
    ids = inputs["ids"]
    states = generator.states(ids, inputs["noise"], training)
    return softmax_nll(states, generator.kernel, generator.bias, ids, ids != PAD, transposed=True)


def as_rows(generator, critic, noise, ids):
    """Returns what the softmax has, on average, where each word of ids was drawn: embedded words."""

    def embedded(inputs):
        states = generator.states(inputs["ids"], inputs["noise"])
        return critic.embed_rows(ops.softmax(sampling.only_words(generator.logits(states))))

    rows, there = in_parts(embedded, {"ids": ids, "noise": noise}), present(ids)
    return ops.where(there[..., None], rows, critic.embed(ops.zeros_like(ids)))


def straight_through(generator, critic, noise, ids):
    """Returns the words that were drawn, with the gradient of `as_rows`, and which places they have."""
    rows = as_rows(generator, critic, noise, ids)
    return critic.embed(ids) + rows - ops.stop_gradient(rows), present(ids)


def words_and_length(generator, critic, noise, ids):
    """Tells which words a sentence has from how long it is: what a gradient can say, and what only scores can.

    A gradient that holds the words after a place says nothing of an end there, after which none of them would stand. So
    it is given the softmax's mean over words where a word was drawn, and none where the end was.

    Returns:
        Embedded words with their gradient, which places they have, and -log p of the length in nats, (batch,).
    """

    def parted(inputs):
        return parted_of(critic, generator.logits(generator.states(inputs["ids"], inputs["noise"])), inputs["ids"])

    rows, nll = in_parts(parted, {"ids": ids, "noise": noise})
    return critic.embed(ids) + rows - ops.stop_gradient(rows), present(ids), nll


def parted_of(critic, logits, ids):
    """Returns what `words_and_length` makes of logits (batch, positions, vocab_size).

    That is the mean embedded words, 0 where none was drawn, and -log p of the length.
    """
    rows = ops.softmax(sampling.only_words(logits))
    end, is_word = ops.clip(rows[..., EOS], 1e-7, 1 - 1e-6), ids > EOS
    nll = ops.where(ids == EOS, -ops.log(end), ops.where(is_word, -ops.log1p(-end), 0.0))
    # The mean over all words but the end, from that over all.
    others = critic.embed_rows(rows) - end[..., None] * critic.vectors()[EOS]
    words = others / (1 - end[..., None]) * ops.cast(is_word, "float32")[..., None]
    return words, ops.sum(nll, axis=1)


def through_all(generator, critic, noise, uniform, temperature):
    """Writes by straight-through Gumbel-softmax (Jang et al. 2017): each word's gradient goes into the words after it.

    Args:
        generator, critic: `word_writer.Generator`, `critic.Critic`.
        noise: of the generator.
        uniform: float (positions, batch, vocab_size), draws between 0 and 1, neither of them included.
        temperature: of the softmax whose gradient is taken.

    Returns:
        Embedded words with their gradient, and which places they have.
    """
    batch, positions = ops.shape(noise["style"])[0], generator.positions
    scale = math.sqrt(generator.options["embedding_dim"])
    places, vectors = ops.arange(positions, dtype="int32"), critic.vectors()

    def body(t, carry):
        word, token, written, ids, *state = carry
        logits, state = generator.step(word, tuple(state))
        noisy = sampling.only_words(logits) - ops.log(-ops.log(uniform[t]))
        ended = ops.logical_or(ops.equal(token, EOS), ops.equal(token, PAD))
        token = ops.where(ended, PAD, ops.cast(ops.argmax(noisy, axis=-1), "int32"))
        soft = ops.softmax(noisy / temperature) * ops.cast(ops.logical_not(ended), "float32")[:, None]

        def through(hard, kernel):
            mixed = ops.matmul(ops.cast(soft, hard.dtype), ops.cast(kernel, hard.dtype))
            return hard + mixed - ops.stop_gradient(mixed)

        word = through(generator.embed(token), scale * ops.convert_to_tensor(generator.embedding.embeddings))
        here = ops.equal(places, t)[None]
        written = ops.where(here[..., None], through(critic.embed(token), vectors)[:, None], written)
        return (word, token, written, ops.where(here, token[:, None], ids), *state)

    first, blank = ops.full((batch,), START, "int32"), ops.zeros((batch, positions), "int32")
    carry = (generator.embed(first), first, critic.embed(blank), blank, *generator.start(noise))
    _, _, written, ids, *_ = ops.fori_loop(0, positions, body, carry)
    return written, present(ids)


def reinforced(scores, nll):
    """Returns the mean of a loss (batch,) whose gradient is the score function's (Williams 1992).

    The reward of a sentence is its score (batch,) by a critic, shifted and scaled to mean 0 and variance 1.

    Args:
        scores: float (batch,), without gradient.
        nll: -log p of what was drawn, in nats, (batch,).
    """
    return ops.mean((scores - ops.mean(scores)) / (ops.std(scores) + 1e-6) * nll)
