"""Dropout, softmax likelihood and Adam that are faster than Keras's own with TensorFlow on a CPU; a layer norm and
gradient descent that are right where Keras's own are not.
"""

from scriptorium.nn.compiled import on_tensorflow_cpu

import keras
from keras import layers, ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


@keras.saving.register_keras_serializable("layers")
class Dropout(layers.Dropout):
    """Dropout (Srivastava et al. 2014): `keras.layers.Dropout`, but TensorFlow on a CPU uses 16 random bits per number.

    The rate is then a multiple of 2 ** -16.
    """

    def call(self, inputs, training=False):
        if not (training and self.rate > 0 and self.noise_shape is None and on_tensorflow_cpu()):
            return super().call(inputs, training=training)
        count, dropped = tf.size(inputs), round(self.rate * 2**16)
        bits = tf.random.stateless_uniform([(count + 1) // 2], self.seed_generator.next(), None, None, "uint32")
        bits = tf.reshape(tf.reshape(tf.bitcast(bits, "int16"), [-1])[:count], tf.shape(inputs))
        factor = tf.constant(2**16 / max(1, 2**16 - dropped), inputs.dtype)
        return inputs * tf.where(bits >= dropped - 2**15, factor, tf.zeros_like(factor))


@keras.saving.register_keras_serializable("layers")
class LayerNormalization(layers.LayerNormalization):
    """Layer normalization over the last axis (Ba et al. 2016) that can be differentiated twice, for a gradient penalty.

    On TensorFlow, Keras takes the variance from `tf.nn.moments`, which holds the mean for a constant: the first
    gradient is right nevertheless, but not the second.
    """

    def call(self, inputs):
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs)
        x = ops.cast(inputs, "float32")
        x = x - ops.mean(x, axis=-1, keepdims=True)
        scale = ops.rsqrt(ops.mean(x**2, axis=-1, keepdims=True) + self.epsilon) * ops.cast(self.gamma, "float32")
        return ops.cast(x * scale + ops.cast(self.beta, "float32"), self.compute_dtype)


def softmax_nll(hidden, kernel, bias, targets, mask=None, transposed=False):
    """Negative log-likelihood of target ids under softmax(hidden kernel + bias).

    With TensorFlow on a CPU, masked positions are left out of the products, and the gradient reuses the probabilities
    of the forward pass, so that large arrays are read as rarely as possible.

    Args:
        hidden: (..., width) states, in the dtype of the product.
        kernel: (width, vocabulary) variable or tensor.
        bias: (vocabulary,) or None.
        targets: (...) integer ids.
        mask: (...) bool, False where a position does not count and gets 0, or None.
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
    if not on_tensorflow_cpu():
        logits = ops.cast(ops.matmul(hidden, ops.transpose(kernel) if transposed else kernel) + bias, "float32")
        chosen = ops.take_along_axis(logits, targets[:, None], -1)[:, 0]
        nll = ops.logsumexp(logits, -1) - chosen
        nll = nll if keep is None else ops.where(keep, nll, 0.0)
    else:
        if keep is not None:
            counted = tf.where(keep)  # (rows, 1)
            hidden, targets = tf.gather_nd(hidden, counted), tf.gather_nd(targets, counted)
        # Empty rows up to a multiple of 64: oneDNN is faster then, and compiles the product for fewer shapes.
        count = tf.shape(targets)[0]
        hidden, targets = tf.pad(hidden, [[0, -count % 64], [0, 0]]), tf.pad(targets, [[0, -count % 64]])
        nll = _row_nll(hidden, kernel, bias, targets, transposed)[:count]
        nll = nll if keep is None else tf.scatter_nd(counted, nll, tf.shape(keep, tf.int64))
    return ops.reshape(nll, shape)


def _row_nll(hidden, kernel, bias, targets, transposed):
    indices = tf.stack([tf.range(tf.shape(targets)[0]), targets], 1)

    @tf.custom_gradient
    def likelihood(hidden, kernel, bias):
        # The bias as an additional row of the kernel: adding it afterward would take longer than the product. Rows of
        # zeros make their number a multiple of 32, which oneDNN multiplies faster.
        missing = -(hidden.shape[1] + 1) % 32
        wide = tf.pad(tf.concat([hidden, tf.ones_like(hidden[:, :1])], 1), [[0, 0], [0, missing]])
        bias_rows = tf.pad(bias[None], [[0, missing], [0, 0]])
        rows = tf.concat([kernel, tf.transpose(bias_rows) if transposed else bias_rows], 1 if transposed else 0)
        logits = tf.matmul(wide, rows, transpose_b=transposed)
        # One oneDNN operation, several times faster than the softmax inside the cross-entropy operation.
        probabilities = tf.nn.softmax(logits)
        chosen = tf.gather_nd(probabilities, indices)
        likely = tf.cast(chosen, tf.float32)

        def from_logits():
            wide = tf.cast(logits, tf.float32)
            return tf.reduce_logsumexp(wide, -1) - tf.gather_nd(wide, indices)

        # Near the smallest float a probability loses precision: use the logits instead.
        nll = tf.cond(tf.reduce_any(likely < 1e-30), from_logits, lambda: -tf.math.log(likely))

        def gradient(d_nll):
            with tf.control_dependencies([chosen]):  # read before the array is overwritten in place
                errors = tf.tensor_scatter_nd_sub(probabilities, indices, tf.ones_like(chosen))
            # Multiply each row's weight into the narrow side of the products, not the wide one.
            weights = tf.cast(d_nll, hidden.dtype)[:, None]
            weighted = hidden * weights
            d_hidden = tf.matmul(errors, kernel, transpose_b=not transposed) * weights
            if transposed:
                d_kernel = tf.matmul(errors, weighted, transpose_a=True)
            else:
                d_kernel = tf.matmul(tf.transpose(weighted), errors)
            return d_hidden, d_kernel, tf.matmul(weights, errors, transpose_a=True)[0]

        return nll, gradient

    return likelihood(hidden, kernel, bias)


def summed(gradients):
    """Returns gradients of variables, each an array of its shape, or None.

    With TensorFlow, the gradient of an embedding lists a row for each occurrence of a token, which Keras would square
    one by one: to clip them, and in Adam.
    """
    if keras.backend.backend() != "tensorflow":
        return gradients
    return [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]


class SGD(keras.optimizers.SGD):
    """Gradient descent: `keras.optimizers.SGD`, with the gradients of an embedding added up before they are clipped."""

    def apply(self, grads, trainable_variables=None):
        """Updates the variables with their gradients: see `keras.optimizers.Optimizer.apply`."""
        super().apply(summed(grads), trainable_variables)


class Adam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015): `keras.optimizers.Adam` in one pass over each variable with TensorFlow on a CPU.

    Arguments, variables and results equal those of `keras.optimizers.Adam` for dense gradients; those of an embedding
    are first added up, as in the paper.
    """

    def apply(self, grads, trainable_variables=None):
        """Updates the variables with their gradients: see `keras.optimizers.Optimizer.apply`."""
        super().apply(summed(grads), trainable_variables)

    def _clip_gradients(self, grads):
        if not on_tensorflow_cpu() or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        kept = [grad for grad in grads if grad is not None]
        norm = tf.linalg.global_norm(kept)

        def clipped():
            return [grad * (self.global_clipnorm / norm) for grad in kept]

        # Usually the norm is small enough, and multiplying by 1 would read and write all gradients.
        kept = iter(tf.cond(norm <= self.global_clipnorm, lambda: kept, clipped))
        return [None if grad is None else next(kept) for grad in grads]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable in place: see `keras.optimizers.Optimizer.update_step`."""
        if not on_tensorflow_cpu() or self.amsgrad:
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
