"""A recurrence on JAX, with the gradient of cells.py."""

import functools

from scriptorium.nn.recurrence.cells import LSTM

import jax
import jax.numpy as jnp


def _select(kept, new, old):
    return new if kept is None else jnp.where(kept[:, None], new, old)


def _forward(cell, keep, projected, kernel, bias, *states):
    def step(states, inputs):
        now, kept = inputs
        inner = states[0] @ kernel if bias is None else states[0] @ kernel + bias
        new, saved = cell.forward(-1, now.astype("float32"), inner.astype("float32"), *states)
        new = [_select(kept, *pair) for pair in zip(new, states, strict=True)]
        return new, (new[0], saved)

    last, (outputs, saved) = jax.lax.scan(step, list(states), (projected, keep))
    return (outputs, *last), (keep, kernel, bias, states, outputs, saved)


def _backward(cell, residuals, gradients):
    keep, kernel, bias, states, outputs, saved = residuals
    upstream, *d_last = gradients

    def silence(kept, gradient):
        gradient = gradient.astype(kernel.dtype)
        return gradient if kept is None else _select(kept, gradient, jnp.zeros_like(gradient))

    def step(d_states, inputs):
        d_output, kept, now = inputs
        d_states = [d_states[0] + d_output.astype("float32"), *d_states[1:]]
        d_gates, d_recurrent, d_before = cell.gradient(-1, now, *d_states)
        d_gates = silence(kept, d_gates)
        d_recurrent = d_gates if d_recurrent is None else silence(kept, d_recurrent)
        through = (d_recurrent @ kernel.T).astype("float32")
        d_before[0] = through if d_before[0] is None else through + d_before[0]
        return [_select(kept, *pair) for pair in zip(d_before, d_states, strict=True)], (d_gates, d_recurrent)

    start = [gradient.astype("float32") for gradient in d_last]
    d_states, (d_projected, d_inner) = jax.lax.scan(step, start, (upstream, keep, saved), reverse=True)
    before = jnp.concatenate([states[0][None], outputs[:-1]]).reshape(-1, kernel.shape[0])
    d_inner = (d_projected if cell is LSTM else d_inner).reshape(-1, kernel.shape[1])
    # One product over all steps, instead of a small one at each step.
    d_kernel = before.T @ d_inner
    d_bias = None if bias is None else d_inner.sum(0, dtype="float32").astype(bias.dtype)
    d_states = [gradient.astype(state.dtype) for gradient, state in zip(d_states, states, strict=True)]
    return None, d_projected, d_kernel, d_bias, *d_states


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(cell, *arguments):
    return _forward(cell, *arguments)[0]


_recurrence.defvjp(_forward, _backward)


def scan(cell, keep, inputs, kernel, recurrent_kernel, bias, *states):
    """Runs a recurrence, time first; arguments and results as in `on_tensorflow.scan`."""
    return _recurrence(cell, keep, inputs @ kernel, recurrent_kernel, bias, *states)
