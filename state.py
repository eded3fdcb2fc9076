"""Where a training stands, to the bit: what has to be kept so that it goes on as if it had never stopped."""

import math

import keras
import numpy as np

from util import UserError


def assign(variables, arrays, part):
    """Gives variables the values that a checkpoint holds of them.

    Args:
        variables: list of `keras.Variable`.
        arrays: dict of name -> array.
        part: what the names start with.

    Raises:
        UserError: there are not as many, or their shapes are not the same.
    """
    saved = [arrays[name] for name in sorted(arrays) if name.startswith(f"{part}-")]
    if [tuple(v.shape) for v in variables] != [array.shape for array in saved]:
        raise UserError(f"The checkpoint is of another model than this one (its part {part} differs).")
    for variable, array in zip(variables, saved, strict=True):
        variable.assign(array)


def _torch_random():
    """Returns the states of torch's own random numbers, which its Dropout draws from past every seed generator."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_torch_random(states):
    import torch

    states = [torch.from_numpy(state.copy()) for state in states]
    torch.set_rng_state(states[0])
    # On a machine with fewer GPUs there is no place for the states of the others.
    for device, state in zip(range(torch.cuda.device_count()), states[1:], strict=False):
        torch.cuda.set_rng_state(state, device)


class State:
    """The weights, optimizers, seeds and metrics of a model, and the position in its training.

    Metrics that are given to `compile` make their variables at the first step, so nothing can be restored before it: an
    epoch that was interrupted shows them for what was left of it. Trackers that are attributes of the model are whole.

    Args:
        model: built and compiled `keras.Model`; every `SeedGenerator` is an attribute of it or of one of its layers, or
            in a list or dict that is one.

    Attributes:
        epoch: epochs done.
        step: steps done of the epoch after them.
        steps: steps done in all.
        best: (lowest validation score, its epoch from 1).
    """

    def __init__(self, model):
        self.model = model
        self.epoch = self.step = self.steps = 0
        self.best = (math.inf, 0)
        self.rest = {}
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

    def optimizers(self):
        """Returns the optimizers of the model, each once, by the name of their attribute."""
        found = {"optimizer": self.model.optimizer}
        for name, value in sorted(vars(self.model).items()):
            if isinstance(value, keras.optimizers.Optimizer) and not any(value is known for known in found.values()):
                found[name] = value
        return {name: optimizer for name, optimizer in found.items() if optimizer is not None}

    def arrays(self):
        """Returns all values as a dict of name -> array, copies that no later step writes to."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        parts = {"model": self.model.variables}
        parts.update((name, optimizer.variables) for name, optimizer in self.optimizers().items())
        parts.update((f"metric-{metric.name}", metric.variables) for metric in self.model.metrics)
        values = {part: [variable.value for variable in variables] for part, variables in parts.items()}
        values["torch"] = _torch_random()
        return {
            f"{part}-{i:05}": np.array(keras.ops.convert_to_numpy(value))
            for part, listed in values.items()
            for i, value in enumerate(listed)
        }

    def facts(self):
        """Returns the position as plain JSON values."""
        best = list(self.best) if math.isfinite(self.best[0]) else None
        return {"epoch": self.epoch, "step": self.step, "steps": self.steps, "best": best}

    def take(self, facts, arrays):
        """Takes on what was saved; part of it when the epoch begins: Keras clears the metrics then.

        Raises:
            UserError: it is of another model.
        """
        self.epoch, self.step, self.steps = facts["epoch"], facts["step"], facts["steps"]
        self.best = tuple(facts["best"] or (math.inf, 0))
        for name, optimizer in self.optimizers().items():
            assign(optimizer.variables, arrays, name)
        assign(self.model.variables, arrays, "model")
        self.rest = arrays

    def begin_epoch(self):
        """Takes on, once, the rest of what was saved: torch's random state, and the metrics of an epoch cut short."""
        random = [array for name, array in sorted(self.rest.items()) if name.startswith("torch-")]
        if random and keras.backend.backend() == "torch":
            _set_torch_random(random)
        # At the end of an epoch the metrics hold its validation, which the next epoch has no part in.
        for metric in self.model.metrics if self.step else ():
            for i, variable in enumerate(metric.variables):
                saved = self.rest.get(f"metric-{metric.name}-{i:05}")
                if saved is not None and saved.shape == tuple(variable.shape):
                    variable.assign(saved)
        self.rest = {}
