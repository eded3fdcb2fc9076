"""Trains a run from its first step to its last; it can be stopped at any step and resumed exactly.

A save holds the weights, the optimizers, the random state, the running metrics and the position, and the order of the
data depends on (seed, epoch) alone. So a run that was stopped and resumed ends with the same weights, bit for bit, as
one that never stopped.
"""

import contextlib
import math
import signal
import threading

from scriptorium import UserError
from scriptorium.nn import mirrored
from scriptorium.nn.device import other_processes, share_rows
from scriptorium.training.callbacks import (
    AverageWeights,
    CallbackList,
    Checkpoint,
    Progress,
    StopTraining,
    averaging_optimizer,
)
from scriptorium.training.history import History
from scriptorium.training.session import Session

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

DRY_RUN_BATCHES = 2
FEW_STEPS = 1000  # training steps in all; with fewer, a model has hardly begun to learn
SMALL_BATCH = 8


def learning_rate_schedule(rate, decay, steps):
    """Returns a learning rate that falls from `rate` to 0 in `steps` steps; decay is "linear", "cosine" or "none"."""
    schedules = keras.optimizers.schedules
    shapes = {"linear": schedules.PolynomialDecay, "cosine": schedules.CosineDecay}
    return rate if decay == "none" else shapes[decay](rate, steps)


def epochs_for_max_steps(run, args, train):
    """If only --max-steps is given, sets the epochs of a new run to as many as these steps take."""
    if args.max_steps and "epochs" not in args.given and run.is_new:
        args.epochs = run.options["epochs"] = -(-args.max_steps // train.total)


def suit_batch_size(run, args, rows):
    """Halves the batch size of a new run on a small text, unless it was given, until training has enough steps.

    Args:
        run: `Run`, whose options are changed too.
        args: options, with epochs, max_steps and batch_size.
        rows: texts, or windows of running text, in an epoch.

    Returns:
        What to add to the description of the text, str.
    """
    before = args.batch_size
    if not run.is_new or run.dry_run or args.max_steps or "batch_size" in args.given:
        return ""
    size = before
    while size >= 2 * SMALL_BATCH and rows * args.epochs < FEW_STEPS * size and size // 2 % run.devices == 0:
        size //= 2
    if size == before:
        return ""
    args.batch_size = run.options["batch_size"] = run.config["changed"]["batch_size"] = size
    run.changed["batch_size"] = size, before
    return f"; small, so -b {size} instead of {before}"


def is_reporting_epoch(epoch, every, last):
    """Whether to show samples after an epoch, counted from 0: the first, every `every` epochs, and the last."""
    return bool(every) and (epoch == 0 or (epoch + 1) % every == 0 or epoch + 1 == last)


class _Feed(keras.utils.PyDataset):
    def __init__(self, batches, total):
        super().__init__()
        self.batches, self.total = batches, total

    def __len__(self):
        return self.total

    def __getitem__(self, index):
        return self.batches[index]


def keras_feed(batches, limit=None):
    """Returns what passes the batches of a dataset to Keras, in order and of any width.

    Args:
        batches: dataset whose items are arrays, or tuples or dicts of arrays, with time as their second axis.
        limit: maximum number of batches; None for all.
    """
    total = len(batches) if limit is None else min(len(batches), limit)
    if keras.backend.backend() != "tensorflow":
        return _Feed(batches, total)

    def of_any_width(array):
        shape = np.shape(array)
        return tf.TensorSpec((None,) * min(2, len(shape)) + shape[2:], array.dtype)

    def generate():
        return map(batches.__getitem__, range(total))

    kinds = keras.tree.map_structure(of_any_width, batches[0])
    # When a pass ends, the thread that tunes a pipeline misses the notice and sleeps on for up to a minute, mostly
    # on a single core, and the next pass waits for it.
    options = tf.data.Options()
    options.autotune.enabled = False
    if mirrored.in_use():
        return mirrored.feed(generate, kinds, options)
    data = tf.data.Dataset.from_generator(generate, output_signature=kinds)
    return data.apply(tf.data.experimental.assert_cardinality(total)).prefetch(2).with_options(options)


@contextlib.contextmanager
def _signals(session):
    """Records the first Ctrl-C or SIGTERM; the second one stops immediately."""

    def note(number, frame):
        if session.signal is not None:
            raise KeyboardInterrupt
        session.signal = number
        session.run.console.say("Stopping after this step. Press Ctrl-C again to stop immediately.")

    # Only the main thread may handle signals; in another thread the caller has to.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def fit(run, model, train, valid, *, epochs, monitor="val_neg_elbo", callbacks=(), max_steps=None, save_minutes=5):
    """Trains the model of a started run from its current position to the end.

    Args:
        run: started `Run`.
        model: built and compiled `keras.Model`. If it has `begin_epoch`, this is called with each epoch, from 0, and
            may return True to discard earlier epochs for the best weights. `reported`, if any, names its scores.
        train, valid: datasets such as `Batches`; `train` has `total`, `batch_size`, `go_to` and `num_tokens`.
        epochs: passes over `train`, including those before a resume.
        monitor: the validation score that best.safetensors minimizes.
        callbacks: list of `keras.callbacks.Callback`, called after the epoch is printed and before the save.
        max_steps: ends training after this many steps, including those before a resume; None for no limit.
        save_minutes: minutes between two saves within an epoch.

    Returns:
        dict of name -> list with one value per epoch: the columns of history.csv.

    Raises:
        UserError: nothing to train or validate on, a loss that is not finite, or a full disk.
        SystemExit: with status 130 after Ctrl-C and 143 after SIGTERM, once everything is saved.
    """
    total, epochs = _limits(run, train, valid, epochs)
    session = Session(run, model, train, total, epochs, monitor, max_steps, save_minutes)
    if run.saved:
        session.restore(*run.saved)
        run.saved = None
    elif not run.dry_run and not max_steps:
        advise_smaller_batches(run.console, total * epochs, train.batch_size)
    if session.is_complete():
        run.console.say(
            f"Training is complete ({session.epoch} epochs, {session.steps} steps)."
            " Raise --epochs or --max-steps to continue."
        )
    _share_batches(model)
    progress = Progress(session, History(run.directory, session.epoch))
    listed = CallbackList([progress, *callbacks, Checkpoint(session)], add_history=True, model=model)
    model.stop_training = False
    try:
        with _signals(session), other_processes(session.how_to_continue_all), progress.drawn_in_the_end():
            if not session.is_complete():
                run.restore_best_of_epochs()
            listed.begin()
            # Each call of Keras's `fit` forgets that a callback has asked to stop.
            while not session.is_complete() and not model.stop_training:
                _fit_epoch(session, listed, valid)
            listed.end()
    except StopTraining:
        run.console.say(
            f"Stopped in epoch {session.epoch + 1} after step {session.step} of {session.total}; everything is saved.",
            "To continue:",
            f"  {session.resume_command()}",
        )
        run.close()
        raise SystemExit(128 + session.signal) from None
    except BrokenPipeError:
        raise  # of the console, not of a file
    except OSError as error:
        raise UserError(f"A file could not be written: {error}. {session.stopped()}.") from error
    run.board.flush()
    return progress.history.columns()


def advise_smaller_batches(console, steps, batch_size):
    """Says so if training has few steps, and which batch size would give enough of them."""
    if steps < FEW_STEPS:
        enough = max(4, 2 ** math.floor(math.log2(max(1, batch_size * steps / FEW_STEPS))))
        smaller = f"smaller batches (-b {enough})" if enough < batch_size else "more text"
        console.say(f"tip     only {steps:,} training steps in all; {smaller} or more epochs (-e) would help")


def _share_batches(model):
    """Lets the steps of a model share the rows of a batch among devices, if there are several."""

    def shared(step):
        return lambda state, data: step(state, share_rows(data))

    if mirrored.in_use():
        mirrored.share_steps(model)
    elif keras.distribution.distribution():
        model.train_step, model.test_step = shared(model.train_step), shared(model.test_step)


def averaging(args):
    """Returns the arguments of an optimizer that averages the weights if `--ema` asks for it; see `AverageWeights`."""
    return {"use_ema": True, "ema_momentum": args.ema} if args.ema else {}


def fit_run(run, train, valid, args, monitor, callbacks=(), more_epochs=0):
    """Trains the model of a started run, then loads its best weights.

    Args:
        run, train, valid, monitor, callbacks: see `fit`.
        args: options, with epochs, max_steps and save_minutes.
        more_epochs: epochs in addition to those in the options.
    """
    limits = {"epochs": args.epochs + more_epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
    # The averages come last, so that samples are drawn from them.
    callbacks = [*callbacks, *([AverageWeights()] if averaging_optimizer(run.model) else [])]
    fit(run, run.model, train, valid, monitor=monitor, callbacks=callbacks, **limits)
    run.load_best(run.model)


def _limits(run, train, valid, epochs):
    """Returns the steps per epoch and the epochs, within those of a dry run and of Keras's own settings."""
    for split, batches in (("train", train.total), ("validate", len(valid))):
        if not batches:
            raise UserError(f"There is no text to {split} on; use a longer text.")
    total = train.total
    if run.dry_run:
        total, epochs = min(total, DRY_RUN_BATCHES), min(epochs, 1)
    return min(total, keras.config.max_steps_per_epoch() or total), min(epochs, keras.config.max_epochs() or epochs)


def _fit_epoch(session, listed, valid):
    # One call per epoch: otherwise Keras would take the batches left in a resumed epoch for the length of all epochs.
    model, epoch = session.model, session.epoch
    if model.optimizer is not None:
        # At its end, `fit` would replace the weights by their averages (use_ema), from which training would continue.
        model.optimizer.finalize_variable_values = lambda variables: None
    limit = min(len(valid), DRY_RUN_BATCHES) if session.run.dry_run else len(valid)
    valid = keras_feed(valid, limit)
    # A dataset for several devices of TensorFlow does not know how many batches it has.
    steps, checks = (session.total - session.step, limit) if mirrored.in_use() else (None, None)
    if hasattr(model, "begin_epoch") and model.begin_epoch(epoch) and not session.step:
        session.forget_best()
    if session.step < session.total:
        session.train.go_to(epoch, session.step)
        feed = keras_feed(session.train, session.total - session.step)
        span = {"initial_epoch": epoch, "epochs": epoch + 1, "steps_per_epoch": steps, "validation_steps": checks}
        model.fit(feed, validation_data=valid, callbacks=listed, verbose=0, shuffle=False, **span)
    else:
        # Training stopped during the validation of this epoch, so only the validation is left.
        listed.on_epoch_begin(epoch)
        scores = model.get_metrics_result()
        if hasattr(model, "reported"):
            scores = {name: scores[name] for name in model.reported()}
        validation = model.evaluate(valid, steps=checks, callbacks=listed, return_dict=True, verbose=0)
        listed.on_epoch_end(epoch, {**scores, **{f"val_{name}": value for name, value in validation.items()}})
