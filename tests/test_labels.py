"""Labels of texts: classes, and what is unknown."""

import numpy as np
import pytest

from labels import Labels
from util import UserError


def test_classes_of_two_kinds():
    labels = Labels.of(["it\tf", "", "en\tm", "it\t"])
    assert labels.kinds == {"label_1": ["en", "it"], "label_2": ["f", "m"]}
    assert [labels.encode(label) for label in ("it\tf", "", "fr\tm", "en")] == [[2, 1], [0, 0], [0, 2], [1, 0]]
    assert labels.text([2, 1]) == "it\tf" and labels.text([0, 2]) == "\tm"
    np.testing.assert_array_equal(labels.encode_all(["it\tf", "en\tm"], 2), [[2, 1], [1, 2]])
    np.testing.assert_array_equal(labels.encode_all(None, 2), np.zeros((2, 2)))


def test_what_is_asked_for():
    labels = Labels.of(["it\tf", "en\tm"])
    assert labels.asked("it") == [2, 0] and labels.asked("m, en") == [1, 2]
    with pytest.raises(UserError, match="en, it, f, m"):
        labels.asked("fr")


def test_texts_without_labels():
    labels = Labels.of(None)
    assert labels.kinds == {} and labels.encode("x") == [0] and labels.encode_all(None, 3).shape == (3, 1)
    with pytest.raises(UserError, match="without labels"):
        labels.asked("it")
