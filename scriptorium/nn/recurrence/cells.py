"""The equations of an LSTM's and a GRU's step, and their gradients: what the loops of each backend run.

The backward loops (`on_tensorflow.py`, `on_jax.py`) compute only the gradients of the gates. The gradient of a kernel
is one large product over all steps after the loop, instead of a small one at every step. Products are in the compute
dtype, gates in float32.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops


def _lstm(projected, inner, hidden, carry):
    gates = ops.tanh(projected + inner)
    i, f, g, o = ops.split(gates, 4, axis=-1)
    new_carry = 0.5 * ((1 + f) * carry + (1 + i) * g)
    squashed = ops.tanh(new_carry)
    return [ops.cast(0.5 * ((1 + o) * squashed), hidden.dtype), new_carry], [gates, squashed, carry]


def _lstm_gradient(saved, d_hidden, d_carry):
    gates, squashed, carry = saved
    i, f, g, o = ops.split(gates, 4, axis=-1)
    half_hidden = 0.5 * d_hidden
    half = 0.5 * (d_carry + half_hidden * (1 + o) * (1 - squashed * squashed))
    d_gates = ops.concatenate([half * g, half * carry, half * (1 + i), half_hidden * squashed], -1)
    return d_gates * (1 - gates * gates), None, [None, half * (1 + f)]


def _gru(projected, inner, hidden):
    units = hidden.shape[-1]
    gates = ops.tanh(projected[:, : 2 * units] + inner[:, : 2 * units])
    update, reset = ops.split(0.5 + 0.5 * gates, 2, axis=-1)
    recurrent, before = inner[:, 2 * units :], ops.cast(hidden, "float32")
    candidate = ops.tanh(projected[:, 2 * units :] + reset * recurrent)
    after = update * before + (1 - update) * candidate
    return [ops.cast(after, hidden.dtype)], [ops.concatenate([gates, candidate], -1), recurrent, before]


def _gru_gradient(saved, d_hidden):
    gates, recurrent, before = saved
    update, reset, candidate = ops.split(gates, 3, axis=-1)
    update, reset = 0.5 + 0.5 * update, 0.5 + 0.5 * reset
    slopes = 1 - gates * gates
    d_candidate = d_hidden * (1 - update) * slopes[:, -recurrent.shape[-1] :]
    d_update_reset = ops.concatenate([d_hidden * (before - candidate), d_candidate * recurrent], -1)
    d_update_reset *= 0.5 * slopes[:, : -recurrent.shape[-1]]
    d_projected = ops.concatenate([d_update_reset, d_candidate], -1)
    return d_projected, ops.concatenate([d_update_reset, d_candidate * reset], -1), [d_hidden * update]


class Cell(NamedTuple):
    """The equations of one step, and their gradient.

    The columns of sigmoid gates arrive halved: sigmoid(x) = (1 + tanh(x / 2)) / 2, so one tanh computes all gates.

    Attributes:
        forward: (projected, inner, *states) -> new states, and three float32 arrays for the gradient: one as wide as
            the gates, two (batch, units).
        gradient: (these arrays, *gradients of the new states) -> gradients of projected, of inner (None: the same), and
            of the old states, without the path through inner (None: nothing).
        scales: the factor on the columns of each gate.
    """

    forward: Callable
    gradient: Callable
    scales: tuple


LSTM = Cell(_lstm, _lstm_gradient, (0.5, 0.5, 1.0, 0.5))  # i, f, g, o
GRU = Cell(_gru, _gru_gradient, (0.5, 0.5, 1.0))  # update, reset, candidate
