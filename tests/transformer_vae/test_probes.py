"""Support vector machines on codes and on words, on what can be told and what cannot."""

from scriptorium.transformer_vae import probes

import numpy as np
import pytest


def test_tf_idf_against_its_formula():
    (ids, weights), (_, other) = probes.tf_idf(["a cat", "a dog dog"], ["a bird"])
    found = {round(float(w), 5) for w in weights[1][ids[1] > 0]}
    rare, common = 1 + np.log(2), 1.0  # in one of two texts, in both
    wanted = np.array([common, (1 + np.log(2)) * rare, rare, rare])  # a, dog twice, "a dog", "dog dog"
    wanted = {round(float(w), 5) for w in wanted / np.linalg.norm(wanted)}
    assert found == wanted and np.linalg.norm(weights, axis=1) == pytest.approx([1, 1])
    assert other[0][other[0] > 0].tolist() == [1.0]  # of "a bird" only "a" is known


def test_the_machine_tells_what_a_line_parts():
    random = np.random.default_rng(1)
    x = random.normal(size=(1200, 5)).astype("float32")
    labels = np.where(x[:, 0] + 2 * x[:, 1] > 0.5, "above", np.where(x[:, 2] > 1, "aside", "below"))
    told = probes.svm(x[:1000], labels[:1000].tolist(), x[1000:])
    assert np.mean(np.array(told) == labels[1000:]) > 0.85
    shuffled = random.permutation(labels[:1000]).tolist()
    assert np.mean(np.array(probes.svm(x[:1000], shuffled, x[1000:])) == labels[1000:]) < 0.65


def test_codes_beside_words_and_the_majority():
    random = np.random.default_rng(1)
    words = {"news": ["bank", "vote", "war"], "fun": ["cat", "quiz", "star"]}
    labels = ["news" if i % 3 else "fun" for i in range(600)]
    texts = [" ".join(random.choice(words[label], 4)) for label in labels]
    codes = random.normal(size=(600, 8)).astype("float32") + np.array([[label == "fun"] for label in labels])
    labels[0] = ""
    parts = {"train": slice(0, 400), "test": slice(400, 600)}
    found = probes.of_codes(
        *({split: values[part] for split, part in parts.items()} for values in (codes, texts, labels))
    )
    assert found["svm_tf_idf"] == 1.0 and 0.8 < found["svm_code"] < 1.0
    assert found["majority"] == pytest.approx(2 / 3, abs=0.01)
