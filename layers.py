"""Layers and an optimizer that train faster than Keras's own on a CPU, with the same weights and the same numbers.

`LSTM` and `GRU` take the place of Keras's. With TensorFlow or JAX on a CPU they run the recurrence themselves: one
product projects the inputs of all steps before the loop, whose equations are in `recurrence.py`. With torch on a CPU
they run torch's own kernels (`torch_recurrence.py`) where there is no mask. Everywhere else (a GPU, dropout, other
activations) they hand over to Keras.
"""

import contextlib
import functools

from devices import cores  # isort: skip (before Keras)

import keras
from keras import layers, ops

import recurrence

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    from tensorflow_recurrence import scan

    PARTS = min(2, cores())
elif keras.backend.backend() == "jax":
    import jax

    from jax_recurrence import scan

    PARTS = 1
elif keras.backend.backend() == "torch":
    import torch_recurrence

    PARTS = 1


def _on_tensorflow_cpu():
    return keras.backend.backend() == "tensorflow" and not tf.config.list_logical_devices("GPU")


def one_core_an_operation():
    """Keeps each TensorFlow operation on one core of two: for models that run in two parts at a time.

    Shared operations would make the parts wait for each other. Call it before TensorFlow computes anything; afterwards
    it does nothing.
    """
    if keras.backend.backend() == "tensorflow" and PARTS == cores() == 2:
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def in_parts(function, inputs):
    """Returns function(inputs), where two cores share the work: for each half of a batch on its own, side by side.

    Args:
        function: of arrays (batch, ...) in any structure that returns such, each row by itself.
        inputs: what it is given, such as ids (batch, time).
    """
    if PARTS == 1 or not _on_tensorflow_cpu():
        return function(inputs)
    batch = ops.shape(keras.tree.flatten(inputs)[0])[0]
    cuts = [slice(batch * i // PARTS, batch * (i + 1) // PARTS) for i in range(PARTS)]
    halves = [function(keras.tree.map_structure(lambda array, cut=cut: array[cut], inputs)) for cut in cuts]
    return keras.tree.map_structure(lambda *both: ops.concatenate(both, 0), *halves)


@functools.cache
def _has_xla():
    """Whether this build of TensorFlow has XLA for processors; not all have."""
    try:
        with tf.init_scope():
            tf.function(lambda: tf.zeros(()) + 1.0, jit_compile=True)()
    except tf.errors.OpError:
        return False
    return True


def fused(function, part):
    """Returns a function of tensors whose many small operations are made few by XLA, with TensorFlow on a processor.

    For what is drawn: no gradient passes. Compiling it takes seconds, so it is done within a graph alone.

    Args:
        function: of one structure of tensors.
        part: the layer whose weights it uses.
    """
    if not _on_tensorflow_cpu() or tf.executing_eagerly() or not _has_xla():
        return function
    variables = part.variables

    @tf.function(autograph=False, jit_compile=True)
    def with_values(inputs, values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(inputs)

    # As tensors: variables would be locked, and two halves of a batch wait for each other.
    values = [tf.convert_to_tensor(variable.value) for variable in variables]
    return lambda inputs: with_values(inputs, values)


def recomputed(function, *args):
    """Returns function(*args), whose gradient computes the function again instead of keeping what it needs, and args.

    Who uses the args that are returned, and not those that were given, has their gradients added up one after the
    other, not kept until all of them are there.

    `keras.remat` saves nothing on TensorFlow: its optimizer of graphs sees that what the function is given again is the
    same, and what belongs to the gradients of several functions may be computed in any order.

    Args:
        function: of tensors, returns one.
        args: float tensors.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)(*args), *args

    @tf.custom_gradient
    def once(*args):
        def gradient(upstream, *others, variables=()):
            with tf.control_dependencies([upstream]):
                again = [tf.identity(arg) for arg in args]
                with tf.GradientTape() as tape:
                    tape.watch([*again, *variables])
                    result = function(*again)
                found = tape.gradient(result, [*again, *variables], upstream, unconnected_gradients="zero")
            sums = [one + other for one, other in zip(found, others, strict=False)]
            with tf.control_dependencies(found):
                found = [tf.identity(gradient) for gradient in [*sums, *found[len(args) :]]]
            return found[: len(args)], found[len(args) :]

        return (function(*args), *(tf.identity(arg) for arg in args)), gradient

    return once(*args)


def _on_jax_cpu():
    return keras.backend.backend() == "jax" and jax.default_backend() == "cpu"


class _OwnLoop:
    """What LSTM and GRU have in common; stands before Keras's class."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the recurrence.

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
            return torch_recurrence.scan(gru, sequences, *weights, list(initial_state), self.go_backwards)
        if not self._runs_own_loop():
            return super().inner_loop(sequences, initial_state, mask, training)
        weights = self._weights()
        # Loops of their own for parts of a batch keep two cores busy, which one small product would not. A mask comes
        # with an encoder, whose two directions do so already.
        if PARTS == 1 or mask is not None:
            return self._loop(sequences, initial_state, mask, *weights)
        batch = ops.shape(sequences)[0]
        sizes = [batch * (i + 1) // PARTS - batch * i // PARTS for i in range(PARTS)]
        parts = zip(*(tf.split(array, sizes) for array in (sequences, *initial_state)), strict=True)
        done = [self._loop(own, states, None, *weights) for own, *states in parts]
        return keras.tree.map_structure(lambda *pieces: ops.concatenate(pieces, 0), *done)

    def _weights(self):
        """Returns kernel, recurrent kernel, the bias of the inputs and that within the loop, as the loops want them."""
        dtype, cell = self.compute_dtype, self.cell
        halved = ops.repeat(ops.convert_to_tensor(self._equations().scales, dtype), self.units)
        kernel, recurrent_kernel = (ops.cast(w, dtype) * halved for w in (cell.kernel, cell.recurrent_kernel))
        if not self.use_bias:
            return kernel, recurrent_kernel, None
        # As a further row of the kernel a bias costs nothing. A GRU has a second one, within its loop.
        bias = ops.cast(cell.bias, dtype) * halved
        first, bias = (bias[0], bias[1]) if len(bias.shape) == 2 else (bias, None)
        return ops.concatenate([kernel, first[None]], 0), recurrent_kernel, bias

    def _equations(self):
        return recurrence.GRU if isinstance(self, layers.GRU) else recurrence.LSTM

    def _loop(self, sequences, initial_state, mask, kernel, recurrent_kernel, bias):
        dtype = self.compute_dtype
        batch, time, features = ops.shape(sequences)
        keep = None
        if mask is not None:
            mask = mask[0] if isinstance(mask, (list, tuple)) else mask
            keep = ops.transpose(ops.cast(ops.reshape(mask, (batch, time)), "bool"))  # (time, batch)
        inputs = ops.transpose(sequences, (1, 0, 2))  # (time, batch, features)
        if self.go_backwards:
            inputs, keep = ops.flip(inputs, 0), None if keep is None else ops.flip(keep, 0)
        inputs = ops.reshape(inputs, (-1, features))
        if self.use_bias:
            inputs = ops.concatenate([inputs, ops.ones_like(inputs[:, :1])], 1)
        projected = ops.reshape(ops.matmul(inputs, kernel), (time, batch, kernel.shape[-1]))
        hidden, *others = initial_state
        others = [ops.cast(state, "float32") for state in others]
        equations = self._equations()
        outputs, *states = scan(equations, keep, projected, recurrent_kernel, bias, ops.cast(hidden, dtype), *others)
        last = states[0]
        # After a step that counts Keras repeats its output, or gives zeros. Before the first one it gives zeros, but on
        # JAX the state that it began with.
        if keep is not None and (self.zero_output_for_mask or not _on_jax_cpu()):
            shown = keep if self.zero_output_for_mask else ops.cumsum(ops.cast(keep, "int32"), axis=0) > 0
            outputs = outputs * ops.cast(shown, dtype)[..., None]
            last = outputs[-1]
        return last, ops.transpose(outputs, (1, 0, 2)), states

    def step(self, inputs, states):
        """One time step, to decode with carried states.

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
        return (_on_tensorflow_cpu() or _on_jax_cpu()) and self._is_plain()

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


# Registered, because Bidirectional copies its layer by way of the configuration.
@keras.saving.register_keras_serializable("layers")
class LSTM(_OwnLoop, layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): `keras.layers.LSTM`, faster to train on a CPU.

    Arguments, weights and results are those of `keras.layers.LSTM`.
    """


@keras.saving.register_keras_serializable("layers")
class GRU(_OwnLoop, layers.GRU):
    """Gated recurrent unit (Cho et al. 2014): `keras.layers.GRU`, faster to train on a CPU.

    Arguments, weights and results are those of `keras.layers.GRU`. With `reset_after=False` Keras's own loop runs.
    """


@keras.saving.register_keras_serializable("layers")
class Dropout(layers.Dropout):
    """Dropout (Srivastava et al. 2014): `keras.layers.Dropout`, with TensorFlow on a CPU from 16 random bits a number.

    The rate then is a multiple of 2 ** -16.
    """

    def call(self, inputs, training=False):
        if not (training and self.rate > 0 and self.noise_shape is None and _on_tensorflow_cpu()):
            return super().call(inputs, training=training)
        count, dropped = tf.size(inputs), round(self.rate * 2**16)
        bits = tf.random.stateless_uniform([(count + 1) // 2], self.seed_generator.next(), None, None, "uint32")
        bits = tf.reshape(tf.reshape(tf.bitcast(bits, "int16"), [-1])[:count], tf.shape(inputs))
        factor = tf.constant(2**16 / max(1, 2**16 - dropped), inputs.dtype)
        return inputs * tf.where(bits >= dropped - 2**15, factor, tf.zeros_like(factor))


def softmax_nll(hidden, kernel, bias, targets, mask=None, transposed=False):
    """Negative log-likelihood of target ids under softmax(hidden kernel + bias).

    With TensorFlow on a CPU positions that do not count are left out of the products, and the gradient uses the
    probabilities of the forward pass, so that large arrays are passed over as seldom as possible.

    Args:
        hidden: (..., width) states, in the dtype in which to multiply.
        kernel: (width, vocabulary) variable or tensor.
        bias: (vocabulary,) or None.
        targets: (...) integer ids.
        mask: (...) bool, False where a position counts nothing and gets 0, or None.
        transposed: whether the kernel is (vocabulary, width), as an embedding is.

    Returns:
        float32 nats, in the shape of `targets`.
    """
    shape, width = ops.shape(targets), hidden.shape[-1]
    hidden, targets = ops.reshape(hidden, (-1, width)), ops.cast(ops.reshape(targets, (-1,)), "int32")
    kernel = ops.cast(kernel, hidden.dtype)
    bias = (
        ops.zeros(kernel.shape[0 if transposed else 1], hidden.dtype) if bias is None else ops.cast(bias, hidden.dtype)
    )
    keep = None if mask is None else ops.cast(ops.reshape(mask, (-1,)), "bool")
    if not _on_tensorflow_cpu():
        logits = ops.cast(ops.matmul(hidden, ops.transpose(kernel) if transposed else kernel) + bias, "float32")
        chosen = ops.take_along_axis(logits, targets[:, None], -1)[:, 0]
        nll = ops.logsumexp(logits, -1) - chosen
        nll = nll if keep is None else ops.where(keep, nll, 0.0)
    elif keep is None:
        nll = _row_nll(hidden, kernel, bias, targets, transposed)
    else:
        # A few rows that do not count fill up, because oneDNN compiles a product anew for each number of rows.
        counted, others = tf.where(keep), tf.where(~keep)  # (rows, 1) each
        count = tf.shape(counted)[0]
        rows = tf.concat([counted, others[: -count % 64]], 0)
        nll = _row_nll(tf.gather_nd(hidden, rows), kernel, bias, tf.gather_nd(targets, rows), transposed)
        nll *= tf.cast(tf.range(tf.shape(rows)[0]) < count, "float32")
        nll = tf.scatter_nd(rows, nll, tf.shape(targets, tf.int64))
    return ops.reshape(nll, shape)


def _row_nll(hidden, kernel, bias, targets, transposed):
    places = tf.stack([tf.range(tf.shape(targets)[0]), targets], 1)

    @tf.custom_gradient
    def likelihood(hidden, kernel, bias):
        # The bias as a further row of the kernel: to add it afterwards would take longer than the product.
        wide = tf.concat([hidden, tf.ones_like(hidden[:, :1])], 1)
        rows = tf.concat([kernel, bias[:, None] if transposed else bias[None]], 1 if transposed else 0)
        logits = tf.matmul(wide, rows, transpose_b=transposed)
        # One oneDNN operation, several times faster than the cross-entropy operation's own softmax.
        probabilities = tf.nn.softmax(logits)
        chosen = tf.gather_nd(probabilities, places)
        likely = tf.cast(chosen, tf.float32)

        def from_logits():
            wide = tf.cast(logits, tf.float32)
            return tf.reduce_logsumexp(wide, -1) - tf.gather_nd(wide, places)

        # A probability next to the smallest float has lost its digits: then go back to the logits.
        nll = tf.cond(tf.reduce_any(likely < 1e-30), from_logits, lambda: -tf.math.log(likely))

        def gradient(d_nll):
            with tf.control_dependencies([chosen]):  # read before the array is overwritten in place
                errors = tf.tensor_scatter_nd_sub(probabilities, places, tf.ones_like(chosen))
            # Each row's weight goes to the narrow side of the products instead of into the wide one.
            weights = tf.cast(d_nll, hidden.dtype)[:, None]
            weighted = hidden * weights
            d_hidden = tf.matmul(errors, kernel, transpose_b=not transposed) * weights
            sides = (errors, weighted) if transposed else (weighted, errors)
            d_bias = tf.matmul(weights, errors, transpose_a=True)[0]
            return d_hidden, tf.matmul(*sides, transpose_a=True), d_bias

        return nll, gradient

    return likelihood(hidden, kernel, bias)


class Adam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015): `keras.optimizers.Adam` in one pass over each variable with TensorFlow on a CPU.

    Arguments, variables and numbers are those of `keras.optimizers.Adam` for dense gradients. The gradient of an
    embedding is added up over the occurrences of a token first, as the algorithm has it; Keras squares each alone.
    """

    def apply(self, grads, trainable_variables=None):
        """Update the variables by their gradients: see `keras.optimizers.Optimizer.apply`."""
        if _on_tensorflow_cpu():
            grads = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in grads]
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable in place: see `keras.optimizers.Optimizer.update_step`."""
        if not _on_tensorflow_cpu() or self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value

        def number(value):
            return tf.cast(value, variable.dtype)

        step, beta_1, beta_2 = number(self.iterations + 1), number(self.beta_1), number(self.beta_2)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=number(learning_rate),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=number(self.epsilon),
            grad=number(gradient),
        )
