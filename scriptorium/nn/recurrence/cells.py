"""The equations of an LSTM's and a GRU's step, and their gradients: what the loops of each backend run.

The backward loops (`on_tensorflow.py`, `on_jax.py`) compute only the gradients of the gates. The gradient of a kernel
is one large product over all steps after the loop, instead of a small one at every step. Products are in the compute
dtype, gates in float32. `axis` is the axis of units and gates; the other one is the batch.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops


def _lstm(axis, projected, inner, hidden, carry):
    gates = ops.tanh(projected + inner)
    i, f, g, o = ops.split(gates, 4, axis)
    new_carry = 0.5 * ((1 + f) * carry + (1 + i) * g)
    squashed = ops.tanh(new_carry)
    return [ops.cast(0.5 * ((1 + o) * squashed), hidden.dtype), new_carry], [gates, squashed, carry]


def _lstm_gradient(axis, saved, d_hidden, d_carry):
    gates, squashed, carry = saved
    i, f, g, o = ops.split(gates, 4, axis)
    half_hidden = 0.5 * d_hidden
    half = 0.5 * (d_carry + half_hidden * (1 + o) * (1 - squashed * squashed))
    d_gates = ops.concatenate([half * g, half * carry, half * (1 + i), half_hidden * squashed], axis)
    return d_gates * (1 - gates * gates), None, [None, half * (1 + f)]


def _gru(axis, projected, inner, hidden):
    projected, inner = (ops.split(array, 3, axis) for array in (projected, inner))
    update, reset = (ops.tanh(x + h) for x, h in zip(projected[:2], inner[:2], strict=True))
    candidate = ops.tanh(projected[2] + (0.5 + 0.5 * reset) * inner[2])
    before, share = ops.cast(hidden, "float32"), 0.5 + 0.5 * update
    after = share * before + (1 - share) * candidate
    saved = [ops.concatenate([update, reset, candidate], axis), inner[2], before]
    return [ops.cast(after, hidden.dtype)], saved


def _gru_gradient(axis, saved, d_hidden):
    gates, recurrent, before = saved
    update, reset, candidate = ops.split(gates, 3, axis)
    share, through = 0.5 + 0.5 * update, 0.5 + 0.5 * reset
    d_candidate = d_hidden * (1 - share) * (1 - candidate * candidate)
    d_update = 0.5 * d_hidden * (before - candidate) * (1 - update * update)
    d_reset = 0.5 * d_candidate * recurrent * (1 - reset * reset)
    d_projected = ops.concatenate([d_update, d_reset, d_candidate], axis)
    d_inner = ops.concatenate([d_update, d_reset, d_candidate * through], axis)
    return d_projected, d_inner, [d_hidden * share]


class Cell(NamedTuple):
    """The equations of one step, and their gradient.

    The rows of sigmoid gates arrive halved: sigmoid(x) = (1 + tanh(x / 2)) / 2, so one tanh computes all gates.

    Attributes:
        forward: (axis, projected, inner, *states) -> new states, and three float32 arrays for the gradient: one as wide
            as the gates, two as wide as a state.
        gradient: (axis, these arrays, *gradients of the new states) -> gradients of projected, of inner (None: the
            same), and of the old states, without the path through inner (None: nothing).
        scales: the factor on each gate.
    """

    forward: Callable
    gradient: Callable
    scales: tuple


LSTM = Cell(_lstm, _lstm_gradient, (0.5, 0.5, 1.0, 0.5))  # i, f, g, o
GRU = Cell(_gru, _gru_gradient, (0.5, 0.5, 1.0))  # update, reset, candidate
