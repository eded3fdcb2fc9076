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
