"""Noise of mean 0 and variance 1, as numpy arrays or as tensors."""

import math

import keras

TRUNCATED_DEVIATION = 0.8796  # standard deviation of a normal distribution truncated at 2
KINDS = ("normal", "uniform", "truncated")


def numpy_noise(shape, kind, random):
    """Returns noise, float32, from a `numpy.random.Generator`; kind is one of `KINDS`."""
    if kind == "uniform":
        return random.uniform(-math.sqrt(3), math.sqrt(3), shape).astype("float32")
    normal = random.standard_normal(shape, "float32")
    if kind == "truncated":
        outside = abs(normal) > 2
        while outside.any():
            normal[outside] = random.standard_normal(outside.sum(), "float32")
            outside = abs(normal) > 2
        normal /= TRUNCATED_DEVIATION
    return normal


def tensor_noise(shape, kind, seed):
    """Returns noise, a float32 tensor, from a `keras.random.SeedGenerator`; kind is one of `KINDS`."""
    if kind == "uniform":
        return keras.random.uniform(shape, -math.sqrt(3), math.sqrt(3), seed=seed)
    if kind == "truncated":
        return keras.random.truncated_normal(shape, seed=seed) / TRUNCATED_DEVIATION
    return keras.random.normal(shape, seed=seed)
