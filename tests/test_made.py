"""The autoregressive density: what sees what, its inverse, and that it is a density."""

import keras
import numpy as np
import pytest
from keras import ops

import made


def prior(n, positions=0, hidden=(32, 24)):
    keras.utils.set_random_seed(1)
    layer = made.MADE(n, list(hidden), positions)
    layer(np.zeros((1, max(positions, 3), n), "float32"))
    random = np.random.default_rng(2)
    for weight in layer.weights:
        weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape).astype("float32"))
    return layer


@pytest.mark.parametrize("positions", [0, 4])
def test_a_number_depends_on_those_before_it_alone(positions):
    layer, n = prior(6, positions), 6
    z = np.random.default_rng(3).normal(size=(1, 4, n)).astype("float32")
    base = [ops.convert_to_numpy(x) for x in layer.mean_and_log_deviation(z)]
    depends = np.zeros((2, n, n), bool)
    for i in range(n):
        moved = z.copy()
        moved[0, 2, i] += 1
        for k, found in enumerate(layer.mean_and_log_deviation(moved)):
            difference = np.abs(ops.convert_to_numpy(found) - base[k])[0]
            depends[k, :, i] = difference[2] > 1e-6
            assert not difference[[0, 1, 3]].any()
    for k in range(2):
        np.testing.assert_array_equal(depends[k], np.tril(np.ones((n, n), bool), -1))


@pytest.mark.parametrize("n, positions, hidden", [(6, 0, (32, 24)), (6, 4, (5, 3)), (1, 0, (4, 4)), (128, 4, (64, 64))])
def test_the_inverse_gives_back_what_it_was_given(n, positions, hidden):
    layer = prior(n, positions, hidden)
    u = np.random.default_rng(3).normal(size=(2, 4, n)).astype("float32")
    z = layer.inverse(u)
    mean, log_deviation = (ops.convert_to_numpy(x) for x in layer.mean_and_log_deviation(z))
    np.testing.assert_allclose((z - mean) / np.exp(log_deviation), u, atol=1e-3)


def test_the_density_of_two_numbers_sums_to_one():
    layer, edge = prior(2), 14.0
    axis = np.linspace(-edge, edge, 401, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    total = np.exp(ops.convert_to_numpy(layer(grid)).astype("float64")).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=0.02)


def test_weights_of_the_reference():
    layer = made.MADE(128, [512, 512])
    layer(np.zeros((1, 3, 128), "float32"))
    assert layer.count_params() == 460_032
