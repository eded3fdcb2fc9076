"""How gradients get from the critic to the generator through discrete words.

Sentences are ids (batch, positions). A critic reads them as embedded words (batch, positions, width) with a mask of the
positions in use, bool (batch, positions).
"""

import math

from scriptorium.data.vocabulary import EOS, PAD, START
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import in_halves
from scriptorium.nn.fast import softmax_nll

from keras import ops


def sentence_mask(ids):
    """Mask of the tokens up to and including `<eos>`: ids (batch, time) -> bool (batch, time)."""
    ends = ops.cast(ids == EOS, "int32")
    return ops.logical_and(ops.cumsum(ends, axis=1) - ends == 0, ids != PAD)


def nll_given(inputs, generator, training=False):
    """Returns -log p in nats of each word of `ids` given `noise`, 0 after the end: (batch, time)."""
    ids = inputs["ids"]
    states = generator.states(ids, inputs["noise"], training)
    return softmax_nll(states, generator.kernel, generator.bias, ids, ids != PAD, transposed=True)


def softmax_mean(generator, critic, noise, ids):
    """Returns the mean embedding under the softmax at each position of ids, as embedded words."""

    def embedded(inputs):
        states = generator.states(inputs["ids"], inputs["noise"])
        return critic.embed_rows(ops.softmax(sampling.mask_special_tokens(generator.logits(states))))

    rows, mask = in_halves(embedded, {"ids": ids, "noise": noise}), sentence_mask(ids)
    return ops.where(mask[..., None], rows, critic.embed(ops.zeros_like(ids)))


def straight_through(generator, critic, noise, ids):
    """Returns the sampled words with the gradient of `softmax_mean`, and their mask."""
    rows = softmax_mean(generator, critic, noise, ids)
    return critic.embed(ids) + rows - ops.stop_gradient(rows), sentence_mask(ids)


def words_and_length(generator, critic, noise, ids):
    """Separates the words of a sentence, which get a gradient, from its length, which only scores can train.

    A gradient that keeps the following words fixed cannot tell what an end here would be worth, since no word would
    follow it. So words get the gradient of the softmax's mean over words, and ends get none.

    Returns:
        Embedded words with their gradient, their mask, and -log p of the length in nats, (batch,).
    """

    def split(inputs):
        return split_words_and_length(
            critic, generator.logits(generator.states(inputs["ids"], inputs["noise"])), inputs["ids"]
        )

    rows, nll = in_halves(split, {"ids": ids, "noise": noise})
    return critic.embed(ids) + rows - ops.stop_gradient(rows), sentence_mask(ids), nll


def split_words_and_length(critic, logits, ids):
    """Computes the two parts of `words_and_length` from logits (batch, positions, vocab_size).

    They are the mean embedded words, 0 where no word was sampled, and -log p of the length.
    """
    rows = ops.softmax(sampling.mask_special_tokens(logits))
    end, is_word = ops.clip(rows[..., EOS], 1e-7, 1 - 1e-6), ids > EOS
    nll = ops.where(ids == EOS, -ops.log(end), ops.where(is_word, -ops.log1p(-end), 0.0))
    # The mean over all words but the end, computed from the mean over all.
    others = critic.embed_rows(rows) - end[..., None] * critic.vectors()[EOS]
    words = others / (1 - end[..., None]) * ops.cast(is_word, "float32")[..., None]
    return words, ops.sum(nll, axis=1)


def gumbel_straight_through(generator, critic, noise, uniform, temperature):
    """Samples by straight-through Gumbel-softmax (Jang et al. 2017): gradients pass from a word to the words after it.

    Args:
        generator, critic: `text_gan.Generator`, `text_gan.Critic`.
        noise: noise of the generator.
        uniform: float (positions, batch, vocab_size), draws strictly between 0 and 1.
        temperature: temperature of the softmax that gives the gradient.

    Returns:
        Embedded words with their gradient, and their mask.
    """
    batch, positions = ops.shape(noise["style"])[0], generator.positions
    scale = math.sqrt(generator.width)
    places, vectors = ops.arange(positions, dtype="int32"), critic.vectors()

    def body(t, carry):
        word, token, written, ids, *state = carry
        logits, state = generator.step_embedded(word, tuple(state))
        noisy = sampling.mask_special_tokens(logits) - ops.log(-ops.log(uniform[t]))
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
    return written, sentence_mask(ids)


def reinforce_loss(scores, nll):
    """Returns a scalar loss whose gradient is REINFORCE's (Williams 1992).

    The reward of a sentence is its score by the critic, normalized to mean 0 and variance 1. Scores that differ in
    their last digits alone, as those of equal sentences, give next to no reward.

    Args:
        scores: float (batch,), without gradient.
        nll: -log p of the sample, in nats, (batch,).
    """
    return ops.mean((scores - ops.mean(scores)) / (ops.std(scores) + 1e-4) * nll)
