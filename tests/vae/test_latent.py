"""The pieces of a latent space against their closed forms."""

from scriptorium.vae import latent, paths

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as array
from keras.ops import convert_to_tensor as tensor


def test_kl_closed_form_and_monte_carlo():
    z_mean, z_log_var = np.array([[0.3, -1.2, 0.0]], "float32"), np.array([[0.5, -0.7, 0.0]], "float32")
    kl = array(latent.kl_to_standard_normal(tensor(z_mean), tensor(z_log_var)))
    np.testing.assert_allclose(kl, 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), rtol=1e-6)
    assert kl[0, 2] == 0
    seed = keras.random.SeedGenerator(1)
    z = latent.normal_sample(tensor(np.repeat(z_mean, 200_000, 0)), tensor(np.repeat(z_log_var, 200_000, 0)), seed)
    log_ratio = latent.normal_log_prob(z, tensor(z_mean), tensor(z_log_var)) - latent.normal_log_prob(z)
    assert float(array(log_ratio).mean()) == pytest.approx(float(kl.sum()), abs=0.02)


def test_log_prob_of_a_normal():
    z = np.array([[0.0, 1.0]], "float32")
    expected = -0.5 * (2 * np.log(2 * np.pi) + 1)
    assert float(latent.normal_log_prob(tensor(z))[0]) == pytest.approx(expected, rel=1e-6)


def test_free_bits_stop_the_gradient_below_the_share():
    kl = np.array([[0.1, 3.0], [0.3, 1.0]], "float32")
    assert float(latent.free_bits(kl, 1.0)) == pytest.approx(0.5 + 2.0)
    assert float(latent.free_bits(kl, 0.2)) == pytest.approx(0.2 + 2.0)


def test_the_weight_of_the_kl_follows_the_rate():
    control = latent.RateControl(10.0, initial_weight=0.5, speed=0.02)
    for kl, change in ((10.0, 0.0), (5.0, -0.01), (0.0, -0.02), (15.0, 0.01), (1e6, 0.02)):
        before = float(control.weight())
        control.update(kl)
        assert np.log(float(control.weight()) / before) == pytest.approx(change, abs=1e-6)
    # If the KL is 5 / weight, it reaches the rate at a weight of 0.5.
    control = latent.RateControl(10.0, initial_weight=0.1)
    for _ in range(500):
        control.update(5 / float(control.weight()))
    assert float(control.weight()) == pytest.approx(0.5, rel=0.01)


def test_posterior_norm_has_a_floor_of_kl():
    norm = latent.PosteriorNorm(0.6)
    z_mean = np.random.default_rng(1).normal(3.0, 0.01, (512, 8)).astype("float32")
    # However small the encoder makes its means: with an epsilon of 1e-3 they would keep a third of this spread.
    normed = array(norm(z_mean, training=True))
    np.testing.assert_allclose(normed.std(0), 0.6, rtol=1e-2)
    kl = array(latent.kl_to_standard_normal(tensor(normed), tensor(np.zeros_like(normed)))).sum(-1).mean()
    assert kl >= 8 * 0.36 / 2 * 0.98


def test_posterior_norm_uses_moving_statistics_outside_training():
    norm = latent.PosteriorNorm(0.5, momentum=0.5)
    z_mean = np.random.default_rng(1).normal(2.0, 3.0, (256, 4)).astype("float32")
    for _ in range(30):
        norm(z_mean, training=True)
    alone, together = (array(norm(means, training=False)) for means in (z_mean[:1], z_mean))
    np.testing.assert_allclose(alone, together[:1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.std(together, axis=0), 0.5, rtol=0.02)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_against_loops_and_its_meaning(kernel):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(5, 3)).astype("float32"), random.normal(size=(4, 3)).astype("float32")
    scales = (0.5, 2.0)

    def similarity(a, b):
        square = float(((a - b) ** 2).sum())
        c = [2 * 3 * s for s in scales]
        return sum(v / (v + square) for v in c) if kernel == "imq" else sum(np.exp(-square / v) for v in c)

    within_x = np.mean([similarity(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
    within_y = np.mean([similarity(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
    between = np.mean([similarity(a, b) for a in x for b in y])
    assert float(latent.mmd(x, y, kernel, scales)) == pytest.approx(within_x + within_y - 2 * between, abs=1e-5)
    same = latent.mmd(*random.normal(size=(2, 400, 3)).astype("float32"), kernel)
    far = latent.mmd(
        random.normal(size=(400, 3)).astype("float32"), random.normal(1, 1, (400, 3)).astype("float32"), kernel
    )
    assert abs(float(same)) < 0.05 < float(far)


def test_schedules_at_their_ends():
    assert float(latent.kl_schedule("none", 0, 10, 0.4)) == pytest.approx(0.4)
    linear = [float(latent.kl_schedule("linear", t, 10)) for t in (0, 5, 10, 50)]
    np.testing.assert_allclose(linear, [0, 0.5, 1, 1], atol=1e-6)
    logistic = [float(latent.kl_schedule("logistic", t, 100, 0.8)) for t in (0, 100, 300)]
    np.testing.assert_allclose(logistic, [0, 0.4, 0.8], atol=1e-3)
    cyclical = [float(latent.kl_schedule("cyclical", t, 0, 1.0, 80)) for t in (0, 5, 10, 19, 20, 25, 79)]
    np.testing.assert_allclose(cyclical, [0, 0.5, 1, 1, 0, 0.5, 1], atol=1e-6)
    with pytest.raises(ValueError, match="schedule"):
        latent.kl_schedule("steep", 0, 1)


def test_lerp_and_slerp_keep_their_ends():
    start, end = np.array([3.0, 0.0], "float32"), np.array([0.0, 1.0], "float32")
    for way in (paths.lerp, paths.slerp):
        walk = way(start, end, [0, 0.5, 1])
        np.testing.assert_allclose(walk[[0, 2]], [start, end], atol=1e-6)
    np.testing.assert_allclose(paths.lerp(start, end, [0.5]), [[1.5, 0.5]])
    np.testing.assert_allclose(paths.slerp(start, end, [0.5]), [[2**0.5, 2**0.5]], rtol=1e-5)
    np.testing.assert_allclose(paths.slerp(start, 2 * start, [0.5]), [[4.5, 0]])
    np.testing.assert_allclose(paths.slerp(0 * start, end, [0.5]), [[0, 0.5]])
    tokens = paths.slerp(np.stack([start, end]), np.stack([end, start]), [0.5])
    np.testing.assert_allclose(tokens, np.full((1, 2, 2), 2**0.5), rtol=1e-5)
