"""Functions as the backend at hand runs them best: in two halves, compiled, fused, or recomputed to save memory."""

import contextlib
import functools

from scriptorium.nn.device import cores

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    PARTS = min(2, cores())
else:
    PARTS = 1
    if keras.backend.backend() == "jax":
        import jax


def on_tensorflow_cpu():
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
    if PARTS == 1 or not on_tensorflow_cpu():
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
    if not on_tensorflow_cpu() or tf.executing_eagerly() or not _has_xla():
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


def on_jax_cpu():
    return keras.backend.backend() == "jax" and jax.default_backend() == "cpu"


# XLA makes recurrences slower on a CPU with TensorFlow; JAX has nothing else.
JIT = keras.backend.backend() == "jax"


class Compiled(keras.Model):
    """A function of arrays, compiled on every backend: its `predict_on_batch(arrays)` gives numpy arrays.

    Args:
        function: of a tensor or a tuple of tensors, built from `keras.ops` and the given parts.
        parts: the models, layers and seed generators that the function uses.
    """

    def __init__(self, function, *parts):
        # The layers cast what they multiply; a state or a code that passes through keeps its digits.
        super().__init__(autocast=False)
        self.function, self.parts = function, list(parts)
        self.jit_compile = JIT

    def call(self, inputs):
        return self.function(inputs)
