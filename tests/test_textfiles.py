"""Pretrained word vectors from files."""

import numpy as np
import pytest

import textfiles
import util


def test_word_vectors_from_text_and_npy(tmp_path):
    vocabulary = util.Vocabulary.build(["a b"], "space")
    (tmp_path / "v.txt").write_text("2 2\na 1 2\nz 3 4\n")
    matrix, found = textfiles.read_vectors(tmp_path / "v.txt", vocabulary, np.zeros((6, 2)))
    assert found == 1 and matrix[4].tolist() == [1, 2] and not matrix[5].any()
    np.save(tmp_path / "v.npy", np.ones((6, 2)))
    assert textfiles.read_vectors(tmp_path / "v.npy", vocabulary, np.zeros((6, 2)))[0].sum() == 12
    for bad in ("v.npy", "v.txt", "missing.txt"):
        with pytest.raises(util.UserError):
            textfiles.read_vectors(tmp_path / bad, vocabulary, np.zeros((6, 3)))
