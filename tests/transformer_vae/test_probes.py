"""Classifiers of codes and of words: they find what can be predicted, and nothing where there is nothing."""

from scriptorium.transformer_vae import probes

import numpy as np
import pytest


def halves(values):
    return {"train": values[:1000], "test": values[1000:]}


def test_codes_next_to_words_and_the_majority():
    random = np.random.default_rng(1)
    words = {"news": ["bank", "vote", "war"], "fun": ["cat", "quiz", "star"]}
    labels = ["news" if i % 3 else "fun" for i in range(1200)]
    texts = [" ".join(random.choice(words[label], 4)) for label in labels]
    codes = random.normal(size=(1200, 8)).astype("float32") + np.array([[label == "fun"] for label in labels])
    labels[0] = labels[1100] = ""  # a text without a label does not count
    found = probes.accuracies(halves(codes), halves(texts), halves(labels))
    assert found["label_accuracy_words"] == 1.0 and 0.8 < found["label_accuracy"] < 1.0
    assert found["majority"] == pytest.approx(2 / 3, abs=0.01)


def test_three_classes_that_lines_part_are_found_and_shuffled_ones_are_not():
    random = np.random.default_rng(1)
    x = random.normal(size=(1200, 5)).astype("float32") * [1, 1, 100, 1, 1]  # scales do not matter
    labels = np.where(x[:, 0] + 2 * x[:, 1] > 0.5, "above", np.where(x[:, 2] > 100, "aside", "below"))
    texts = halves(["a text"] * 1200)
    found = probes.accuracies(halves(x), texts, halves(labels.tolist()))
    assert found["label_accuracy"] > 0.9 and found["label_accuracy_words"] == found["majority"] < 0.6
    shuffled = halves(random.permutation(labels).tolist())
    assert probes.accuracies(halves(x), texts, shuffled)["label_accuracy"] < 0.65


def test_one_label_alone_gives_no_accuracy():
    texts = halves(["a", "b"] * 600)
    assert probes.accuracies(halves(np.zeros((1200, 2))), texts, halves(["x"] * 1200)) == {}
    assert probes.accuracies(halves(np.zeros((1200, 2))), texts, halves(["x", "y"] * 500 + [""] * 200)) == {}
