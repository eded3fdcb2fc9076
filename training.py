"""Training a run from its first step to its last: it can be stopped at any step and goes on as if it never had been.

Import this module before Keras: it keeps TensorFlow from writing to the console.

A save holds the weights, the state of the optimizers and of every `SeedGenerator` of the model, the running metrics, and the
position: epoch and step. The order of the data is a function of (seed, epoch) alone, so a run that was stopped and resumed ends
with the same weights, bit for bit, as one that never stopped.
"""

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

# Read when TensorFlow is loaded: its own errors reach Python as exceptions anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import keras
import numpy as np

from logs import History, duration
from options import add_run_options, add_training_options, open_path, open_run, parse, set_dtype
from runs import Run, assign
from util import UserError

__all__ = [
    "Run", "add_run_options", "add_training_options", "command", "fit", "open_path", "open_run", "parse", "set_dtype",
]  # fmt: skip

for name in ("absl", "tensorflow"):
    logging.getLogger(name).setLevel(logging.ERROR)

DRY_RUN_BATCHES = 2


def command(main, parse_args):
    """Runs a script: what the user can mend is one line on stderr and exit status 2, never a traceback.

    Args:
        main: function of the options.
        parse_args: function that returns them.
    """
    program = Path(sys.argv[0]).name
    try:
        main(parse_args())
    except UserError as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Who read our output has gone (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        sys.exit(2)


class Feed(keras.utils.PyDataset):
    """What Keras sees of a dataset: its batches in their order, of any width, as many as there are now.

    Keras on TensorFlow takes the shapes of the first two batches for those of all. So until the epoch begins, the second one is
    shown wider than the first by one.

    Args:
        batches: dataset whose items are arrays, or tuples or dicts of arrays, with time as their second axis.
        limit: serve no more than this many; None serves all.
    """

    def __init__(self, batches, limit=None):
        super().__init__()
        self.batches, self.limit, self.begun = batches, limit, False

    def __len__(self):
        total = len(self.batches) if self.limit is None else min(len(self.batches), self.limit)
        return total if self.begun or total == 0 else max(total, 2)

    def __getitem__(self, index):
        if self.begun:
            return self.batches[index]
        return keras.tree.map_structure(self._wider if index else np.asarray, self.batches[0])

    @staticmethod
    def _wider(array):
        array = np.asarray(array)
        return np.pad(array, [(0, int(axis == 1)) for axis in range(array.ndim)])

    def on_epoch_begin(self):
        self.begun = True

    # Keras calls this before the first epoch too, right after it has looked at the shapes.
    def on_epoch_end(self):
        self.begun = True


class _Stop(Exception):
    """Leaves Keras's loop at once."""


class _Session:
    """All that the two callbacks of `fit` share: where training stands."""

    def __init__(self, run, model, train, valid, epochs, monitor, max_steps, save_minutes):
        self.run, self.model, self.train, self.valid = run, model, train, valid
        self.epochs, self.monitor, self.max_steps, self.save_seconds = epochs, monitor, max_steps, 60 * save_minutes
        self.epoch = self.step = self.steps = 0
        self.best, self.best_epoch = math.inf, 0
        self.signal = None
        self.metrics = {}
        self.total = min(train.total, DRY_RUN_BATCHES) if run.dry_run else train.total
        # State before the validation of a whole epoch: it draws from the seed generators and clears the metrics.
        self.before_validation = None

    # State

    def optimizers(self):
        found = {"optimizer": self.model.optimizer}
        found.update((k, v) for k, v in vars(self.model).items() if isinstance(v, keras.optimizers.Optimizer))
        unique = {id(v): (k, v) for k, v in sorted(found.items(), reverse=True) if v is not None}
        return dict(sorted(unique.values()))

    def arrays(self):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        parts = {"model": self.model.variables}
        parts.update((name, optimizer.variables) for name, optimizer in self.optimizers().items())
        arrays = {
            f"{part}-{i:05}": keras.ops.convert_to_numpy(v.value)
            for part, vs in parts.items()
            for i, v in enumerate(vs)
        }
        for metric in self.model.metrics:
            for i, variable in enumerate(metric.variables):
                arrays[f"metric-{metric.name}-{i:05}"] = keras.ops.convert_to_numpy(variable.value)
        return arrays

    def save(self, arrays=None):
        """Writes last.ckpt; refuses to when a number in it is not finite."""
        arrays = self.arrays() if arrays is None else arrays
        weights = (a for name, a in arrays.items() if name.startswith("model-") and a.dtype.kind == "f")
        if not all(np.isfinite(a).all() for a in weights):
            raise self.not_finite("A weight is")
        facts = {"epoch": self.epoch, "step": self.step, "steps": self.steps}
        facts["best"] = [self.best, self.best_epoch] if math.isfinite(self.best) else None
        try:
            self.run.save_state(facts, arrays)
        except OSError as error:
            raise UserError(
                f"last.ckpt could not be written ({error}): training stops at step {self.steps}, the save before it is whole."
                f" Make room, then: {self.how_to_go_on()}"
            ) from error
        self.saved = time.monotonic()

    def restore(self):
        facts, arrays = self.run.state
        self.epoch, self.step, self.steps = facts["epoch"], facts["step"], facts["steps"]
        if facts["best"]:
            self.best, self.best_epoch = facts["best"]
        if self.step >= self.total:
            self.step = self.total
        assign(self.run.directory, self.model.variables, arrays, "model")
        for name, optimizer in self.optimizers().items():
            assign(self.run.directory, optimizer.variables, arrays, name)
        self.metrics = {name: array for name, array in arrays.items() if name.startswith("metric-")}
        self.run.state = None

    def restore_metrics(self):
        for metric in self.model.metrics:
            for i, variable in enumerate(metric.variables):
                saved = self.metrics.get(f"metric-{metric.name}-{i:05}")
                if saved is not None and saved.shape == tuple(variable.shape):
                    variable.assign(saved)
        self.metrics = {}

    # Words

    def how_to_go_on(self):
        return f"python {self.run.script}.py --resume {self.run.name}"

    def not_finite(self, what):
        return UserError(
            f"{what} not finite at step {self.steps} (epoch {self.epoch + 1}): training stops, the last save is from before."
            f" Try a lower --learning-rate, a lower --clip-norm, or --dtype float32; then start anew, or: {self.how_to_go_on()}"
        )

    def kl_weight(self):
        now = getattr(self.model, "kl_weight_now", None)
        return None if now is None else float(now())

    def learning_rate(self):
        rate = getattr(self.model.optimizer, "learning_rate", None)
        return None if rate is None else float(keras.ops.convert_to_numpy(rate))


class _Watch(keras.callbacks.Callback):
    """Comes before the callbacks of a script: position, loss, speed, and the line of an epoch."""

    def __init__(self, session, history):
        super().__init__()
        self.session, self.history = session, history
        self.slow = True
        self.failed = False

    def on_epoch_begin(self, epoch, logs=None):
        session = self.session
        session.epoch = epoch
        session.train.go_to(epoch, session.step)
        session.restore_metrics()
        session.before_validation = None
        self.first = session.step
        self.seconds = self.tokens = self.timed = 0
        self.began = session.tick = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        session, logs = self.session, logs or {}
        done = min(self.first + batch + 1, session.total)
        steps, session.step = done - session.step, done
        session.steps += steps
        losses = {"loss": logs["loss"]} if "loss" in logs else logs
        # Reading the loss waits for the step, so what follows measures it.
        losses = {name: float(keras.ops.convert_to_numpy(value)) for name, value in losses.items()}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise session.not_finite(f"The {name} is")
        now = time.monotonic()
        if self.slow:
            # The first step compiles the model: it says nothing about speed.
            self.slow = False
        else:
            self.seconds += now - session.tick
            self.timed += steps
            self.tokens += sum(session.train.tokens(done - 1 - i - self.first) for i in range(steps))
        if self.seconds:
            loss = f"{next(iter(losses))} {next(iter(losses.values())):.3f}, " if losses else ""
            session.run.console.live(
                f"epoch {session.epoch + 1}/{session.epochs}  step {done}/{session.total}  {loss}"
                f"{self.tokens / self.seconds:,.0f} tokens/s, {duration(self.left(done))} to the end of the epoch"
            )

    def left(self, done):
        return (self.session.total - done) * self.seconds / max(self.timed, 1)

    def on_test_begin(self, logs=None):
        # The arrays are copied: some backends give a view of memory that the next step writes to.
        if self.session.before_validation is None:
            self.session.before_validation = {name: np.array(a) for name, a in self.session.arrays().items()}

    def on_test_batch_end(self, batch, logs=None):
        if self.session.signal:
            raise _Stop

    def on_epoch_end(self, epoch, logs=None):
        session, run = self.session, self.session.run
        scores = {name: float(value) for name, value in (logs or {}).items()}
        if session.monitor not in scores:
            raise ValueError(f"There is no {session.monitor} to choose the best weights by, only {', '.join(scores)}.")
        row = {"epoch": epoch + 1, "step": session.steps, **scores}
        extra = {"kl_weight": session.kl_weight(), "learning_rate": session.learning_rate()}
        if self.seconds:
            extra["tokens_per_second"] = self.tokens / self.seconds
        extra = {name: value for name, value in extra.items() if value is not None}
        row.update(extra, seconds=time.monotonic() - self.began)
        whole = session.step >= session.total
        run.console.say(self.line(epoch, scores, extra, whole, row["seconds"]))
        training = {name: value for name, value in scores.items() if not name.startswith("val_")}
        run.scalars("train", {**training, **extra}, epoch + 1)
        run.scalars("validation", {n[4:]: v for n, v in scores.items() if n.startswith("val_")}, epoch + 1)
        run.board.flush()
        try:
            self.history.add(row)
        except Exception as error:
            # A table and a picture are no reason to lose a training.
            if not self.failed:
                run.console.say(f"The history could not be written ({error}); the training goes on.")
            self.failed = True
        if scores[session.monitor] < session.best:
            session.best, session.best_epoch = scores[session.monitor], epoch + 1
            try:
                run.save_best()
            except OSError as error:
                raise UserError(
                    f"best.weights.h5 could not be written ({error}): training stops at step {session.steps}, the last save is"
                    f" whole. Make room, then: {session.how_to_go_on()}"
                ) from error

    def line(self, epoch, scores, extra, whole, seconds):
        session = self.session
        said = [f"epoch {epoch + 1}/{session.epochs}" + ("" if whole else f" (stopped after step {session.steps})")]
        for name, value in scores.items():
            if name == "loss" and "val_loss" in scores and len(scores) > 2:
                continue
            if not name.startswith("val_"):
                other = scores.get(f"val_{name}")
                said.append(f"{name} {_short(value)}" + ("" if other is None else f"/{_short(other)}"))
        if "kl_weight" in extra:
            said.append(f"kl_weight {extra['kl_weight']:.3g}")
        if "tokens_per_second" in extra:
            said.append(f"{extra['tokens_per_second']:,.0f} tokens/s")
        left = (session.epochs - epoch - 1) * seconds * session.total / max(1, session.step - self.first)
        said.append(f"{duration(left)} left" if left and whole else duration(seconds))
        return "  ".join(said)


def _short(value):
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class _Keep(keras.callbacks.Callback):
    """Comes after the callbacks of a script, so that what they change is saved too."""

    def __init__(self, session):
        super().__init__()
        self.session = session

    def on_train_batch_end(self, batch, logs=None):
        session = self.session
        if session.signal:
            session.save()
            raise _Stop
        if session.max_steps and session.steps >= session.max_steps:
            self.model.stop_training = True
        elif time.monotonic() - session.saved > session.save_seconds and session.step < session.total:
            session.save()
        session.tick = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        session = self.session
        if session.step >= session.total:
            session.epoch, session.step = epoch + 1, 0
            session.save()
        else:
            # Stopped within the epoch: what goes on from here must not see that there was a validation.
            session.save(session.before_validation)
        if session.signal:
            raise _Stop


class _Callbacks(keras.callbacks.CallbackList):
    """Callbacks of several calls of Keras's `fit` that begin and end training once."""

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self, logs=None):
        super().on_train_end(logs)


@contextlib.contextmanager
def _signals(session):
    """Notes the first Ctrl-C or SIGTERM in the session; the second one stops at once."""

    def note(number, frame):
        if session.signal is not None:
            raise KeyboardInterrupt
        session.signal = number
        session.run.console.say("Stopping after this step; once more stops at once.")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fit(run, model, train, valid, *, epochs, monitor="val_neg_elbo", callbacks=(), max_steps=None, save_minutes=5):
    """Trains the model of a run that has started, from where it stands to its end.

    Args:
        run: started `Run`.
        model: built and compiled `keras.Model`.
        train, valid: datasets such as `util.Batches`; `train` has `go_to`, `total` and `tokens`.
        epochs: passes over `train` in all, with those before a resume.
        monitor: the validation score, the lower the better, that best.weights.h5 is chosen by.
        callbacks: `keras.callbacks.Callback` objects, called after the line of the epoch and before the save.
        max_steps: ends training after this many steps in all; None does not.
        save_minutes: minutes between two saves within an epoch.

    Returns:
        dict of name -> list of one value an epoch: all columns of history.csv.

    Raises:
        UserError: nothing to train or validate on, a loss that is not finite, a full disk.
        SystemExit: with status 130 after Ctrl-C and 143 after SIGTERM, when all is saved.
    """
    if not len(valid) or not train.total:
        raise UserError(f"There is no text to {'validate' if train.total else 'train'} on: give a longer text.")
    limit = DRY_RUN_BATCHES if run.dry_run else None
    epochs = min(epochs, 1) if run.dry_run else epochs
    session = _Session(run, model, train, valid, epochs, monitor, max_steps, save_minutes)
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if run.state:
        session.restore()
    history = History(run.directory, session.epoch)
    listed = _Callbacks([_Watch(session, history), *callbacks, _Keep(session)], add_history=True, model=model, epochs=epochs)
    session.saved = time.monotonic()
    try:
        with _signals(session):
            listed.begin()
            while session.epoch < epochs and not (max_steps and session.steps >= max_steps):
                _epoch(session, listed, limit)
            listed.end()
    except _Stop:
        run.board.flush()
        run.console.say(f"Stopped in epoch {session.epoch + 1} after step {session.step}, all saved. To go on:")
        run.console.say(f"  {session.how_to_go_on()}")
        run.close()
        raise SystemExit(128 + session.signal) from None
    run.board.flush()
    return history.columns()


def _epoch(session, listed, limit):
    """Trains one epoch or what is left of it. Its own call of Keras's `fit`, which would take the number of batches of the first
    epoch, cut short by a resume, for that of all."""
    model, epoch = session.model, session.epoch
    valid = Feed(session.valid, limit)
    if session.step < session.total:
        feed = Feed(session.train, None if limit is None else limit)
        session.train.go_to(epoch, session.step)
        model.fit(
            feed,
            validation_data=valid,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=listed,
            verbose=0,
            shuffle=False,
        )
        return
    # Stopped in the validation of this epoch: only that is left of it.
    listed.on_epoch_begin(epoch)
    logs = dict(model.get_metrics_result())
    scores = model.evaluate(valid, callbacks=listed, return_dict=True, verbose=0)
    listed.on_epoch_end(epoch, {**logs, **{f"val_{name}": value for name, value in scores.items()}})
