"""A recurrence on TensorFlow on a CPU, with the gradient of cells.py.

Inside the loops arrays are (features, batch): a product with the large kernel on its left takes half the time, because
oneDNN need not rearrange the kernel at every step. In wide models XLA fuses all other operations of a step.
"""

import functools

from scriptorium.nn.compiled import has_xla
from scriptorium.nn.recurrence.cells import LSTM

import tensorflow as tf

FUSED_FROM = 2**14  # size of a state, rows times units; operations on smaller ones are faster without XLA


@functools.cache
def _steps(cell, fused):
    """Returns the functions of a step without its products, forward and backward."""

    def forward(kept, projected, product, bias, states):
        inner = tf.cast(product, tf.float32)
        inner = inner if bias is None else inner + tf.cast(bias, tf.float32)[:, None]
        new, saved = cell.forward(0, tf.cast(projected, tf.float32), inner, *states)
        return _select(kept, new, states), saved

    def backward(kept, saved, d_output, through, d_states):
        d_hidden = d_states[0] + tf.cast(through, tf.float32) + tf.cast(d_output, tf.float32)
        d_states = [d_hidden, *d_states[1:]]
        d_gates, d_inner, d_before = cell.gradient(0, saved, *d_states)
        if d_before[0] is None:
            d_before[0] = tf.zeros_like(d_hidden)
        d_gates = [tf.cast(d, d_output.dtype) for d in (d_gates, d_inner) if d is not None]
        d_gates = _select(kept, d_gates, [tf.zeros_like(d) for d in d_gates])
        return d_gates, _select(kept, d_before, d_states)

    if not fused:
        return forward, backward
    return [tf.function(step, autograph=False, jit_compile=True) for step in (forward, backward)]


def _select(kept, new, old):
    if kept is None:
        return new
    return [tf.where(kept, *pair) for pair in zip(new, old, strict=True)]


def _padded(array, axis=0):
    """Appends zeros along one axis, because oneDNN rearranges bfloat16 kernels when they have no multiple of 32."""
    missing = -array.shape[axis] % 32
    if array.dtype != tf.bfloat16 or not missing:
        return array
    return tf.pad(array, [[0, missing if side == axis else 0] for side in range(2)])


def _array(kind, steps, size):
    return tf.TensorArray(kind, steps, element_shape=(size, None), clear_after_read=False)


def _of_size(arrays, size):
    return [tf.ensure_shape(array, (size, None)) for array in arrays]


def _forward(step, keep, projected, recurrent_kernel, bias, states):
    """Runs the loop; returns all hidden states, the last states, and what the gradient needs of each step."""
    steps, (units, width) = tf.shape(projected)[0], recurrent_kernel.shape
    kernel = _padded(tf.transpose(recurrent_kernel), 1)

    def body(t, states, outputs, memory):
        kept = None if keep is None else keep[t]
        new, saved = step(kept, projected[t], tf.matmul(kernel, _padded(states[0])), bias, states)
        memory = [place.write(t, value) for place, value in zip(memory, saved, strict=True)]
        return t + 1, _of_size(new, units), outputs.write(t, new[0]), memory

    memory = [_array(tf.float32, steps, size) for size in (width, units, units)]
    start = (0, list(states), _array(projected.dtype, steps, units), memory)
    _, last, outputs, memory = tf.while_loop(lambda t, *_: t < steps, body, start, parallel_iterations=1)
    return outputs.stack(), last, memory


def _backward(step, keep, memory, recurrent_kernel, d_outputs, d_last):
    """Runs the loop backward; returns the gradients of projected and of inner, and those of the first states."""
    steps, (units, width) = tf.shape(d_outputs)[0], recurrent_kernel.shape
    kernel = _padded(recurrent_kernel, 1)

    def body(t, d_states, through, arrays):
        kept = None if keep is None else keep[t]
        d_gates, d_before = step(kept, [place.read(t) for place in memory], d_outputs[t], through, d_states)
        arrays = [array.write(t, d) for array, d in zip(arrays, [d_gates[0], d_gates[-1]], strict=True)]
        return t - 1, _of_size(d_before, units), tf.matmul(kernel, _padded(d_gates[-1])), arrays

    arrays = [_array(kernel.dtype, steps, width) for _ in range(2)]
    start = (steps - 1, list(d_last), tf.zeros_like(d_last[0], kernel.dtype), arrays)
    _, d_states, through, arrays = tf.while_loop(lambda t, *_: t >= 0, body, start, parallel_iterations=1)
    return arrays, [d_states[0] + tf.cast(through, tf.float32), *d_states[1:]]


def _flat(array):
    """(time, features, batch) -> (features, time * batch)"""
    return tf.reshape(tf.transpose(array, (1, 0, 2)), (array.shape[1], -1))


def scan(cell, keep, inputs, kernel, recurrent_kernel, bias, *states):
    """Runs a recurrence, time first.

    Args:
        cell: the equations, a `Cell`.
        keep: (time, batch) bool, False where the states pass through unchanged, or None.
        inputs: (time, batch, features), compute dtype.
        kernel: (features, gates * units), compute dtype.
        recurrent_kernel: (units, gates * units), compute dtype.
        bias: added to the recurrent product of each step, (gates * units,), compute dtype, or None.
        states: hidden state (batch, units) in the compute dtype, other states in float32.

    Returns:
        All hidden states (time, batch, units), then the last of each state.
    """
    (units, width), biased = recurrent_kernel.shape, bias is not None
    forward, backward = _steps(cell, (states[0].shape[0] or 0) * units >= FUSED_FROM and has_xla())

    @tf.custom_gradient
    def recurrence(inputs, kernel, recurrent_kernel, *others):
        bias, states = others[0] if biased else None, others[biased:]
        (time, batch, features), dtype = tf.unstack(tf.shape(inputs)), inputs.dtype
        rows, first = tf.reshape(inputs, (-1, inputs.shape[2])), [tf.transpose(state) for state in states]
        projected = tf.reshape(tf.matmul(kernel, rows, transpose_a=True, transpose_b=True), (width, time, batch))
        projected = tf.transpose(projected, (1, 0, 2))
        outputs, last, memory = _forward(forward, keep, projected, recurrent_kernel, bias, first)

        def gradient(d_outputs, *d_last):
            d_outputs = tf.cast(tf.transpose(d_outputs, (0, 2, 1)), dtype)
            d_last = [tf.cast(tf.transpose(d), tf.float32) for d in d_last]
            arrays, d_states = _backward(backward, keep, memory, recurrent_kernel, d_outputs, d_last)
            d_projected = _flat(arrays[0].stack())
            d_inner = d_projected if cell is LSTM else _flat(arrays[1].stack())
            before = _flat(tf.concat([first[0][None], outputs[:-1]], 0))
            # One product over all steps for each kernel, instead of a small one at each step.
            d_kernel = tf.matmul(rows, d_projected, transpose_a=True, transpose_b=True)
            d_recurrent_kernel = tf.matmul(before, d_inner, transpose_b=True)
            d_bias = [tf.matmul(d_inner, tf.ones((time * batch, 1), dtype))[:, 0]] if biased else []
            d_inputs = tf.matmul(d_projected, kernel, transpose_a=True, transpose_b=True)
            d_states = [tf.cast(tf.transpose(d), state.dtype) for d, state in zip(d_states, states, strict=True)]
            return tf.reshape(d_inputs, (time, batch, features)), d_kernel, d_recurrent_kernel, *d_bias, *d_states

        return (tf.transpose(outputs, (0, 2, 1)), *(tf.transpose(state) for state in last)), gradient

    return recurrence(inputs, kernel, recurrent_kernel, *([bias] if biased else []), *states)
