"""Initial values counted in the corpus: frequencies of words and lengths, and word vectors."""

from scriptorium.data.vocabulary import EOS
from scriptorium.nn.mirrored import array_of
from scriptorium.text_gan.noise import numpy_noise

import numpy as np
from keras import ops

NEIGHBORS = 1000  # word vectors count this many of the most frequent words as neighbors


def init_from_counts(generators, sequences, seed):
    """Makes untrained generators write words and lengths as often as they occur in `Sequences`.

    Args:
        generators: list of `text_gan.Generator` or None.
        sequences: `Sequences`.
        seed: int, for the random sentences that the end's logit is fitted on.
    """
    random = np.random.default_rng(seed)
    for generator in filter(None, generators):
        words = np.bincount(sequences.ids, minlength=generator.bias.shape[0])
        lengths = np.bincount(sequences.lengths, minlength=generator.positions + 1)
        set_softmax(generator, words, lengths, random)


def set_softmax(generator, counts, lengths, random):
    """Sets the softmax of an untrained generator: word probabilities from counts, the end's from sentence lengths.

    Args:
        generator: `text_gan.Generator`.
        counts: int (vocab_size,), how often each word occurs in a corpus.
        lengths: int (positions + 1,), how many sentences have this many words, including the end.
        random: `numpy.random.Generator`, for the sentences that the end's logit is fitted on.
    """
    shares = (counts + 0.1) / (counts + 0.1).sum()
    generator.bias.assign(np.log(shares))
    # The share of the sentences that end at a position they reach, as a logit against all other words.
    reach = lengths[::-1].cumsum()[::-1][1:]
    ends = (lengths[1:] + 0.1) / (reach + 0.2)
    logit = np.log(ends / (1 - ends)) - np.log(shares[EOS] / (1 - shares[EOS]))
    # The weights of the end are a regression of that logit on the states of random sentences.
    words = np.where(np.arange(len(shares)) <= EOS, 0, shares)
    ids = random.choice(len(shares), (128, generator.positions), p=words / words.sum()).astype("int32")
    shapes = generator.noise_shapes(128)
    noise = {name: numpy_noise(shape, generator.noise_kind, random) for name, shape in shapes.items()}
    states = np.array(ops.convert_to_numpy(ops.cast(generator.states(ids, noise), "float32")), "float64")
    states = states.reshape(-1, states.shape[-1])
    squares = states.T @ states + 1e-3 * len(states) * np.eye(states.shape[-1])
    kernel = array_of(generator.kernel)
    kernel[EOS] = np.linalg.solve(squares, states.T @ np.tile(logit, 128))
    generator.kernel.assign(kernel)


def ppmi_vectors(sequences, vocab_size, width):
    """Finds word vectors that are similar for words with similar neighbors.

    They are principal components of the positive pointwise mutual information of words and their neighbors.

    Args:
        sequences: `Sequences`.
        vocab_size: rows of the result.
        width: columns, the components with the largest variance.

    Returns:
        float32 (vocab_size, width), with a root mean square length of 1.
    """
    most = min(NEIGHBORS, vocab_size)
    counts = np.zeros((vocab_size, 2 * most), "float32")
    before, after = sequences.ids[:-1].astype(int), sequences.ids[1:].astype(int)
    within = before != EOS
    for side, (words, others) in enumerate(((after, before), (before, after))):
        kept = within & (others < most)
        np.add.at(counts, (words[kept], side * most + others[kept]), 1)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / max(1.0, float(counts.sum()))
    matrix = np.log(np.maximum(counts, 1e-9) / np.maximum(expected, 1e-9)).clip(min=0)
    matrix -= matrix.mean(axis=0)
    _, directions = np.linalg.eigh(matrix.T @ matrix)  # the smallest first
    vectors = np.zeros((vocab_size, width), "float32")
    components = matrix @ directions[:, ::-1][:, :width]
    vectors[:, : components.shape[1]] = components
    return vectors / np.sqrt(np.mean(np.sum(vectors**2, axis=1)) + 1e-12)
