"""Training state, saved and restored bit for bit, so that a run continues as if it had never stopped."""

import math
import shlex
import time

from scriptorium import ROOT, UserError
from scriptorium.nn.compiled import add_in_order
from scriptorium.nn.mirrored import array_of
from scriptorium.training import storage, weights
from scriptorium.training.console import readable

import keras
import numpy as np


class State:
    """The weights, optimizers, seeds and metrics of a model, and the position in its training.

    Metrics given to `compile` create their variables at the first step, so they cannot be restored before it: in a
    resumed epoch they cover only the rest of it. Metrics that are attributes of the model are restored in full.

    Args:
        model: built and compiled `keras.Model`; every `SeedGenerator` is an attribute of it or of one of its layers,
            directly or in a list or dict.

    Attributes:
        epoch: epochs done.
        step: steps done in the current epoch.
        steps: steps done in total.
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
        """Returns the distinct optimizers of the model by the names of their attributes."""
        optimizers = {"optimizer": self.model.optimizer}
        for name, value in sorted(vars(self.model).items()):
            if isinstance(value, keras.optimizers.Optimizer) and not any(
                value is known for known in optimizers.values()
            ):
                optimizers[name] = value
        return {name: optimizer for name, optimizer in optimizers.items() if optimizer is not None}

    def variables(self):
        """Returns all variables: dicts of name -> variable under "model", under each optimizer, and under "metric"."""
        model = weights.variables_of(self.model)
        parts = {name: weights.optimizer_variables(optimizer, model) for name, optimizer in self.optimizers().items()}
        return {"model": model, **parts, "metric": weights.metric_variables(self.model.metrics)}

    def arrays(self):
        """Returns all values as a dict of name -> array; they are copies."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        return {
            f"{part}/{name}": array
            for part, variables in self.variables().items()
            for name, array in weights.values(variables).items()
        }

    def facts(self):
        """Returns the position as plain JSON values."""
        best = list(self.best) if math.isfinite(self.best[0]) else None
        return {"epoch": self.epoch, "step": self.step, "steps": self.steps, "best": best}

    def forget_best(self):
        """Discards the best score, so that the next epoch becomes the best."""
        self.best = (math.inf, 0)

    def restore(self, facts, arrays):
        """Restores a save; metrics follow when the epoch begins, because Keras clears them then.

        Raises:
            UserError: the save belongs to another model.
        """
        self.epoch, self.step, self.steps = facts["epoch"], facts["step"], facts["steps"]
        self.best = tuple(facts["best"] or (math.inf, 0))
        for part, variables in self.variables().items():
            if part != "metric":
                weights.assign(variables, storage.within(part, arrays))
        # At the end of an epoch the metrics hold its validation, which does not belong to the next epoch.
        self.metrics = storage.within("metric", arrays) if self.step else {}

    def restore_metrics(self):
        """Restores the metrics, once, to their values saved in the middle of this epoch."""
        for name, variable in self.variables()["metric"].items():
            saved = self.metrics.get(name)
            if saved is not None and saved.shape == tuple(variable.shape):
                variable.assign(saved)
        self.metrics = {}


class Session(State):
    """The state and the settings that the callbacks of a training run share.

    Args:
        run, model, train, epochs, monitor, max_steps, save_minutes: see `training.fit`.
        total: steps per epoch.
    """

    def __init__(self, run, model, train, total, epochs, monitor, max_steps, save_minutes):
        add_in_order()
        super().__init__(model)
        self.run, self.train, self.total, self.epochs = run, train, total, epochs
        self.monitor, self.max_steps = monitor, max_steps
        self.save_seconds, self.saved, self.signal = 60 * save_minutes, time.monotonic(), None
        self.began, self.spent = time.monotonic(), 0.0  # when this epoch began here, and its seconds before that
        # The state before a validation, which draws from the seed generators and clears the metrics.
        self.before_validation = None

    def facts(self):
        return super().facts() | {"seconds": self.epoch_seconds() if self.step else 0.0}

    def restore(self, facts, arrays):
        super().restore(facts, arrays)
        self.spent = facts.get("seconds", 0.0)

    def epoch_seconds(self):
        """Returns how long the current epoch has taken, also before training was stopped in it."""
        return self.spent + time.monotonic() - self.began

    def is_complete(self):
        """Whether all epochs, or `max_steps` steps, are done."""
        return self.epoch >= self.epochs or bool(self.max_steps and self.steps >= self.max_steps)

    def save(self, arrays=None):
        """Writes last.safetensors; raises an error if a weight is not finite."""
        arrays = arrays or self.arrays()
        if not all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("model/")):
            raise self.not_finite("a weight")
        self.run.save_state(self.facts(), arrays)
        self.run.record(self.epoch, self.epochs, self.best[1], time.monotonic() - self.saved)
        self.saved = time.monotonic()

    def stopped(self):
        """Returns a sentence, without its period, that says where training stopped and how to continue it."""
        where = f"Training stopped in epoch {self.epoch + 1} at step {self.steps}; "
        if not self.run.has_state:
            return where + "nothing had been saved yet"
        return where + f"the last save is intact; continue with {self.resume_command()}"

    def resume_command(self):
        logdir = self.run.directory.resolve().parent.parent
        usual = logdir == ROOT / "runs"
        elsewhere = "" if usual else f" -T {shlex.quote(readable(logdir))}"
        return f"python {self.run.script}.py --resume {shlex.quote(self.run.name)}{elsewhere}"

    def how_to_continue_all(self):
        """Returns a sentence about how to continue a training of several processes, one of which has ended."""
        if not self.run.has_state:
            return "Nothing had been saved yet; start all processes again."
        return f"The last save is intact; continue with {self.resume_command()} in all processes."

    def not_finite(self, what):
        return UserError(
            f"Step {self.steps}: {what} is not finite. {self.stopped()}."
            " If it happens again, resume with --dtype float32, or start a new run with a lower --learning-rate or"
            " --clip-norm."
        )

    def settings(self):
        """Returns the kl_weight and learning_rate of the next step, if the model has them."""
        values = {}
        weight = self.model.kl_weight_now() if hasattr(self.model, "kl_weight_now") else None
        if weight is not None:
            values["kl_weight"] = float(weight)
        if self.model.optimizer is not None:
            values["learning_rate"] = float(array_of(self.model.optimizer.learning_rate))
        return values
