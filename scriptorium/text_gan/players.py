"""Training of two players against each other: their optimizers combined, and gradients on each backend.

This module holds what differs between TensorFlow, JAX and torch: a gradient inside a loss, gradients of some of the
weights, and a conditional training step.
"""

import contextlib

from scriptorium.nn import mirrored

import keras
from keras import ops

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax
    from keras.src.backend.common import stateless_scope
elif BACKEND == "torch":
    import torch


def gradient_of_sum(function, x):
    """Returns the gradient of sum(function(x)) with respect to x, itself differentiable.

    Args:
        function: function of a tensor (batch, ...) that returns a tensor.
        x: float (batch, ...).
    """
    if BACKEND == "tensorflow":
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = ops.sum(function(x))
        return tape.gradient(total, x)
    if BACKEND == "jax":
        return jax.grad(lambda x: ops.sum(function(x)))(x)
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(ops.sum(function(x)), x, create_graph=True)[0]


def loss_and_gradients(function, variables, all_variables):
    """Computes a loss and its gradients.

    Args:
        function: function without arguments that returns a scalar and any structure of tensors.
        variables: list of `keras.Variable` to differentiate by.
        all_variables: list of all variables that the function may read or assign, needed on JAX.

    Returns:
        The scalar, the structure, and the list of gradients; zeros for variables without influence.
    """
    if BACKEND == "tensorflow":
        with tf.GradientTape() as tape:
            loss, others = function()
        values = [variable.value for variable in variables]
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        return loss, others, [tf.convert_to_tensor(gradient) for gradient in mirrored.of_whole_batch(gradients)]
    if BACKEND == "torch":
        loss, others = function()
        values = [variable.value for variable in variables]
        gradients = torch.autograd.grad(loss, values, allow_unused=True)
        gradients = [torch.zeros_like(v) if g is None else g for g, v in zip(gradients, values, strict=True)]
        detached = keras.tree.map_structure(lambda x: x.detach(), others)
        return loss.detach(), detached, gradients
    differentiated = {id(variable) for variable in variables}
    others = [variable for variable in all_variables if id(variable) not in differentiated]
    now = [ops.convert_to_tensor(variable) for variable in others]

    def pure(values):
        mapping = [*zip(variables, values, strict=True), *zip(others, now, strict=True)]
        with stateless_scope.StatelessScope(state_mapping=mapping) as scope:
            loss, more = function()
        return loss, (more, [scope.get_current_value(variable) for variable in others])

    values = [ops.convert_to_tensor(variable) for variable in variables]
    (loss, (more, after)), gradients = jax.value_and_grad(pure, has_aux=True)(values)
    for variable, value, before in zip(others, after, now, strict=True):
        if value is not None and value is not before:
            variable.assign(value)
    return loss, more, gradients


def when(condition, function, all_variables):
    """Calls a function, which assigns to variables and returns nothing, if a condition holds.

    Args:
        condition: bool scalar tensor, or True.
        function: function without arguments.
        all_variables: list of all variables, see `loss_and_gradients`.
    """
    if condition is True:
        function()
    elif mirrored.replicas() > 1:
        # TensorFlow's devices cannot exchange anything within a condition, so the step is taken, and taken back.
        before = [variable.value + 0 for variable in all_variables]
        function()
        for variable, value in zip(all_variables, before, strict=True):
            variable.assign(tf.where(condition, variable.value, value))
    elif BACKEND == "tensorflow":

        def call():
            function()
            return tf.constant(1)

        tf.cond(condition, call, lambda: tf.constant(0))
    elif BACKEND == "torch":
        if bool(condition):
            function()
    else:

        def pure(values):
            mapping = list(zip(all_variables, values, strict=True))
            with stateless_scope.StatelessScope(state_mapping=mapping) as scope:
                function()
            after = [scope.get_current_value(variable) for variable in all_variables]
            return [b if a is None else a.astype(b.dtype) for a, b in zip(after, values, strict=True)]

        values = [ops.convert_to_tensor(variable) for variable in all_variables]
        for variable, value in zip(all_variables, jax.lax.cond(condition, pure, list, values), strict=True):
            variable.assign(value)


def stateless(model, state, function):
    """Calls a function that assigns to the variables of a Keras model, on JAX, where values are passed as a tuple.

    Args:
        model: `keras.Model`.
        state: values of the trainable, non-trainable, optimizer and metric variables: a tuple of four lists.
        function: function without arguments.

    Returns:
        The result of the function, and the new state.
    """
    lists = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    # The optimizer takes no part in validation.
    lists = tuple(
        group if values else [] for group, values in zip((*lists, model.metrics_variables), state, strict=True)
    )
    pairs = [pair for group, values in zip(lists, state, strict=True) for pair in zip(group, values, strict=True)]
    with stateless_scope.StatelessScope(state_mapping=pairs) as scope:
        result = function()
    after = [[scope.get_current_value(variable) for variable in group] for group in lists]
    return result, tuple(after)


def all_variables(model):
    """Returns all variables of a compiled model: weights, seeds, and those of its optimizer and metrics."""
    variables = [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
    return list({id(variable): variable for variable in [*variables, *model.metrics_variables]}.values())


class Optimizers(keras.optimizers.Optimizer):
    """Combines several optimizers, each with its own weights, into one that a `keras.Model` can be compiled with.

    Args:
        optimizers: dict of name -> (`keras.optimizers.Optimizer`, function that returns its list of variables).
        shown: function that returns the name of the optimizer whose learning rate is reported.
    """

    def __init__(self, optimizers, shown):
        super().__init__(learning_rate=0.0)
        self.parts, self.shown = optimizers, shown

    def build(self, variables):
        super().build([])
        for optimizer, variables_of in self.parts.values():
            if not optimizer.built:
                optimizer.build(variables_of())

    @property
    def variables(self):
        return [variable for optimizer, _ in self.parts.values() for variable in optimizer.variables]

    @property
    def learning_rate(self):
        return self.parts[self.shown()][0].learning_rate

    def update(self, name, gradients):
        """Runs a step of one optimizer with the gradients of its variables."""
        optimizer, variables_of = self.parts[name]
        with torch.no_grad() if BACKEND == "torch" else contextlib.nullcontext():
            optimizer.apply(gradients, variables_of())


class TwoPlayerModel(keras.Model):
    """A model with custom steps: `train_on(ids)` and `test_on(ids)` return a dict of logs."""

    def train_step(self, *arguments):
        if BACKEND != "jax":
            return self.train_on(arguments[0][0])
        state, data = arguments
        return stateless(self, state, lambda: self.train_on(data[0]))

    def test_step(self, *arguments):
        if BACKEND != "jax":
            return self.test_on(arguments[0][0])
        (trainable, others, measured), data = arguments
        logs, after = stateless(self, (trainable, others, [], measured), lambda: self.test_on(data[0]))
        return logs, (after[0], after[1], after[3])


class ExternalMetric(keras.metrics.Metric):
    """A number that is computed elsewhere and assigned to `value` during validation."""

    def __init__(self, name):
        super().__init__(name=name)
        self.value = self.add_weight(name="value", initializer="zeros")

    def update_state(self, *arguments, **settings):
        pass

    def reset_state(self):
        pass

    def result(self):
        return ops.convert_to_tensor(self.value)


def norm_of(gradients):
    """Returns the global norm of a list of gradients."""
    return ops.sqrt(sum(ops.sum(ops.cast(gradient, "float32") ** 2) for gradient in gradients))
