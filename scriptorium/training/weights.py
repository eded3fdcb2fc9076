"""The variables of a model and of its optimizers under names that say where they are: `encoder/z_mean/kernel`.

A name is the way from the model to the variable by attributes, list indices and dict keys. So classes may move to other
files and layers may be created in another order without a saved run losing its weights.
"""

import collections

from scriptorium import UserError

import keras
import numpy as np


def _parts(name, value):
    """Yields (name, part) of the layers and seed generators in an attribute, in lists, tuples and dicts too."""
    if isinstance(value, (keras.layers.Layer, keras.random.SeedGenerator)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _parts(f"{name}/{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(f"{name}/{key}", item)


def variables_of(model):
    """Returns the variables of a model, its weights and the states of its random numbers: a dict of name -> variable.

    What can be reached in several ways has the shortest name, of equally short ones the first in the alphabet.
    """
    found, named, seen, queue = {}, set(), {id(model)}, collections.deque([("", model)])
    while queue:
        way, layer = queue.popleft()
        attributes = sorted((name, value) for name, value in vars(layer).items() if not name.startswith("_"))
        parts = [part for name, value in attributes for part in _parts(name, value)]
        layers = [(name, part) for name, part in parts if isinstance(part, keras.layers.Layer)]
        states = {id(part.state): name for name, part in parts if isinstance(part, keras.random.SeedGenerator)}
        below = {id(variable) for _, part in layers for variable in part.variables}
        for variable in layer.variables:
            if id(variable) in below or id(variable) in named:
                continue
            name = first = way + states.get(id(variable), variable.name)
            number = 1
            while name in found:
                number += 1
                name = f"{first}_{number}"
            found[name] = variable
            named.add(id(variable))
        for name, part in layers:
            if id(part) not in seen:
                seen.add(id(part))
                queue.append((f"{way}{name}/", part))
    return found


def weights_of(model):
    """Returns what `variables_of` does, without the states of random numbers."""
    weights = {id(variable) for variable in model.weights}
    return {name: variable for name, variable in variables_of(model).items() if id(variable) in weights}


def optimizer_variables(optimizer, model_variables):
    """Returns the variables of an optimizer: a dict of name -> variable, such as "momentum/encoder/z_mean/kernel".

    Args:
        optimizer: built `keras.optimizers.Optimizer`. One that is made of several has them as `parts`, a dict of name
            -> (optimizer, function that returns the variables that it trains).
        model_variables: what `variables_of` returned for its model.
    """
    names, found = {id(variable): name for name, variable in model_variables.items()}, {}
    for prefix, (part, trained) in getattr(optimizer, "parts", {"": (optimizer, None)}).items():
        trained = model_variables.values() if trained is None else trained()
        trained = [names[id(variable)] for variable in trained if variable.trainable]
        # A slot, such as the momentum, has one variable for each that is trained, in their order.
        slots = collections.Counter(_slot(variable) for variable in part.variables)
        seen = collections.Counter()
        for variable in part.variables:
            slot = _slot(variable)
            name = variable.path.rpartition("/")[2]
            if slots[slot] > 1:
                name = f"{slot}/{trained[seen[slot]]}" if slots[slot] == len(trained) else f"{slot}/{seen[slot]}"
            seen[slot] += 1
            found[f"{prefix}/{name}".lstrip("/")] = variable
    return found


def _slot(variable):
    return variable.path.rpartition("_")[2]


def metric_variables(metrics):
    """Returns the variables of metrics: a dict of name -> variable, such as "perplexity/total"."""
    found = {}
    for metric in metrics:
        # What was given to `compile` is one metric made of several, whose variables may share a name.
        for i, variable in enumerate(metric.variables):
            name = f"{metric.name}/{variable.name}"
            found[f"{name}_{i}" if name in found else name] = variable
    return found


def values(variables):
    """Returns the values of variables, a dict of name -> array, copies that no later step writes to."""
    return {name: np.array(keras.ops.convert_to_numpy(variable.value)) for name, variable in variables.items()}


def assign(variables, arrays):
    """Gives variables the values that were saved.

    Args:
        variables: dict of name -> `keras.Variable`.
        arrays: dict of name -> array.

    Raises:
        UserError: other names, or shapes that are not the same.
    """
    for name in sorted(variables.keys() ^ arrays.keys()):
        raise UserError(f"The save is of another model than this one: {name} is in one of the two alone.")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(
                f"The save is of another model than this one: {name} is {arrays[name].shape} there"
                f" and {tuple(variable.shape)} here."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
