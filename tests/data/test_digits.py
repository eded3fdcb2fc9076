"""Digits as text and back, and the network that tells them."""

from scriptorium import UserError
from scriptorium.data import corpora, digits
from scriptorium.transformer_vae.digit_judge import Classifier

import numpy as np
import pytest
from helpers import drawn_digits


@pytest.mark.parametrize(("side", "length"), [(9, 99), (14, 224), (28, 840)])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_picture_comes_back_from_its_text(side, length, direction):
    picture = np.random.default_rng(1).random((side, side)).astype("float32")
    text = digits.to_text(picture, direction)
    assert len(text) == length and text[:2] == {"down": "va", "up": f"^{digits.ROW_LETTERS[side - 1]}"}[direction]
    again = digits.from_text(text)
    assert again.shape == (side, side) and np.abs(again - picture).max() <= 0.5 / len(digits.BRIGHTNESS) + 1e-6


def test_what_is_no_picture():
    text = digits.to_text(np.zeros((9, 9)))
    wrong = [
        "",
        "return x",
        text[:-1],
        text + ".",
        text.replace("vb", "vc"),
        text.replace("vb", "^b"),
        text[:50] + "x" + text[51:],
    ]
    assert digits.from_text(text) is not None and not any(digits.from_text(each) is not None for each in wrong)


def test_smaller_pictures_are_means_of_areas():
    picture = np.zeros((1, 28, 28), "uint8")
    picture[0, :14] = 255
    np.testing.assert_allclose(digits.downscale(picture, 14)[0], np.repeat([[1.0], [0.0]], 7, axis=0) * np.ones(14))
    odd = digits.downscale(picture, 9)[0]
    np.testing.assert_allclose(odd[:, 0], [1, 1, 1, 1, 0.5, 0, 0, 0, 0], atol=1e-5)
    assert odd.mean() == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(digits.downscale(picture[:1] / 255.0, 9)[0], odd, atol=1e-5)


def test_the_network_tells_kinds_of_pictures():
    texts, labels = digits.texts(*drawn_digits(), 9)
    judge = Classifier(texts, labels)
    others, wanted = digits.texts(*drawn_digits(60, seed=1), 9)
    told, sure = judge.classify([*others, "no picture"])
    assert told == [*wanted, ""] and sure[-1] == 0 and sure[:-1].min() > 0.5


def test_digits_from_a_file(tmp_path):
    x, y = drawn_digits()
    np.savez(tmp_path / "own.npz", x=x, y=y)
    np.savez(tmp_path / "mnist.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    for name in ("own", "mnist"):
        found = digits.read(tmp_path / f"{name}.npz")
        assert all(np.array_equal(a, b) for a, b in zip(found, (x, y), strict=True))
    corpus = corpora.load(path=tmp_path / "own.npz", rows=14, direction="up")
    assert corpus.level == "char" and set(corpus.labels["train"]) == {"0", "1", "2"}
    assert len(corpus.train[0]) == 224 and corpus.train[0].startswith("^n")


def test_files_that_hold_no_digits(tmp_path):
    x, y = drawn_digits(3)
    for name, arrays in {
        "names": {"pictures": x, "y": y},
        "shape": {"x": x[:, :20], "y": y},
        "few": {"x": x, "y": y[:2]},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    np.savez(tmp_path / "objects.npz", x=np.array([None, 1]), y=y)
    (tmp_path / "text.npz").write_text("no zip")
    for name in ("names", "shape", "few", "objects", "text", "missing"):
        with pytest.raises(UserError, match=name):
            digits.read(tmp_path / f"{name}.npz")
