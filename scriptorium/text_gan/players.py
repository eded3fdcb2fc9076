"""Two players that train against each other: their optimizers as one, and gradients on each backend.

What differs between TensorFlow, JAX and torch in such a training stands here: a gradient
that is part of a loss, the gradients of some of a model's weights, and a step that is one of several.
"""

import contextlib

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
    """Returns the gradient of sum(function(x)) with respect to x, which can be differentiated in its turn.

    Args:
        function: of a tensor (batch, ...), returns a tensor.
        x: float (batch, ...).
    """
    if BACKEND == "tensorflow":
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = ops.sum(function(x))
        return tape.gradient(total, x)
    if BACKEND == "jax":
        return jax.grad(lambda x: ops.sum(function(x)))(x)
    if BACKEND == "torch":
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            return torch.autograd.grad(ops.sum(function(x)), x, create_graph=True)[0]
    raise NotImplementedError(f"There is no training of two players on {BACKEND}.")


def loss_and_gradients(function, variables, everything):
    """Computes a loss and its gradients.

    Args:
        function: without arguments, returns a scalar and any structure of tensors.
        variables: list of `keras.Variable`, the gradients asked for.
        everything: list of all variables that the function may read or assign, needed on JAX.

    Returns:
        The scalar, the structure, and the list of gradients; zeros where a variable has no part.
    """
    if BACKEND == "tensorflow":
        with tf.GradientTape() as tape:
            loss, others = function()
        values = [variable.value for variable in variables]
        found = tape.gradient(loss, values, unconnected_gradients="zero")
        return loss, others, [tf.convert_to_tensor(gradient) for gradient in found]
    if BACKEND == "torch":
        loss, others = function()
        values = [variable.value for variable in variables]
        found = torch.autograd.grad(loss, values, allow_unused=True)
        found = [torch.zeros_like(v) if g is None else g for g, v in zip(found, values, strict=True)]
        detach = keras.tree.map_structure(lambda x: x.detach(), others)
        return loss.detach(), detach, found
    asked = {id(variable) for variable in variables}
    others = [variable for variable in everything if id(variable) not in asked]
    now = [ops.convert_to_tensor(variable) for variable in others]

    def pure(values):
        mapping = [*zip(variables, values, strict=True), *zip(others, now, strict=True)]
        with stateless_scope.StatelessScope(state_mapping=mapping) as scope:
            loss, more = function()
        return loss, (more, [scope.get_current_value(variable) for variable in others])

    values = [ops.convert_to_tensor(variable) for variable in variables]
    (loss, (more, after)), found = jax.value_and_grad(pure, has_aux=True)(values)
    for variable, value, before in zip(others, after, now, strict=True):
        if value is not None and value is not before:
            variable.assign(value)
    return loss, more, found


def when(condition, function, everything):
    """Calls a function, which assigns to variables and returns nothing, where a condition holds.

    Args:
        condition: bool scalar tensor, or True.
        function: without arguments.
        everything: list of all variables, see `loss_and_gradients`.
    """
    if condition is True:
        function()
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
            mapping = list(zip(everything, values, strict=True))
            with stateless_scope.StatelessScope(state_mapping=mapping) as scope:
                function()
            after = [scope.get_current_value(variable) for variable in everything]
            return [b if a is None else a.astype(b.dtype) for a, b in zip(after, values, strict=True)]

        values = [ops.convert_to_tensor(variable) for variable in everything]
        for variable, value in zip(everything, jax.lax.cond(condition, pure, list, values), strict=True):
            variable.assign(value)


def stateless(model, state, function):
    """Calls a function that assigns to the variables of a Keras model, on JAX, where these come and go as a tuple.

    Args:
        model: `keras.Model`.
        state: values of the trainable, the other, the optimizer's and the metrics' variables: a tuple of four lists.
        function: without arguments.

    Returns:
        What the function returns, and the state after it.
    """
    lists = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    # In a validation the optimizer has no part.
    lists = tuple(own if values else [] for own, values in zip((*lists, model.metrics_variables), state, strict=True))
    pairs = [pair for own, values in zip(lists, state, strict=True) for pair in zip(own, values, strict=True)]
    with stateless_scope.StatelessScope(state_mapping=pairs) as scope:
        result = function()
    after = [[scope.get_current_value(variable) for variable in own] for own in lists]
    return result, tuple(after)


def everything(model):
    """Returns all variables of a compiled model: weights, seeds, those of its optimizer and of its metrics."""
    found = [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
    return list({id(variable): variable for variable in [*found, *model.metrics_variables]}.values())


class Optimizers(keras.optimizers.Optimizer):
    """Several optimizers, each for weights of its own, as one: what a `keras.Model` is compiled with.

    Args:
        optimizers: dict of name -> (`keras.optimizers.Optimizer`, function that returns its list of variables).
        shown: function that returns the name of the one whose learning rate is shown.
    """

    def __init__(self, optimizers, shown):
        super().__init__(learning_rate=0.0)
        self.parts, self.shown = optimizers, shown

    def build(self, variables):
        super().build([])
        for optimizer, own in self.parts.values():
            if not optimizer.built:
                optimizer.build(own())

    @property
    def variables(self):
        return [variable for optimizer, _ in self.parts.values() for variable in optimizer.variables]

    @property
    def learning_rate(self):
        return self.parts[self.shown()][0].learning_rate

    def update(self, name, gradients):
        """Does a step of one of them, by the gradients of its variables."""
        optimizer, own = self.parts[name]
        with torch.no_grad() if BACKEND == "torch" else contextlib.nullcontext():
            optimizer.apply(gradients, own())
