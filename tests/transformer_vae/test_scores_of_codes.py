"""Scores of autoencoders and checks of texts, against closed forms and counted examples."""

from scriptorium.data.batches import Sequences
from scriptorium.transformer_vae import scores as code_scores
from scriptorium.transformer_vae.experiments import is_json, is_python
from scriptorium.transformer_vae.report import CodesReport
from scriptorium.vae import latent, paths

import numpy as np
import pytest


def test_the_interval_of_a_share():
    low, high = code_scores.interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))  # Wilson's, from tables
    assert code_scores.interval(0, 0) == (0.0, 1.0)


def test_the_mmd_tells_what_is_no_draw_from_the_prior():
    random = np.random.default_rng(1)
    value, threshold = code_scores.mmd_test(random.normal(size=(300, 6)), permutations=50)
    assert value < threshold
    value, threshold = code_scores.mmd_test(0.5 * random.normal(size=(300, 6)), permutations=50)
    assert value > 2 * threshold


@pytest.mark.parametrize("kernel", ["imq", "rbf", "reference"])
def test_the_mmd_and_its_threshold_are_those_of_each_permutation(kernel):
    codes = np.random.default_rng(1).normal(0.5, size=(40, 3)).astype("float32")
    found, threshold = code_scores.mmd_test(codes, seed=2, permutations=10, kernel=kernel)
    random = np.random.default_rng(2)
    both = np.concatenate([codes[random.permutation(40)], random.standard_normal((40, 3), "float32")])
    orders = [np.arange(80)] + [random.permutation(80) for _ in range(10)]
    each = [float(latent.mmd(both[order[:40]], both[order[40:]], kernel)) for order in orders]
    assert found == pytest.approx(each[0], abs=1e-5)
    assert threshold == pytest.approx(np.quantile(each[1:], 0.95), abs=1e-5)


def test_the_reference_kernel():
    x = np.array([[0.0, 0.0], [3.0, 0.0]], "float32")
    y = np.array([[0.0, 4.0], [0.0, 4.0]], "float32")
    wanted = np.exp(-9 / 4) + 1 - (np.exp(-16 / 4) + np.exp(-25 / 4))
    assert float(latent.mmd(x, y, "reference")) == pytest.approx(wanted, abs=1e-6)
    assert float(latent.mmd(x, x, "reference")) == pytest.approx(np.exp(-9 / 4) - 1, abs=1e-6)
    assert np.isfinite(float(latent.mmd(x[:1], y[:1])))


def test_walks_leave_the_ends_out():
    z = np.random.default_rng(1).normal(size=(3, 2, 4)).astype("float32")
    between, shares = code_scores.walks(z, [(0, 1), (2, 2)], points=3)
    assert between.shape == (6, 2, 4) and shares.tolist() == [0.25, 0.5, 0.75] * 2
    np.testing.assert_allclose(between[1], paths.slerp(z[0], z[1], [0.5])[0], atol=1e-6)
    np.testing.assert_allclose(between[3:], np.repeat(z[2:], 3, axis=0), atol=1e-5)


def test_noise_is_most_in_the_middle_of_a_walk():
    middle = code_scores.walk_noise(np.array([0.5]), 0.8)[0]
    assert middle / (1 - middle) == pytest.approx(2 * 0.8 / 0.2)
    levels = code_scores.walk_noise(np.array([0, 0.25, 0.5, 0.75, 1]), 0.8) / middle
    assert levels.tolist() == pytest.approx([0, 0.75, 1, 0.75, 0])


@pytest.mark.parametrize(
    ("text", "python", "json"),
    [
        ("x = 1", True, False),
        ("x = (1", False, False),
        ("", False, False),
        ("[1, 2]", True, True),
        ("\0", False, False),
    ],
)
def test_checks(text, python, json):
    assert (is_python(text), is_json(text)) == (python, json)


def test_what_is_shown_comes_from_the_whole_of_the_validation_texts():
    show = CodesReport.__new__(CodesReport)
    show.valid = Sequences.from_list([[4 + i] * (1 + i % 3) for i in range(90)])
    assert [int(ids[0]) - 4 for ids in show.spread(4)] == [0, 29, 59, 89] and len(show.spread(1000)) == 90
