"""The autoregressive density: what sees what, its inverse, and that it is a density."""

from scriptorium.names_vae.layers import MADE

import keras
import numpy as np
import pytest
from keras import ops


def density(n, hidden=(32, 24), **settings):
    keras.utils.set_random_seed(1)
    layer = MADE(n, list(hidden), **settings)
    layer.build((None, None, n))
    random = np.random.default_rng(2)
    for weight in layer.weights:
        weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape).astype("float32"))
    return layer


def context_of(layer):
    return np.random.default_rng(4).normal(size=(2, 4, layer.context)).astype("float32") if layer.context else None


@pytest.mark.parametrize("settings", [{}, {"context": 5}])
def test_a_number_depends_on_those_before_it_alone(settings):
    layer, n = density(6, **settings), 6
    z, context = np.random.default_rng(3).normal(size=(2, 4, n)).astype("float32"), context_of(layer)
    base = [ops.convert_to_numpy(x) for x in layer.mean_and_log_deviation(z, context)]
    depends = np.zeros((2, n, n), bool)
    for i in range(n):
        moved = z.copy()
        moved[0, 2, i] += 1
        for k, found in enumerate(layer.mean_and_log_deviation(moved, context)):
            difference = np.abs(ops.convert_to_numpy(found) - base[k])[0]
            depends[k, :, i] = difference[2] > 1e-6
            assert not difference[[0, 1, 3]].any()
    for k in range(2):
        np.testing.assert_array_equal(depends[k], np.tril(np.ones((n, n), bool), -1))


@pytest.mark.parametrize("n, hidden", [(6, (32, 24)), (6, (5, 3)), (1, (4, 4)), (128, (64, 64))])
@pytest.mark.parametrize("settings", [{}, {"context": 5}])
def test_the_inverse_gives_back_what_it_was_given(n, hidden, settings):
    layer = density(n, hidden, **settings)
    u, context = np.random.default_rng(3).normal(size=(2, 4, n)).astype("float32"), context_of(layer)
    z = layer.make_inverse()(u, context)
    mean, log_deviation = (ops.convert_to_numpy(x) for x in layer.mean_and_log_deviation(z, context))
    np.testing.assert_allclose((z - mean) / np.exp(log_deviation), u, atol=1e-3)


def test_a_context_changes_the_density():
    layer, z = density(3, context=2), np.zeros((1, 1, 3), "float32")
    a, b = (float(layer(z, np.full((1, 1, 2), value, "float32"))[0, 0]) for value in (0, 1))
    assert abs(a - b) > 1e-3


def test_the_density_of_two_numbers_sums_to_one():
    layer, edge = density(2), 14.0
    axis = np.linspace(-edge, edge, 401, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    total = np.exp(ops.convert_to_numpy(layer(grid)).astype("float64")).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=0.02)


def test_weights_of_the_reference():
    layer = MADE(128, [512, 512])
    layer(np.zeros((1, 3, 128), "float32"))
    assert layer.count_params() == 460_032
