"""Names the variables of a model and its optimizers by where they are: `encoder/z_mean/kernel`.

A name is the path from the model to the variable through attributes, list indices and dict keys. So classes may move to
other files, and layers may be created in another order, without breaking saved runs.
"""

import collections

from scriptorium import UserError
from scriptorium.nn.mirrored import array_of

import keras


def _parts(name, value):
    """Yields (name, part) of the layers and seed generators in an attribute, including lists, tuples and dicts."""
    if isinstance(value, (keras.layers.Layer, keras.random.SeedGenerator)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _parts(f"{name}/{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(f"{name}/{key}", item)


def variables_of(model):
    """Returns the weights and seed states of a model: a dict of name -> variable.

    A variable that can be reached by several paths gets the shortest one, and the alphabetically first among those.
    """
    variables, named, seen, queue = {}, set(), {id(model)}, collections.deque([("", model)])
    while queue:
        path, layer = queue.popleft()
        # On torch the attributes that are layers are in a dict of their own.
        attributes = vars(layer) | vars(layer).get("_modules", {})
        attributes = sorted((name, value) for name, value in attributes.items() if not name.startswith("_"))
        parts = [part for name, value in attributes for part in _parts(name, value)]
        layers = [(name, part) for name, part in parts if isinstance(part, keras.layers.Layer)]
        own_names = {id(part.state): name for name, part in parts if isinstance(part, keras.random.SeedGenerator)}
        own_names |= {id(value): name for name, value in attributes if isinstance(value, keras.Variable)}
        below = {id(variable) for _, part in layers for variable in part.variables}
        for variable in layer.variables:
            if id(variable) in below or id(variable) in named:
                continue
            name = first = path + own_names.get(id(variable), variable.name)
            number = 1
            while name in variables:
                number += 1
                name = f"{first}_{number}"
            variables[name] = variable
            named.add(id(variable))
        for name, part in layers:
            if id(part) not in seen:
                seen.add(id(part))
                queue.append((f"{path}{name}/", part))
    return variables


def weights_of(model):
    """Returns the same as `variables_of`, without seed states."""
    weights = {id(variable) for variable in model.weights}
    return {name: variable for name, variable in variables_of(model).items() if id(variable) in weights}


def optimizer_variables(optimizer, model_variables):
    """Returns the variables of an optimizer: a dict of name -> variable, such as "momentum/encoder/z_mean/kernel".

    Args:
        optimizer: built `keras.optimizers.Optimizer`. A combined one has its `parts`, a dict of name ->
            (optimizer, function that returns the variables that it trains).
        model_variables: the result of `variables_of` for its model.
    """
    names, slot_variables = {id(variable): name for name, variable in model_variables.items()}, {}
    for prefix, (part, trained) in getattr(optimizer, "parts", {"": (optimizer, None)}).items():
        trained = model_variables.values() if trained is None else trained()
        trained = [names[id(variable)] for variable in trained if variable.trainable]
        # A slot, such as the momentum, has one variable per trained variable, in the same order.
        slots = collections.Counter(_slot(variable) for variable in part.variables)
        seen = collections.Counter()
        for variable in part.variables:
            slot = _slot(variable)
            name = variable.path.rpartition("/")[2]
            if slots[slot] > 1:
                name = f"{slot}/{trained[seen[slot]]}" if slots[slot] == len(trained) else f"{slot}/{seen[slot]}"
            seen[slot] += 1
            slot_variables[f"{prefix}/{name}".lstrip("/")] = variable
    return slot_variables


def _slot(variable):
    return variable.path.rpartition("_")[2]


def metric_variables(metrics):
    """Returns the variables of metrics: a dict of name -> variable, such as "perplexity/total"."""
    variables = {}
    for metric in metrics:
        # The metrics given to `compile` form a single metric, whose variables may share a name.
        for i, variable in enumerate(metric.variables):
            name = f"{metric.name}/{variable.name}"
            variables[f"{name}_{i}" if name in variables else name] = variable
    return variables


def values(variables):
    """Returns copies of the values of variables, a dict of name -> array."""
    return {name: array_of(variable) for name, variable in variables.items()}


def assign(variables, arrays):
    """Assigns saved values to variables.

    Args:
        variables: dict of name -> `keras.Variable`.
        arrays: dict of name -> array.

    Raises:
        UserError: names or shapes differ.
    """
    for name in sorted(variables.keys() ^ arrays.keys()):
        raise UserError(f"The save belongs to another model: {name} is in only one of the two.")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(
                f"The save belongs to another model: {name} is {arrays[name].shape} there"
                f" and {tuple(variable.shape)} here."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
