"""LSTM and GRU that train faster than Keras's own on a CPU, with the same weights and results.

With TensorFlow or JAX on a CPU they run the recurrence themselves: one product projects the inputs of all steps before
the loop, whose equations are in `recurrence/cells.py`. With torch on a CPU they use torch's own kernels if there is no
mask. Everywhere else (a GPU, dropout, other activations) they call Keras.

`CarriedState` keeps the states of a recurrence from one window of a running text to the next.
"""

from scriptorium.nn.compiled import PARTS, on_jax_cpu, on_tensorflow_cpu
from scriptorium.nn.mirrored import all_rows, own_rows
from scriptorium.nn.recurrence import cells

import keras
from keras import layers, ops

if keras.backend.backend() == "tensorflow":
    from scriptorium.nn.recurrence.on_tensorflow import scan

    import tensorflow as tf
elif keras.backend.backend() == "jax":
    from scriptorium.nn.recurrence.on_jax import scan
elif keras.backend.backend() == "torch":
    from scriptorium.nn.recurrence import on_torch


class _OwnLoop:
    """The loop that LSTM and GRU share; a mixin placed before Keras's class."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Runs the recurrence.

        Args:
            sequences: (batch, time, features).
            initial_state: list of states, (batch, units) each.
            mask: (batch, time) bool, False at padding, or None.
            training: whether dropout is on.

        Returns:
            The last output (batch, units), all outputs (batch, time, units), the list of last states.
        """
        if self._runs_torch_kernels(sequences, mask):
            cell, gru = self.cell, isinstance(self, layers.GRU)
            weights = [
                None if w is None else ops.convert_to_tensor(w) for w in (cell.kernel, cell.recurrent_kernel, cell.bias)
            ]
            return on_torch.scan(gru, sequences, *weights, list(initial_state), self.go_backwards)
        if not self._runs_own_loop():
            return super().inner_loop(sequences, initial_state, mask, training)
        weights = self._weights()
        # Separate loops for the halves of a batch keep two cores busy, which one small product would not. A mask means
        # an encoder, whose two directions already do so.
        if PARTS == 1 or mask is not None:
            return self._loop(sequences, initial_state, mask, *weights)
        batch = ops.shape(initial_state[0])[0]
        sizes = [batch * (i + 1) // PARTS - batch * i // PARTS for i in range(PARTS)]
        parts = zip(*(tf.split(array, sizes) for array in (sequences, *initial_state)), strict=True)
        done = [self._loop(inputs, states, None, *weights) for inputs, *states in parts]
        return keras.tree.map_structure(lambda *parts: ops.concatenate(parts, 0), *done)

    def _weights(self):
        """Returns kernel (with the input bias), recurrent kernel and the bias inside the loop, scaled by gate."""
        dtype, cell = self.compute_dtype, self.cell
        halved = ops.repeat(ops.convert_to_tensor(self._equations().scales, dtype), self.units)
        kernel, recurrent_kernel = (ops.cast(w, dtype) * halved for w in (cell.kernel, cell.recurrent_kernel))
        if not self.use_bias:
            return kernel, recurrent_kernel, None
        # As an additional row of the kernel, a bias costs nothing. A GRU has a second one, inside its loop.
        bias = ops.cast(cell.bias, dtype) * halved
        first, bias = (bias[0], bias[1]) if len(bias.shape) == 2 else (bias, None)
        return ops.concatenate([kernel, first[None]], 0), recurrent_kernel, bias

    def _equations(self):
        return cells.GRU if isinstance(self, layers.GRU) else cells.LSTM

    def _loop(self, sequences, initial_state, mask, kernel, recurrent_kernel, bias):
        dtype = self.compute_dtype
        batch, time, _ = ops.shape(sequences)
        keep = None
        if mask is not None:
            mask = mask[0] if isinstance(mask, (list, tuple)) else mask
            keep = ops.transpose(ops.cast(ops.reshape(mask, (batch, time)), "bool"))  # (time, batch)
        inputs = ops.transpose(sequences, (1, 0, 2))  # (time, batch, features)
        if self.go_backwards:
            inputs, keep = ops.flip(inputs, 0), None if keep is None else ops.flip(keep, 0)
        if self.use_bias:
            inputs = ops.concatenate([inputs, ops.ones_like(inputs[:, :, :1])], 2)
        hidden, *others = initial_state
        others = [ops.cast(state, "float32") for state in others]
        states = ops.cast(hidden, dtype), *others
        outputs, *states = scan(self._equations(), keep, inputs, kernel, recurrent_kernel, bias, *states)
        last = states[0]
        # At a masked step Keras repeats the last output, or returns zeros. Before the first unmasked step it returns
        # zeros, but on JAX the initial state.
        if keep is not None and (self.zero_output_for_mask or not on_jax_cpu()):
            shown = keep if self.zero_output_for_mask else ops.cumsum(ops.cast(keep, "int32"), axis=0) > 0
            outputs = outputs * ops.cast(shown, dtype)[..., None]
            last = outputs[-1]
        return last, ops.transpose(outputs, (1, 0, 2)), states

    def step(self, inputs, states):
        """Runs one time step, for decoding with carried states.

        Args:
            inputs: (batch, features).
            states: list of states, (batch, units) each: hidden state and, for an LSTM, carry.

        Returns:
            The output (batch, units) and the list of new states.
        """
        return self.cell(
            ops.cast(inputs, self.compute_dtype), [ops.cast(state, self.compute_dtype) for state in states]
        )

    def _runs_own_loop(self):
        return (on_tensorflow_cpu() or on_jax_cpu()) and self._is_plain()

    def _runs_torch_kernels(self, sequences, mask):
        on_cpu = keras.backend.backend() == "torch" and sequences.device.type == "cpu"
        return on_cpu and mask is None and sequences.shape[1] > 0 and self._is_plain()

    def _is_plain(self):
        cell = self.cell
        return (
            not (self.unroll or self.stateful or cell.dropout or cell.recurrent_dropout)
            and cell.activation is keras.activations.tanh
            and cell.recurrent_activation is keras.activations.sigmoid
            and getattr(cell, "reset_after", True)
        )


# Registered, because Bidirectional copies its layer through the config.
@keras.saving.register_keras_serializable("layers")
class LSTM(_OwnLoop, layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): `keras.layers.LSTM`, faster to train on a CPU.

    Arguments, weights and results equal those of `keras.layers.LSTM`.
    """


@keras.saving.register_keras_serializable("layers")
class GRU(_OwnLoop, layers.GRU):
    """Gated recurrent unit (Cho et al. 2014): `keras.layers.GRU`, faster to train on a CPU.

    Arguments, weights and results equal those of `keras.layers.GRU`. With `reset_after=False`, Keras's own loop runs.
    """


RNNS = {"lstm": LSTM, "gru": GRU}


def read_padded(layer, x, mask):
    """Runs a recurrent layer over rows that are padded at their ends.

    Where Keras's own layer would run, no mask reaches it, because with one it leaves the fast kernels of torch and
    cuDNN: the padding is read too, and rows are reversed one by one, up to their ends, for a layer that goes backward.

    Args:
        layer: `LSTM` or `GRU` with `return_sequences=True`.
        x: (batch, time, features).
        mask: bool (batch, time), True up to the end of each row, which has at least one step.

    Returns:
        All outputs, (batch, time, units) in the order of time; what they are at padding is not defined. The output
        after the last step that the layer reads of each row, (batch, units).
    """
    if layer._runs_own_loop():
        outputs = layer(x, mask=mask)
        return ops.flip(outputs, axis=1) if layer.go_backwards else outputs, outputs[:, -1]
    lengths, steps = ops.sum(ops.cast(mask, "int32"), axis=1), ops.arange(ops.shape(x)[1])
    last = (lengths - 1)[:, None, None]
    if not layer.go_backwards:
        outputs = layer(x)
        return outputs, ops.take_along_axis(outputs, last, axis=1)[:, 0]
    mirrored = ops.where(mask, lengths[:, None] - 1 - steps[None], steps[None])[..., None]
    # The layer reads from the end, so what it is to read first is put there.
    outputs = layer(ops.flip(ops.take_along_axis(x, mirrored, axis=1), axis=1))
    return ops.take_along_axis(outputs, mirrored, axis=1), ops.take_along_axis(outputs, last, axis=1)[:, 0]


def states_per_layer(rnn_type):
    """Returns how many states a layer of a kind of `RNNS` has: h and, for an LSTM, c."""
    return {"lstm": 2, "gru": 1}[rnn_type]


def with_weight_drop(kind):
    """Returns LSTM or GRU with weight drop: recurrent weights are 0 at random in training (Merity et al. 2018)."""

    class WeightDrop(kind):
        def __init__(self, units, weight_drop, **arguments):
            super().__init__(units, **arguments)
            self.weight_dropout = layers.Dropout(weight_drop, dtype="float32")

        def inner_loop(self, sequences, initial_state, mask, training=False):
            if not (training and self.weight_dropout.rate):
                return super().inner_loop(sequences, initial_state, mask, training)
            cell = self.cell
            kernel = cell.recurrent_kernel
            # Bypass Keras's attribute tracking: only this call uses the thinned weights.
            thinned = ops.cast(self.weight_dropout(ops.convert_to_tensor(kernel), training=True), self.compute_dtype)
            object.__setattr__(cell, "recurrent_kernel", thinned)
            try:
                return super().inner_loop(sequences, initial_state, mask, training)
            finally:
                object.__setattr__(cell, "recurrent_kernel", kernel)

    return WeightDrop


class CarriedState(layers.Layer):
    """The states of recurrent layers, carried from batch to batch and saved with the weights.

    Args:
        batch_size: rows.
        widths: list of int, the width of each state.
        reset_probability: probability that, in training, the states of a row are reset before a batch. Without it a
            model never sees the beginning of a text again, and learns cell states that grow for as long as it reads.
        seed: int.
    """

    def __init__(self, batch_size, widths, reset_probability=0.0, seed=1):
        super().__init__(dtype="float32")
        self.reset_probability, self.seed = reset_probability, keras.random.SeedGenerator(seed)
        self.states = [
            self.add_weight(shape=(batch_size, width), initializer="zeros", trainable=False, name=f"state-{i}")
            for i, width in enumerate(widths)
        ]

    def read(self, training=False):
        """Returns the states, float32 (batch_size, width) each."""
        # Copies, because torch writes the next states over these while the gradient still needs them.
        states = [own_rows(ops.copy(state.value)) for state in self.states]
        if training and self.reset_probability:
            kept = keras.random.uniform((states[0].shape[0], 1), seed=self.seed) >= self.reset_probability
            states = [state * ops.cast(kept, state.dtype) for state in states]
        return states

    def write(self, states):
        """Stores the states for the next batch; no gradient passes through them."""
        for kept, state in zip(self.states, all_rows(states), strict=True):
            kept.assign(ops.stop_gradient(ops.cast(state, "float32")))

    def reset(self):
        """Resets the states to zero."""
        for state in self.states:
            state.assign(ops.zeros(state.shape))


class ResetState(keras.callbacks.Callback):
    """Resets the carried state at the beginning of a text: before an epoch and before validation.

    Args:
        carried: `CarriedState`.
        batches: the training `Streams`; a resumed epoch continues with the saved state.
    """

    def __init__(self, carried, batches):
        super().__init__()
        self.carried, self.batches = carried, batches

    def on_epoch_begin(self, epoch, logs=None):
        if not self.batches.first:
            self.carried.reset()

    def on_test_begin(self, logs=None):
        self.carried.reset()
