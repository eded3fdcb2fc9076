"""Pretrained word vectors from files."""

from scriptorium import UserError
from scriptorium.data.vectors import read_vectors
from scriptorium.data.vocabulary import Vocabulary

import numpy as np
import pytest


def test_word_vectors_from_text_and_npy(tmp_path):
    vocabulary = Vocabulary.build(["a b"], "space")
    (tmp_path / "v.txt").write_text("2 2\na 1 2\nz 3 4\n")
    matrix, found = read_vectors(tmp_path / "v.txt", vocabulary, np.zeros((6, 2)))
    assert found == 1 and matrix[4].tolist() == [1, 2] and not matrix[5].any()
    np.save(tmp_path / "v.npy", np.ones((6, 2)))
    assert read_vectors(tmp_path / "v.npy", vocabulary, np.zeros((6, 2)))[0].sum() == 12
    for bad in ("v.npy", "v.txt", "missing.txt"):
        with pytest.raises(UserError):
            read_vectors(tmp_path / bad, vocabulary, np.zeros((6, 3)))


@pytest.mark.parametrize(
    ("content", "rows", "found"),
    [
        (". . . 0.1 0.2\na 1 2\n", [[1, 2], [0, 0]], 1),
        ("\ufeffa\t1\t2\r\nb 3  4 \r\n", [[1, 2], [3, 4]], 2),
        ("2 2\na 1 2\nb 3 4\n", [[1, 2], [3, 4]], 2),
        ("a 1 2\na 3 4\n\n", [[3, 4], [0, 0]], 1),
    ],
)
def test_word_vectors_however_they_are_written(tmp_path, content, rows, found):
    (tmp_path / "v.txt").write_text(content, encoding="utf-8", newline="")
    matrix, count = read_vectors(tmp_path / "v.txt", Vocabulary.build(["a b"], "space"), np.zeros((6, 2)))
    assert matrix[4:].tolist() == rows and count == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("2 3\na 1 2 3\n", r"line 2: 3 number\(s\), but --embedding-dim is 2"),
        ("a 1 2\nb 1\n", r"line 2: 1 number\(s\)"),
        ("a 1 2\nb 1 x\n", "line 2: the last 2 fields"),
        ("a 1 nan\n", "line 1: the last 2 fields"),
    ],
)
def test_word_vectors_that_cannot_be_read(tmp_path, content, said):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UserError, match=said):
        read_vectors(tmp_path / "v.txt", Vocabulary.build(["a b"], "space"), np.zeros((6, 2)))
