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
        self.metrics = {}
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
        return {
            f"{part}-{i:05}": np.array(keras.ops.convert_to_numpy(variable.value))
            for part, variables in parts.items()
            for i, variable in enumerate(variables)
        }

    def facts(self):
        """Returns the position as plain JSON values."""
        best = list(self.best) if math.isfinite(self.best[0]) else None
        return {"epoch": self.epoch, "step": self.step, "steps": self.steps, "best": best}

    def forget_best(self):
        """Lets the score of the next epoch be the lowest so far, whatever it is."""
        self.best = (math.inf, 0)

    def take(self, facts, arrays):
        """Takes on what was saved; the metrics when the epoch begins, as Keras clears them then.

        Raises:
            UserError: it is of another model.
        """
        self.epoch, self.step, self.steps = facts["epoch"], facts["step"], facts["steps"]
        self.best = tuple(facts["best"] or (math.inf, 0))
        for name, optimizer in self.optimizers().items():
            assign(optimizer.variables, arrays, name)
        assign(self.model.variables, arrays, "model")
        # At the end of an epoch they hold its validation, which the next epoch has no part in.
        self.metrics = {name: array for name, array in arrays.items() if name.startswith("metric-") and self.step}

    def take_metrics(self):
        """Gives the metrics, once, the values that were saved in the middle of this epoch."""
        for metric in self.model.metrics:
            for i, variable in enumerate(metric.variables):
                saved = self.metrics.get(f"metric-{metric.name}-{i:05}")
                if saved is not None and saved.shape == tuple(variable.shape):
                    variable.assign(saved)
        self.metrics = {}
