"""Recurrent layers that train faster than Keras's own on a CPU, with the same weights and the same numbers.

`LSTM` takes the place of `keras.layers.LSTM`. With TensorFlow on a CPU it runs the recurrence itself: one product
projects the inputs of all steps before the loop, and a gradient written by hand leaves the gradients of the kernels to
one large product after it, instead of a small one at every step. Everywhere else (a GPU, JAX, torch, dropout, other
activations) it hands over to Keras.
"""

import keras
from keras import layers, ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def _on_tensorflow_cpu():
    return keras.backend.backend() == "tensorflow" and not tf.config.list_logical_devices("GPU")


def _scan(projected, recurrent_kernel, hidden, carry, keep):
    """Run an LSTM over projected inputs, time first.

    Args:
        projected: (time, batch, 4 units), inputs times kernel plus bias, in the compute dtype.
        recurrent_kernel: (units, 4 units), compute dtype.
        hidden: (batch, units), compute dtype.
        carry: (batch, units), float32.
        keep: (time, batch) bool, False where the state passes through unchanged, or None.

    Returns:
        All hidden states (time, batch, units) in the compute dtype, and the last carry (batch, units) in float32.
    """
    dtype, steps, units = projected.dtype, tf.shape(projected)[0], recurrent_kernel.shape[0]

    def array(kind, width):
        return tf.TensorArray(kind, steps, element_shape=(None, width))

    def read(values):
        return tf.TensorArray(values.dtype, steps).unstack(values)

    def select(kept, new, old):
        return new if keep is None else tf.raw_ops.Select(condition=kept, x=new, y=old)

    @tf.custom_gradient
    def recurrence(projected, recurrent_kernel, hidden, carry):
        inputs, masks = read(projected), None if keep is None else read(keep)

        def forward(t, h, c, all_h, all_c, all_gates):
            kept = None if keep is None else masks.read(t)
            z = tf.cast(inputs.read(t) + tf.matmul(h, recurrent_kernel), tf.float32)
            i, f, g, o = tf.split(z, 4, -1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            new_c = f * c + i * g
            h = select(kept, tf.cast(o * tf.tanh(new_c), dtype), h)
            c = select(kept, new_c, c)
            return t + 1, h, c, all_h.write(t, h), all_c.write(t, c), all_gates.write(t, tf.concat([i, f, g, o], -1))

        start = (0, hidden, carry, array(dtype, units), array(tf.float32, units), array(tf.float32, 4 * units))
        loop = tf.while_loop(lambda t, *_: t < steps, forward, start, parallel_iterations=1)
        all_h, all_c, all_gates = (x.stack() for x in loop[3:])

        def gradient(d_all_h, d_last_c):
            outer, cell, gate = read(d_all_h), read(all_c), read(all_gates)
            masks = None if keep is None else read(keep)
            before = read(tf.concat([carry[None], all_c[:-1]], 0))
            transposed = tf.transpose(recurrent_kernel)

            def backward(t, dh, dc, all_dz):
                kept = None if keep is None else masks.read(t)
                i, f, g, o = tf.split(gate.read(t), 4, -1)
                tanh_c = tf.tanh(cell.read(t))
                dh = tf.cast(outer.read(t), tf.float32) + dh
                inner = dc + dh * o * (1 - tanh_c * tanh_c)
                dz = tf.concat(
                    [
                        inner * g * i * (1 - i),
                        inner * before.read(t) * f * (1 - f),
                        inner * i * (1 - g * g),
                        dh * tanh_c * o * (1 - o),
                    ],
                    -1,
                )
                dz = tf.cast(select(kept, dz, tf.zeros_like(dz)), dtype)
                dh = select(kept, tf.cast(tf.matmul(dz, transposed), tf.float32), dh)
                return t - 1, dh, select(kept, inner * f, dc), all_dz.write(t, dz)

            start = (steps - 1, tf.zeros_like(carry), d_last_c, array(dtype, 4 * units))
            _, d_hidden, d_carry, dz = tf.while_loop(lambda t, *_: t >= 0, backward, start, parallel_iterations=1)
            dz = dz.stack()
            previous = tf.concat([hidden[None], all_h[:-1]], 0)
            # One product over all steps, instead of a small one added up at each.
            d_recurrent = tf.matmul(
                tf.reshape(previous, (-1, units)), tf.reshape(dz, (-1, 4 * units)), transpose_a=True
            )
            return dz, d_recurrent, tf.cast(d_hidden, dtype), d_carry

        return (all_h, loop[2]), gradient

    return recurrence(projected, recurrent_kernel, hidden, carry)


class LSTM(layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): `keras.layers.LSTM`, faster to train on a CPU.

    Arguments, weights and results are those of `keras.layers.LSTM`.
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the recurrence.

        Args:
            sequences: (batch, time, features).
            initial_state: list of hidden state and carry, (batch, units) each.
            mask: (batch, time) bool, False at padding, or None.
            training: whether dropout is on.

        Returns:
            The last output (batch, units), all outputs (batch, time, units), the list of last hidden state and carry.
        """
        if not self._own_loop():
            return super().inner_loop(sequences, initial_state, mask, training)
        keep = None
        if mask is not None:
            keep = tf.transpose(tf.cast(mask[0] if isinstance(mask, (list, tuple)) else mask, bool))  # (time, batch)
        dtype = self.compute_dtype
        inputs = tf.transpose(sequences, (1, 0, 2))
        if self.go_backwards:
            inputs, keep = tf.reverse(inputs, [0]), None if keep is None else tf.reverse(keep, [0])
        projected = ops.matmul(inputs, self.cell.kernel)
        if self.use_bias:
            projected = projected + ops.cast(self.cell.bias, dtype)
        hidden, carry = initial_state
        carry, recurrent_kernel = tf.cast(carry, tf.float32), tf.cast(self.cell.recurrent_kernel, dtype)
        outputs, last_carry = _scan(projected, recurrent_kernel, hidden, carry, keep)
        states = [outputs[-1], last_carry]
        if keep is not None:
            # Keras gives zeros before the first step that counts, and after it repeats the last output or gives zeros.
            shown = keep if self.zero_output_for_mask else tf.cumsum(tf.cast(keep, tf.int32)) > 0
            outputs = outputs * tf.cast(shown, outputs.dtype)[..., None]
        return outputs[-1], tf.transpose(outputs, (1, 0, 2)), states

    def step(self, inputs, states):
        """One time step, to decode with a carried state.

        Args:
            inputs: (batch, features).
            states: list of hidden state and carry, (batch, units) each.

        Returns:
            The output (batch, units) and the list of new hidden state and carry.
        """
        return self.cell(
            ops.cast(inputs, self.compute_dtype), [ops.cast(state, self.compute_dtype) for state in states]
        )

    def _own_loop(self):
        cell = self.cell
        return (
            _on_tensorflow_cpu()
            and not (self.unroll or self.stateful or cell.dropout or cell.recurrent_dropout)
            and cell.activation is keras.activations.tanh
            and cell.recurrent_activation is keras.activations.sigmoid
        )


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
        rows = tf.where(keep)  # (rows that count, 1)
        counted = _row_nll(tf.gather_nd(hidden, rows), kernel, bias, tf.gather_nd(targets, rows), transposed)
        nll = tf.scatter_nd(rows, counted, tf.shape(targets, tf.int64))
    return ops.reshape(nll, shape)


def _row_nll(hidden, kernel, bias, targets, transposed):
    places = tf.stack([tf.range(tf.shape(targets)[0]), targets], 1)

    @tf.custom_gradient
    def likelihood(hidden, kernel, bias):
        logits = tf.nn.bias_add(tf.matmul(hidden, kernel, transpose_b=transposed), bias)
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
