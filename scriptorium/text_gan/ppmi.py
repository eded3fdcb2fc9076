"""Word vectors from counts: principal components of pointwise mutual information."""

from scriptorium.data.vocabulary import EOS

import numpy as np

NEIGHBOURS = 1000  # words, the most frequent ones, that others are told by


def components(sequences, vocab_size, width):
    """Finds vectors for words, alike where their neighbours are: principal components of what stands beside them.

    The matrix has the positive pointwise mutual information of words and their neighbours on either side.

    Args:
        sequences: `util.Sequences`.
        vocab_size: rows of the result.
        width: columns, the components of largest variance.

    Returns:
        float32 (vocab_size, width), of length 1 on average.
    """
    most = min(NEIGHBOURS, vocab_size)
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
    found = matrix @ directions[:, ::-1][:, :width]
    vectors[:, : found.shape[1]] = found
    return vectors / np.sqrt(np.mean(np.sum(vectors**2, axis=1)) + 1e-12)
