"""Scores on posteriors and texts whose right values are known."""

from scriptorium.scores import metrics

import numpy as np
import pytest


def test_perplexity_counts_tokens_not_batches():
    metric = metrics.Perplexity()
    metric.update_state(np.array([10.0, 2.0]), np.array([[True, True], [True, False]]))
    metric.update_state(np.array([3.0]), np.array([[True, True]]))
    assert float(metric.result()) == pytest.approx(np.exp(15 / 5), rel=1e-5)


def test_perplexity_of_a_huge_bound_is_a_number():
    metric = metrics.Perplexity()
    metric.update_state(np.array([9000.0]), np.array([[True, True]]))
    assert np.isfinite(float(metric.result()))


def test_active_units_of_constructed_posteriors():
    z_mean = np.zeros((1000, 4), "float32")
    z_mean[:, 1] = np.random.default_rng(1).normal(size=1000)
    z_mean[:, 2] = np.random.default_rng(2).normal(0, 0.05, 1000)
    z_mean[:, 3] = 7.0  # far from the prior, but the same for all texts
    assert metrics.active_units(z_mean) == 1
    metric = metrics.ActiveUnits(4)
    for part in np.split(z_mean, 4):
        metric.update_state(part)
    assert float(metric.result()) == 1


def test_mutual_information_of_constructed_posteriors():
    random, n = np.random.default_rng(1), 400
    collapsed = np.zeros((n, 2))
    z = random.normal(size=(n, 2))
    assert metrics.mutual_information(z, collapsed, collapsed) == pytest.approx(0, abs=1e-9)
    # Posteriors that do not touch tell every text apart: log n, the most that can be.
    apart = np.stack([np.arange(n) * 100.0, np.zeros(n)], axis=1)
    assert metrics.mutual_information(apart + z, apart, collapsed, chunk=64) == pytest.approx(np.log(n), rel=1e-6)
    # Two groups of equal posteriors hold one bit.
    groups = np.where(np.arange(n) % 2, 50.0, -50.0)[:, None]
    draws = groups + random.normal(size=(n, 1))
    assert metrics.mutual_information(draws, groups, np.zeros((n, 1))) == pytest.approx(np.log(2), rel=1e-6)


def test_mutual_information_is_at_most_kl():
    random = np.random.default_rng(3)
    z_mean, z_log_var = random.normal(0, 0.8, (500, 3)), np.full((500, 3), -1.0)
    z = z_mean + np.exp(0.5 * z_log_var) * random.normal(size=z_mean.shape)
    kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var).sum(1).mean()
    assert 0 < metrics.mutual_information(z, z_mean, z_log_var) <= kl


def test_log_mean_exp_of_large_values():
    np.testing.assert_allclose(metrics.log_mean_exp([[-2000.0, -2000.0], [0.0, np.log(3.0)]]), [-2000, np.log(2)])


def test_bleu_and_exact_match():
    reference = [["a", "b", "c", "d", "e"], ["f", "g", "h", "i", "j"]]
    assert metrics.bleu_4(reference, reference) == pytest.approx(1)
    assert metrics.bleu_4(reference, [["x"] * 5, ["y"] * 5]) < 0.05
    assert metrics.bleu_4(reference, [[], []]) == 0
    assert metrics.exact_match(reference, [reference[0], ["f"]]) == 0.5
