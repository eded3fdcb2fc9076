"""Training a run from its first step to its last; it can be stopped at any step and goes on as if it never had been.

Import this module before Keras: it keeps TensorFlow from writing to the console.

A save holds the weights, the optimizers, the random state, the running metrics and the position. The order of the data
is a function of (seed, epoch) alone. So a run that was stopped and resumed ends with the same weights, bit for bit, as
one that never stopped.
"""

import contextlib
import signal
import threading

from scriptorium import UserError
from scriptorium.training.callbacks import Callbacks, Keep, Stop, Watch
from scriptorium.training.history import History
from scriptorium.training.session import Session

import keras
import numpy as np

DRY_RUN_BATCHES = 2


def falling(rate, decay, steps):
    """Returns a learning rate that falls from `rate` to 0 in `steps` steps; decay is "linear", "cosine" or "none"."""
    schedules = keras.optimizers.schedules
    shapes = {"linear": schedules.PolynomialDecay, "cosine": schedules.CosineDecay}
    return rate if decay == "none" else shapes[decay](rate, steps)


def settle_epochs(run, args, train):
    """Lets --max-steps alone say how many epochs a new run has: as many as these steps take."""
    if args.max_steps and "epochs" not in args.given and run.is_new:
        args.epochs = run.options["epochs"] = -(-args.max_steps // train.total)


def due(epoch, every, last):
    """Whether samples are shown after an epoch, counted from 0: each `every` epochs, and after the last in any case."""
    return bool(every) and ((epoch + 1) % every == 0 or epoch + 1 == last)


class Feed(keras.utils.PyDataset):
    """What Keras sees of a dataset: its batches in their order, of any width, as many as there are.

    Keras on TensorFlow looks at the first two batches before all and takes their shapes for those of every batch. So it
    is shown the first one twice, the second time with more time.

    Args:
        batches: dataset whose items are arrays, or tuples or dicts of arrays, with the time as their second axis.
        limit: serve no more than this many; None serves all.
    """

    def __init__(self, batches, limit=None):
        super().__init__()
        self.batches, self.limit = batches, limit
        self.looked_at = keras.backend.backend() != "tensorflow"

    def __len__(self):
        total = len(self.batches) if self.limit is None else min(len(self.batches), self.limit)
        return total if self.looked_at else 2

    def __getitem__(self, index):
        if self.looked_at:
            return self.batches[index]
        self.looked_at = index == 1
        return keras.tree.map_structure(_wider if index else np.asarray, self.batches[0])


def _wider(array):
    return np.pad(array, [(0, int(axis == 1)) for axis in range(np.ndim(array))])


@contextlib.contextmanager
def _signals(session):
    """Notes the first Ctrl-C or SIGTERM; the second one stops at once."""

    def note(number, frame):
        if session.signal is not None:
            raise KeyboardInterrupt
        session.signal = number
        session.run.console.say("Stopping after this step. Once more stops at once.")

    # Only the main thread may handle signals; a training in another one is left to who started it.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def fit(run, model, train, valid, *, epochs, monitor="val_neg_elbo", callbacks=(), max_steps=None, save_minutes=5):
    """Trains the model of a run that has started, from where it stands to its end.

    Args:
        run: started `Run`.
        model: built and compiled `keras.Model`. Where it has `begin_epoch`, that is called with each epoch, from 0,
            and may return that earlier epochs are not to count for the best weights.
        train, valid: datasets such as `util.Batches`; `train` has `total`, `go_to` and `tokens`.
        epochs: passes over `train`, those before a resume counted.
        monitor: the validation score, the lower the better, that best.safetensors is chosen by.
        callbacks: list of `keras.callbacks.Callback`, called after the line of the epoch and before the save.
        max_steps: ends training after this many steps, those before a resume counted; None does not.
        save_minutes: minutes between two saves within an epoch.

    Returns:
        dict of name -> list with a value an epoch: the columns of history.csv.

    Raises:
        UserError: nothing to train or validate on, a loss that is not finite, a disk that is full.
        SystemExit: of status 130 after Ctrl-C and 143 after SIGTERM, when all is saved.
    """
    for split, batches in (("train", train.total), ("validate", len(valid))):
        if not batches:
            raise UserError(f"There is no text to {split} on: give a longer text.")
    epochs = min(epochs, 1) if run.dry_run else epochs
    total = min(train.total, DRY_RUN_BATCHES) if run.dry_run else train.total
    session = Session(run, model, train, total, epochs, monitor, max_steps, save_minutes)
    if run.saved:
        session.take(*run.saved)
        run.saved = None
    history = History(run.directory, session.epoch)
    if session.epoch >= epochs or (max_steps and session.steps >= max_steps):
        run.console.say(
            f"It has had its {session.epoch} epochs, {session.steps} steps; --epochs and --max-steps ask for more."
        )
    listed = Callbacks([Watch(session, history), *callbacks, Keep(session)], add_history=True, model=model)
    try:
        with _signals(session):
            listed.begin()
            while session.epoch < epochs and not (max_steps and session.steps >= max_steps):
                _fit_epoch(session, listed, valid)
            listed.end()
    except Stop:
        run.console.say(
            f"Stopped in epoch {session.epoch + 1} after step {session.step} of {session.total}; all is saved.",
            "To go on:",
            f"  {session.how_to_go_on()}",
        )
        run.close()
        raise SystemExit(128 + session.signal) from None
    run.board.flush()
    return history.columns()


def _fit_epoch(session, listed, valid):
    # An epoch is a call of its own: Keras would take the batches that are left of a first one for those of all.
    model, epoch = session.model, session.epoch
    valid = Feed(valid, DRY_RUN_BATCHES if session.run.dry_run else None)
    if session.step < session.total:
        session.train.go_to(epoch, session.step)
        if hasattr(model, "begin_epoch") and model.begin_epoch(epoch) and not session.step:
            session.forget_best()
        feed = Feed(session.train, session.total)
        span = {"initial_epoch": epoch, "epochs": epoch + 1}
        model.fit(feed, validation_data=valid, callbacks=listed, verbose=0, shuffle=False, **span)
    else:
        # It was stopped in the validation of this epoch, which is all that is left of it.
        listed.on_epoch_begin(epoch)
        scores = dict(model.get_metrics_result())
        validation = model.evaluate(valid, callbacks=listed, return_dict=True, verbose=0)
        listed.on_epoch_end(epoch, {**scores, **{f"val_{name}": value for name, value in validation.items()}})
