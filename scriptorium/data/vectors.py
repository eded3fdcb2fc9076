"""Reads pretrained word vectors."""

from scriptorium import UserError

import numpy as np


def read_vectors(path, vocabulary, matrix):
    """Reads pretrained word vectors.

    Args:
        path: a text file with a token and its numbers on each line (GloVe, word2vec), or a .npy file of floats
            (vocab_size, width) in id order.
        vocabulary: `Vocabulary`.
        matrix: float (vocab_size, width), used for tokens that are not in the file.

    Returns:
        float32 (vocab_size, width), and how many tokens were in the file.
    """
    matrix = np.array(matrix, "float32")
    try:
        if str(path).endswith(".npy"):
            values = np.load(path, allow_pickle=False)
            if values.shape != matrix.shape:
                raise UserError(f"{path} holds an array of {values.shape}; the model needs {matrix.shape}")
            return values.astype("float32"), len(values)
        found = 0
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                token, *values = line.rstrip().split(" ")
                if number == 1 and len(values) == 1:  # word2vec's header: count and width
                    continue
                if len(values) != matrix.shape[1]:
                    raise UserError(
                        f"{path}, line {number}: {len(values)} numbers, but --embedding-dim is {matrix.shape[1]}"
                    )
                if token in vocabulary.index:
                    matrix[vocabulary.index[token]] = np.array(values, "float32")
                    found += 1
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read word vectors: {error}") from error
    return matrix, found


def start_from_vectors(path, vocabulary, embeddings):
    """Assigns pretrained word vectors to the variable of an embedding layer; see `read_vectors`.

    Returns:
        str, a note for the description of the corpus.
    """
    matrix, found = read_vectors(path, vocabulary, embeddings.numpy())
    embeddings.assign(matrix)
    return f"; {found:,} word vectors from {path}"
