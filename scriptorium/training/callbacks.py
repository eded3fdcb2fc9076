"""Callbacks of training: show scores and save the state, at each step and at the end of each epoch."""

import contextlib
import math
import time

from scriptorium.nn.mirrored import array_of
from scriptorium.training.console import epoch_row, progress_line, width
from scriptorium.training.main_scores import IN_TRAINING, main_scores

import keras
import numpy as np


def _wait_for_step(model):
    """Returns when the last training step has been computed, so that the time until then includes all of it."""
    if keras.backend.backend() == "jax":
        import jax

        jax.block_until_ready(keras.tree.flatten(model._jax_state))
    # On the other backends, reading the loss waits for the whole step; on JAX, only for the loss.


class StopTraining(Exception):
    """Leaves Keras's loop immediately."""


class Progress(keras.callbacks.Callback):
    """Runs before a script's callbacks: tracks position, loss and speed, prints the epoch, saves the best weights."""

    def __init__(self, session, history):
        super().__init__()
        self.session, self.history, self.compiled, self.failed = session, history, False, False
        self.validated = history.rows[-1] if history.rows else {}  # the scores of the last epoch
        self.validation_seconds = 0.0  # of the last epoch

    def on_epoch_begin(self, epoch, logs=None):
        session = self.session
        session.train.go_to(epoch, session.step)
        session.restore_metrics()
        session.before_validation, self.first = None, session.step
        self.seconds = self.timed = self.tokens = 0
        self.tested = None  # when validation began
        session.began = session.tick = time.monotonic()
        if not session.step:
            session.spent = 0.0

    def on_train_batch_begin(self, batch, logs=None):
        if keras.backend.backend() == "torch":
            # On torch, Dropout and data loaders draw from torch's global random numbers, not from seed generators.
            import torch

            position = np.random.SeedSequence((self.session.run.seed, self.session.steps))
            torch.manual_seed(int(position.generate_state(1, "uint64")[0]))

    def on_train_batch_end(self, batch, logs=None):
        session = self.session
        done = min(self.first + batch + 1, session.total)
        new = done - session.step
        session.step, session.steps = done, session.steps + new
        _wait_for_step(self.model)
        losses = {name: float(value) for name, value in (logs or {}).items() if name == "loss" or "loss" not in logs}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise session.not_finite(f"the {name}")
        if self.compiled:
            self.seconds += time.monotonic() - session.tick
            self.timed += new
            self.tokens += sum(session.train.num_tokens(done - self.first - i) for i in range(1, new + 1))
            names = main_scores(losses, IN_TRAINING, 2) or list(losses)[:1]
            scores = [(name, losses[name], self.validated.get(f"val_{name}")) for name in names]
            speed, place = self.tokens / max(self.seconds, 1e-9), (session.epoch + 1, session.epochs)
            line = progress_line(width() - 1, place, done / session.total, scores, speed, self.seconds_left(done))
            session.run.console.live(line)
        # The very first step compiles the model, so it is left out of the speed.
        self.compiled = True

    def seconds_left(self, done):
        """Returns how long training will still take after `done` steps of this epoch, as far as that is known."""
        session, per_step = self.session, self.seconds / self.timed
        epochs = session.epochs - session.epoch - 1
        steps = session.total - done + epochs * session.total
        if session.max_steps:
            steps = min(steps, session.max_steps - session.steps)
        return steps * per_step + -(-steps // session.total) * self.validation_seconds

    def on_test_begin(self, logs=None):
        self.tested = time.monotonic()
        if self.session.before_validation is None:
            self.session.before_validation = self.session.arrays()

    def on_test_batch_end(self, batch, logs=None):
        if self.session.signal:
            self.session.save(self.session.before_validation)
            raise StopTraining

    def on_epoch_end(self, epoch, logs=None):
        session, run = self.session, self.session.run
        scores = {name: float(value) for name, value in logs.items()}
        if session.monitor not in scores:
            raise ValueError(
                f"Cannot choose the best weights by {session.monitor}; the scores are {', '.join(scores)}."
            )
        now = session.settings()
        if self.seconds:
            now["tokens_per_second"] = self.tokens / self.seconds
        seconds = session.epoch_seconds()
        whole = session.step >= session.total
        self.validated = scores
        self.validation_seconds = time.monotonic() - self.tested if self.tested else 0.0
        left = self.seconds_left(session.step) if self.seconds and whole else None
        is_best = scores[session.monitor] < session.best[0]
        run.console.row(epoch_row((epoch + 1, session.epochs), scores, now, left, is_best))
        if not whole:
            run.console.say(f"Training ends here, at step {session.steps} (--max-steps).")
        training = {name: value for name, value in scores.items() if not name.startswith("val_")}
        run.scalars("train", {**training, **now}, epoch + 1)
        run.scalars("validation", {n[4:]: value for n, value in scores.items() if n.startswith("val_")}, epoch + 1)
        run.board.flush()
        self.history.best = epoch + 1 if is_best else session.best[1]
        with self._without_failing():
            self.history.add({"epoch": epoch + 1, "step": session.steps, **scores, **now, "seconds": seconds})
        if is_best:
            run.save_best(keep=not whole)
            if whole:
                session.best = (scores[session.monitor], epoch + 1)

    @contextlib.contextmanager
    def drawn_in_the_end(self):
        """Draws the history when the block ends, however it ends."""
        try:
            yield
        finally:
            with self._without_failing():
                self.history.finish()

    @contextlib.contextmanager
    def _without_failing(self):
        """Says once what goes wrong in the block: training must not fail because of a table or a figure."""
        try:
            yield
        except Exception as error:
            if not self.failed:
                self.session.run.console.say(f"The history could not be written: {error}. Training is not affected.")
            self.failed = True


def averaging_optimizer(model):
    """Returns the optimizer of a model if it averages the weights, else None; Keras wraps that of float16."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return optimizer if getattr(optimizer, "use_ema", False) else None


class AverageWeights(keras.callbacks.Callback):
    """Gives the model averaged weights from validation to the end of an epoch, so the best weights are averages."""

    def __init__(self):
        super().__init__()
        self.swapped = False

    def swap(self):
        averages = averaging_optimizer(self.model)._model_variables_moving_average
        for variable, average in zip(self.model.trainable_variables, averages, strict=True):
            value = array_of(variable)
            variable.assign(average)
            average.assign(value)
        self.swapped = not self.swapped

    def on_test_begin(self, logs=None):
        if not self.swapped:
            self.swap()

    def on_epoch_end(self, epoch, logs=None):
        if self.swapped:
            self.swap()


class Checkpoint(keras.callbacks.Callback):
    """Runs after a script's callbacks, so that their changes are saved too."""

    def __init__(self, session):
        super().__init__()
        self.session = session

    def on_train_batch_end(self, batch, logs=None):
        session = self.session
        if session.signal:
            session.save()
            raise StopTraining
        if session.max_steps and session.steps >= session.max_steps:
            self.model.stop_training = True
        elif time.monotonic() - session.saved > session.save_seconds and session.step < session.total:
            session.save()
        session.tick = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        session = self.session
        if session.step < session.total:
            # Training ends within the epoch: save the state from before the validation, as if there had been none.
            session.save(session.before_validation)
        else:
            session.epoch, session.step = epoch + 1, 0
            session.save()
        if session.signal:
            raise StopTraining


class CallbackList(keras.callbacks.CallbackList):
    """A CallbackList whose training begins and ends once, however often Keras's `fit` is called."""

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()
