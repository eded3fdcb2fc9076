"""Paths between two points of a latent space, as numpy arrays."""

import numpy as np


def lerp(start, end, shares):
    """Returns points at `shares` (steps,) of the straight line between two arrays of one shape: (steps, ...)."""
    shares = np.reshape(np.asarray(shares, "float32"), (-1, *[1] * np.ndim(start)))
    return (1 - shares) * start + shares * end


def slerp(start, end, shares):
    """Returns points on the great circle between two arrays, over the last axis (Shoemake 1985): (steps, ...).

    The length changes linearly from that of `start` to that of `end`. If the two are parallel or one is 0, the path is
    a straight line.
    """
    lengths = [np.linalg.norm(point, axis=-1, keepdims=True) for point in (start, end)]
    cosine = np.sum(start * end, -1, keepdims=True) / np.maximum(lengths[0] * lengths[1], 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    shares = np.reshape(np.asarray(shares, "float32"), (-1, *[1] * np.ndim(start)))
    sine = np.sin(angle)
    curved = (sine > 1e-4) & (lengths[0] > 0) & (lengths[1] > 0)
    safe, unit = np.where(curved, sine, 1), [np.maximum(length, 1e-12) for length in lengths]
    direction = np.sin((1 - shares) * angle) / safe * start / unit[0] + np.sin(shares * angle) / safe * end / unit[1]
    return np.where(curved, direction * ((1 - shares) * lengths[0] + shares * lengths[1]), lerp(start, end, shares))
