"""Reads pretrained word vectors."""

import zipfile

from scriptorium import UserError
from scriptorium.data import files
from scriptorium.nn.mirrored import array_of

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

    Raises:
        UserError: the file cannot be read, or its vectors have another width.
    """
    matrix = np.array(matrix, "float32")
    if str(path).lower().endswith(".npy"):
        values = _read_array(path)
        if values.shape != matrix.shape:
            raise UserError(f"{files.shown(path)} holds an array of {values.shape}; the model needs {matrix.shape}")
        return values, len(values)
    width, found = matrix.shape[1], set()
    for number, (_, line) in enumerate(files.rows(path), 1):
        # A token may hold spaces: the numbers are the last fields.
        fields = [field for field in line.rstrip("\r\n").replace("\t", " ").split(" ") if field]
        if not fields or (number == 1 and len(fields) == 2 and all(map(str.isdecimal, fields))):
            continue  # word2vec's header: count and width
        token, numbers = " ".join(fields[:-width]), fields[-width:]
        if not token or (len(fields) > width + 1 and all(map(_is_number, fields[1:]))):
            count = len(fields) - 1
            what = f"{count} number(s), but --embedding-dim is {width}"
            raise UserError(f"{files.shown(path)}, line {number}: {what}")
        if token in vocabulary.index:
            try:
                values = np.array(numbers, "float32")
            except ValueError:
                values = np.full(1, np.nan)
            if not np.isfinite(values).all():
                raise UserError(f"{files.shown(path)}, line {number}: the last {width} fields are not all numbers")
            matrix[vocabulary.index[token]] = values
            found.add(token)
    return matrix, len(found)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_array(path):
    """Returns the array of a .npy file as float32."""
    with files.open_file(path) as file:
        try:
            values = np.load(file, allow_pickle=False)
            values = values.astype("float32") if isinstance(values, np.ndarray) else None
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{files.shown(path)}: cannot read word vectors: {error}") from None
    if values is None or not np.isfinite(values).all():
        raise UserError(f"{files.shown(path)}: cannot read word vectors: it is not an array of finite numbers")
    return values


def start_from_vectors(path, vocabulary, embeddings):
    """Assigns pretrained word vectors to the variable of an embedding layer; see `read_vectors`.

    Returns:
        str, a note for the description of the corpus.

    Raises:
        UserError: the file cannot be read, or its vectors have another width.
    """
    matrix, found = read_vectors(path, vocabulary, array_of(embeddings))
    embeddings.assign(matrix)
    return f"; {found:,} word vectors from {files.shown(path)}"
