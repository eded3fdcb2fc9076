"""Where a training stands, to the bit: what has to be kept so that it goes on as if it had never stopped."""

import contextlib
import math
import shlex
import time

from scriptorium import ROOT, UserError
from scriptorium.training import storage, weights
from scriptorium.training.console import readable
from scriptorium.training.run import LAST

import keras
import numpy as np


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

    def variables(self):
        """Returns all variables: dicts of name -> variable under "model", under each optimizer, and under "metric"."""
        model = weights.variables_of(self.model)
        parts = {name: weights.optimizer_variables(optimizer, model) for name, optimizer in self.optimizers().items()}
        return {"model": model, **parts, "metric": weights.metric_variables(self.model.metrics)}

    def arrays(self):
        """Returns all values as a dict of name -> array, copies that no later step writes to."""
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
        """Lets the score of the next epoch be the lowest so far, whatever it is."""
        self.best = (math.inf, 0)

    def take(self, facts, arrays):
        """Takes on what was saved; the metrics when the epoch begins, as Keras clears them then.

        Raises:
            UserError: it is of another model.
        """
        self.epoch, self.step, self.steps = facts["epoch"], facts["step"], facts["steps"]
        self.best = tuple(facts["best"] or (math.inf, 0))
        for part, variables in self.variables().items():
            if part != "metric":
                weights.assign(variables, storage.within(part, arrays))
        # At the end of an epoch they hold its validation, which the next epoch has no part in.
        self.metrics = storage.within("metric", arrays) if self.step else {}

    def take_metrics(self):
        """Gives the metrics, once, the values that were saved in the middle of this epoch."""
        for name, variable in self.variables()["metric"].items():
            saved = self.metrics.get(name)
            if saved is not None and saved.shape == tuple(variable.shape):
                variable.assign(saved)
        self.metrics = {}


class Session(State):
    """What the callbacks of a training share: its state, and what it was asked for.

    Args:
        run, model, train, epochs, monitor, max_steps, save_minutes: see `training.fit`.
        total: steps of a whole epoch.
    """

    def __init__(self, run, model, train, total, epochs, monitor, max_steps, save_minutes):
        super().__init__(model)
        self.run, self.train, self.total, self.epochs = run, train, total, epochs
        self.monitor, self.max_steps = monitor, max_steps
        self.save_seconds, self.saved, self.signal = 60 * save_minutes, time.monotonic(), None
        # What stood before a validation, which draws from the seed generators and clears the metrics.
        self.before_validation = None

    def save(self, arrays=None):
        """Writes last.safetensors, never with a weight that is not finite."""
        arrays = arrays or self.arrays()
        if not all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("model/")):
            raise self.not_finite("a weight")
        with self.disk(LAST):
            self.run.save_state(self.facts(), arrays)
        with self.disk("config.json"):
            self.run.record(self.epoch, time.monotonic() - self.saved)
        self.saved = time.monotonic()

    @contextlib.contextmanager
    def disk(self, name):
        """Ends training in good order when a file cannot be written."""
        try:
            yield
        except OSError as error:
            raise UserError(f"{name} could not be written: {error}. {self.stopped()}") from error

    def stopped(self):
        """Returns a sentence that says where training stands and what there is to go on from, without its full stop."""
        where = f"Training stopped in epoch {self.epoch + 1} at step {self.steps}; "
        if not self.run.has_state:
            return where + "nothing had been saved yet"
        return where + f"the last save is whole: {self.how_to_go_on()}"

    def how_to_go_on(self):
        logdir = self.run.directory.resolve().parent.parent
        usual = logdir == ROOT / "runs"
        elsewhere = "" if usual else f" -T {shlex.quote(readable(logdir))}"
        return f"python {self.run.script}.py --resume {self.run.name}{elsewhere}"

    def not_finite(self, what):
        return UserError(
            f"Step {self.steps}: {what} is not finite. {self.stopped()}."
            " To get past it, train anew with a lower --learning-rate, a lower --clip-norm, or --dtype float32."
        )

    def settings(self):
        """Returns what is set for the next step: kl_weight and learning_rate, where there are such."""
        values = {}
        weight = self.model.kl_weight_now() if hasattr(self.model, "kl_weight_now") else None
        if weight is not None:
            values["kl_weight"] = float(weight)
        if self.model.optimizer is not None:
            values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        return values
