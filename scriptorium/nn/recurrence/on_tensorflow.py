"""A recurrence on TensorFlow, with the gradient of cells.py."""

from scriptorium.nn.recurrence.cells import LSTM

import tensorflow as tf


def _select(kept, new, old):
    chosen = new if kept is None else tf.raw_ops.Select(condition=kept, x=new, y=old)
    return tf.ensure_shape(chosen, old.shape)


def _array(kind, steps, size):
    return tf.TensorArray(kind, steps, element_shape=(None, size), clear_after_read=False)


def _forward(cell, keep, projected, kernel, bias, states):
    """Runs the loop; returns all hidden states, the last states, and what the gradient needs of each step."""
    steps, (units, width) = tf.shape(projected)[0], kernel.shape
    inputs = tf.cast(projected, tf.float32)

    def step(t, states, outputs, memory):
        inner = tf.matmul(states[0], kernel)
        inner = inner if bias is None else tf.nn.bias_add(inner, bias)
        new, saved = cell.forward(inputs[t], tf.cast(inner, tf.float32), *states)
        kept = None if keep is None else keep[t]
        new = [_select(kept, *pair) for pair in zip(new, states, strict=True)]
        memory = [place.write(t, value) for place, value in zip(memory, saved, strict=True)]
        return t + 1, new, outputs.write(t, new[0]), memory

    memory = [_array(tf.float32, steps, size) for size in (width, units, units)]
    start = (0, list(states), _array(projected.dtype, steps, units), memory)
    _, last, outputs, memory = tf.while_loop(lambda t, *_: t < steps, step, start, parallel_iterations=1)
    return outputs.stack(), last, memory


def _backward(cell, keep, memory, kernel, d_outputs, d_last):
    """Runs the loop backward; returns the gradients of projected, of inner and of the first states."""
    dtype, steps, width = kernel.dtype, tf.shape(d_outputs)[0], kernel.shape[1]

    def silence(kept, gradient):
        if gradient is None:
            return None
        gradient = tf.cast(gradient, dtype)
        return gradient if kept is None else _select(kept, gradient, tf.zeros_like(gradient))

    def step(t, d_states, d_projected, d_inner):
        d_states = [d_states[0] + tf.cast(d_outputs[t], tf.float32), *d_states[1:]]
        d_gates, d_recurrent, d_before = cell.gradient([place.read(t) for place in memory], *d_states)
        kept = None if keep is None else keep[t]
        d_gates, d_recurrent = silence(kept, d_gates), silence(kept, d_recurrent)
        d_inner = d_inner if d_recurrent is None else d_inner.write(t, d_recurrent)
        d_recurrent = d_gates if d_recurrent is None else d_recurrent
        # In the other order the product would first transpose the large factor.
        through = tf.transpose(tf.matmul(kernel, d_recurrent, transpose_b=True))
        through = tf.cast(through, tf.float32)
        d_before[0] = through if d_before[0] is None else through + d_before[0]
        d_before = [_select(kept, *pair) for pair in zip(d_before, d_states, strict=True)]
        return t - 1, d_before, d_projected.write(t, d_gates), d_inner

    arrays = [_array(dtype, steps, width) for _ in range(2)]
    start = (steps - 1, [tf.cast(d, tf.float32) for d in d_last], *arrays)
    _, d_states, d_projected, d_inner = tf.while_loop(lambda t, *_: t >= 0, step, start, parallel_iterations=1)
    d_projected = d_projected.stack()
    return d_projected, d_projected if cell is LSTM else d_inner.stack(), d_states


def scan(cell, keep, projected, kernel, bias, *states):
    """Runs a recurrence over projected inputs, time first.

    Args:
        cell: the equations, a `Cell`.
        keep: (time, batch) bool, False where the states pass through unchanged, or None.
        projected: (time, batch, gates * units), inputs times kernel, compute dtype.
        kernel: recurrent kernel (units, gates * units), compute dtype.
        bias: added to the product of each step, (gates * units,), compute dtype, or None.
        states: hidden state (batch, units) in the compute dtype, other states in float32.

    Returns:
        All hidden states (time, batch, units), then the last of each state.
    """
    biased = bias is not None

    @tf.custom_gradient
    def recurrence(projected, kernel, *others):
        bias, states = others[0] if biased else None, others[biased:]
        outputs, last, memory = _forward(cell, keep, projected, kernel, bias, states)

        def gradient(d_outputs, *d_last):
            d_projected, d_inner, d_states = _backward(cell, keep, memory, kernel, d_outputs, d_last)
            units, width = kernel.shape
            d_inner = tf.reshape(d_inner, (-1, width))
            before = tf.reshape(tf.concat([states[0][None], outputs[:-1]], 0), (-1, units))
            # One product over all steps, instead of a small one at each step.
            d_kernel = tf.matmul(before, d_inner, transpose_a=True)
            d_bias = [tf.matmul(tf.ones((1, tf.shape(d_inner)[0]), kernel.dtype), d_inner)[0]] if biased else []
            d_states = [tf.cast(d, state.dtype) for d, state in zip(d_states, states, strict=True)]
            return d_projected, d_kernel, *d_bias, *d_states

        return (outputs, *last), gradient

    return recurrence(projected, kernel, *([bias] if biased else []), *states)
