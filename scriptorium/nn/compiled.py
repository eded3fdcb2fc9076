"""Runs functions the best way for the backend: in two halves, compiled, fused, or rematerialized to save memory."""

import contextlib
import functools

from scriptorium.nn.device import cores

import keras
import numpy as np
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops import gen_math_ops

    _add_n = gen_math_ops.add_n
    PARTS = min(2, cores())
else:
    PARTS = 1
    if keras.backend.backend() == "jax":
        import jax


def on_tensorflow_cpu():
    return keras.backend.backend() == "tensorflow" and not tf.config.list_logical_devices("GPU")


def limit_ops_to_one_core():
    """Limits each TensorFlow operation to one of two cores, for models that run as two halves in parallel.

    Operations on both cores would make the halves wait for each other. Call it before TensorFlow computes anything;
    later it has no effect.
    """
    if keras.backend.backend() == "tensorflow" and PARTS == cores() == 2:
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def in_halves(function, inputs):
    """Returns function(inputs), computed for the two halves of a batch in parallel if there are two cores.

    Args:
        function: maps arrays (batch, ...) in any structure to arrays (batch, ...), each row independently.
        inputs: its argument, such as ids (batch, time).
    """
    if PARTS == 1 or not on_tensorflow_cpu():
        return function(inputs)
    batch = ops.shape(keras.tree.flatten(inputs)[0])[0]
    starts = [batch * i // PARTS for i in range(PARTS)]
    # No part may be empty, because `function` may reshape it: of a single row, every part computes that row.
    ends = [ops.maximum(batch * (i + 1) // PARTS, start + 1) for i, start in enumerate(starts)]
    cuts = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
    halves = [function(keras.tree.map_structure(lambda array, cut=cut: array[cut], inputs)) for cut in cuts]
    return keras.tree.map_structure(lambda *both: ops.concatenate(both, 0)[:batch], *halves)


@functools.cache
def has_xla():
    """Whether this build of TensorFlow has XLA for CPUs; not all do."""
    try:
        with tf.init_scope():
            tf.function(lambda: tf.zeros(()) + 1.0, jit_compile=True)()
    except tf.errors.OpError:
        return False
    return True


def xla_fused(function, part):
    """Fuses the many small operations of a function with XLA, on TensorFlow on a CPU.

    For sampling only: no gradient passes through. Compiling takes seconds, so it happens only within a graph.

    Args:
        function: function of one structure of tensors.
        part: the layer whose weights the function uses.
    """
    if not on_tensorflow_cpu() or tf.executing_eagerly() or not has_xla():
        return function
    variables = part.variables

    @tf.function(autograph=False, jit_compile=True)
    def with_values(inputs, values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(inputs)

    # As tensors: variables would be locked, and the two halves of a batch would wait for each other.
    values = [tf.convert_to_tensor(variable.value) for variable in variables]
    return lambda inputs: with_values(inputs, values)


def rematerialized(function, *args):
    """Returns function(*args), whose gradient recomputes the function instead of storing activations, and args.

    Use the returned args, not the originals: their gradients are then accumulated one by one.

    `keras.remat` saves no memory on TensorFlow: the graph optimizer merges the recomputation with the first pass, and
    may interleave the gradients of several functions.

    Args:
        function: function of tensors that returns one tensor.
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
                computed = tape.gradient(result, [*again, *variables], upstream, unconnected_gradients="zero")
            sums = [one + other for one, other in zip(computed, others, strict=False)]
            with tf.control_dependencies(computed):
                computed = [tf.identity(gradient) for gradient in [*sums, *computed[len(args) :]]]
            return computed[: len(args)], computed[len(args) :]

        return (function(*args), *(tf.identity(arg) for arg in args)), gradient

    return once(*args)


def add_in_order():
    """Makes TensorFlow add gradients in a fixed order, so that training can be repeated bit for bit.

    TensorFlow sums three tensors or more with AddN, which begins with the first one whose memory it may overwrite.
    Which one that is depends on the timing of threads. A sum of two is the same in either order.
    """
    if keras.backend.backend() != "tensorflow":
        return
    gen_math_ops.add_n = _add_n_in_order
    # It would turn sums of two into AddN again.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def _add_n_in_order(inputs, name=None):
    return functools.reduce(tf.add, inputs) if len(inputs) > 2 else _add_n(inputs, name=name)


def build_by_calling(model, *inputs):
    """Calls a model once on example inputs, so that all of its layers create their weights.

    Keras would first trace every layer that has no `build` of its own, and again within each layer around it, which
    takes several times as long.

    Args:
        model: `keras.Model` or layer whose layers all exist after its constructor.
        inputs: arrays.
    """
    for layer in model._flatten_layers():
        if type(layer).build is keras.layers.Layer.build:
            layer.built = True
    if keras.backend.backend() == "jax":
        # Its operations compile one by one when they run, which takes longer than the training step.
        inputs = [keras.KerasTensor(array.shape, array.dtype) for array in inputs]
    model(*inputs)


def on_jax_cpu():
    return keras.backend.backend() == "jax" and jax.default_backend() == "cpu"


# XLA slows recurrences down with TensorFlow on a CPU; JAX always uses it.
JIT = keras.backend.backend() == "jax"


def _rounded(rows):
    """Returns the number of rows to compute `rows` of them: 1, 16, or a multiple of 128."""
    return rows if rows == 1 else 16 if rows <= 16 else -(-rows // 128) * 128


class Compiled(keras.Model):
    """A function of arrays, compiled on every backend; `predict_on_batch(arrays)` returns numpy arrays.

    JAX compiles it for each shape, so there the last row is repeated until the number of rows is one of a few, unless
    `same_rows`.

    Args:
        function: function of a tensor (batch, ...), or of any structure of them, to tensors (batch, ...), each row
            independently, built from `keras.ops` and `parts`.
        parts: the models, layers and seed generators that the function uses.
        same_rows: whether most calls have the same number of rows anyway, so that more rows would only cost time.
    """

    def __init__(self, function, *parts, same_rows=False):
        # Layers cast what they multiply; a state or a code that passes through keeps its precision.
        super().__init__(autocast=False)
        self.function, self.parts, self.same_rows = function, list(parts), same_rows
        self.jit_compile = JIT
        self.built = True  # the parts are; otherwise Keras on JAX would run it once without compiling it

    def call(self, inputs):
        return self.function(inputs)

    def predict_on_batch(self, arrays):
        rows = len(keras.tree.flatten(arrays)[0])
        if JIT and not self.same_rows:
            repeated = np.minimum(np.arange(_rounded(rows)), rows - 1)
            arrays = keras.tree.map_structure(lambda array: np.asarray(array)[repeated], arrays)
        # There are more rows if some were repeated, and if several devices of TensorFlow have computed all of them.
        return keras.tree.map_structure(lambda array: array[:rows], super().predict_on_batch(arrays))
