"""A run: its directory, its files and its outputs.

A run can be opened no matter when its process was killed. The save before `last.safetensors` is kept as
`previous.safetensors`: if the last one is damaged, only the training between the two is repeated, with the same result.
"""

import contextlib
import datetime
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path

from scriptorium import UserError
from scriptorium.training import storage, weights
from scriptorium.training.console import Console, readable
from scriptorium.training.finding import BEST, FORMAT, LAST
from scriptorium.training.outputs import Outputs
from scriptorium.training.tensorboard import Board

PREVIOUS = "previous.safetensors"
LONGEST_SUFFIX = 50  # of a name that was not given
BEST_OF_EPOCHS = "best-of-epochs.safetensors"  # the best weights before --max-steps ended training within an epoch


class Run(Outputs):
    """One run of a script, created by `open_run` and `open_for_use`.

    Attributes:
        script: name of the script, without ".py".
        directory: Path of the run; None until a new one starts.
        options: dict of every option, plain JSON values.
        config: dict, the content of config.json.
        vocabulary: `Vocabulary`; None until a new run starts.
        model: the `keras.Model`, set by `start` or by the code that builds it.
        seed: int, never negative.
        is_new: False for an existing run.
        dry_run: True for a run in a temporary directory, which `close` removes.
        for_use: True if the run was opened for sampling or scoring, not for training.
        devices: number of devices to train on.
        saved: (facts, arrays) of the last save, which `fit` continues from; else None.
    """

    def __init__(self, script, directory, config, vocabulary=None, *, is_new=False, logdir=None, dry_run=False):
        self.script, self.directory, self.config, self.vocabulary = script, directory, config, vocabulary
        self.options, self.seed = config["options"], config["seed"]
        self.is_new, self.logdir, self.dry_run = is_new, logdir, dry_run
        self.model = self.lock = self.saved = self.board = None
        self.for_use = False
        self.text_given = False  # whether the command line names the text of an existing run
        self.scores_are_its_own = True  # whether scores are those of its own test split
        self.changed, self.flags, self.devices = {}, {}, 1
        self.console = Console()

    @property
    def name(self):
        return self.directory.resolve().name

    @property
    def is_packed(self):
        """Whether the run was packed for use, without the state for training, as all bundled runs are."""
        return bool(self.config.get("packed"))

    def start(self, model, vocabulary, corpus):
        """Creates the directory, or opens that of a resumed run, and prints the banner; use it in a `with` statement.

        Args:
            model: built `keras.Model`.
            vocabulary: `Vocabulary`.
            corpus: has `name`, `fingerprint` and `description`.

        Raises:
            UserError: the name is taken, another process is training here, or the corpus has changed.
        """
        self.model, self.vocabulary = model, vocabulary
        self.config["parameters"] = model.count_params()
        if self.is_new:
            self.config["corpus"] = {key: getattr(corpus, key) for key in ("name", "fingerprint", "description")}
            self._make()
        else:
            was = self.config["corpus"]
            if was.get("fingerprint") != corpus.fingerprint:
                raise UserError(f"{self.name} was trained on another text ({was.get('description')}).")
            self.lock = storage.Lock(self.directory / "lock")
            for left_behind in self.directory.rglob(f"{storage.TEMPORARY}*"):
                left_behind.unlink(missing_ok=True)
            self.saved = self.last_state()
            self.write_json("config.json", self.config)
        where = "dry run, nothing is kept" if self.dry_run else readable(self.directory)
        at = self.saved[0] if self.saved else {"epoch": 0, "step": 0, "steps": 0}
        if not self.is_new:
            where += f", continues in epoch {at['epoch'] + 1} after step {at['step']}"
        first = {} if self.is_new else {"first_epoch": at["epoch"] + 1, "first_step": at["steps"] + 1}
        self.board = Board(self.directory, self.console, **first)
        self.console.say(
            f"corpus  {corpus.description}",
            f"model   {self.script}, {self.config['parameters']:,} parameters",
            f"device  {self.config['device']}, {self.config['dtype']}: {self.config['dtype_reason']}",
            f"run     {where}, seed {self.seed}",
        )
        self.describe()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _make(self):
        if self.dry_run:
            self.logdir = tempfile.mkdtemp(prefix="dry-run-")
        parent = Path(self.logdir) / self.script
        temporary = None
        try:
            parent.mkdir(parents=True, exist_ok=True)
            temporary = parent / f".new-{os.getpid()}-{secrets.token_hex(4)}"
            temporary.mkdir()
            storage.write_json(temporary / "vocab.json", self.vocabulary.to_json())
            storage.write_json(temporary / "config.json", self.config)
            # Rename the directory only when it is complete.
            temporary = self.directory = self._take_name(temporary, parent)
            self.lock = storage.Lock(self.directory / "lock")
        except BaseException:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)
            self.close()
            raise

    def _take_name(self, temporary, parent):
        if self.directory is not None:
            try:
                return temporary.rename(self.directory)
            except OSError as error:
                if not self.directory.exists():
                    raise
                raise name_is_taken(self.directory) from error
        started = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S") + self._suffix()
        for number in range(1, 1000):
            directory = parent / (started if number == 1 else f"{started}-{number}")
            # Renaming never replaces a directory that is not empty, so two runs never share one.
            try:
                return temporary.rename(directory)
            except OSError:
                if not directory.exists():
                    raise
        raise UserError(f"{parent} has too many runs started in this second; try again.")

    def _suffix(self):
        """Returns the end of a name that was not given: the corpus and the options that differ from the defaults."""
        suffix = ""
        for name, (value, _) in self.changed.items():
            what = Path(value).stem if name == "data" else value if name == "task" else name
            if name not in ("data", "task") and value is not True:
                what += f"{value:g}" if isinstance(value, float) else str(value)
            part = re.sub(r"[^\w.+=@-]+", "-", str(what)).strip("-.")
            if part and len(suffix) + len(part) < LONGEST_SUFFIX:
                suffix += f"-{part}"
        return suffix

    def close(self):
        """Flushes all output, releases the lock, and removes a dry run."""
        if self.board:
            self.board.close()
        if self.lock:
            self.lock.release()
            self.lock = None
        if self.dry_run and self.logdir:
            shutil.rmtree(self.logdir, ignore_errors=True)

    # Weights

    def last_state(self):
        """Returns (facts, arrays) of the last intact save, or None if there is none; reports a damaged one."""
        errors = []
        for name in (LAST, PREVIOUS):
            try:
                facts, arrays = storage.load_arrays(self.directory / name)
            except FileNotFoundError:
                continue
            except UserError as error:
                errors.append(str(error))
                continue
            if errors:
                at = f"epoch {facts['epoch'] + 1} after step {facts['step']}"
                self.console.say(f"{errors[0]}; continuing from the save before it, in {at}.")
            return facts, arrays
        if errors:
            raise UserError(f"{'; '.join(errors)}. Training cannot continue; start a new run.")
        return None

    @property
    def has_state(self):
        """Whether there is anything to resume from."""
        return (self.directory / LAST).exists() or (self.directory / PREVIOUS).exists()

    @property
    def begins(self):
        """Whether training begins with its first step: the run is new, or was stopped before its first save."""
        return self.is_new or not self.has_state

    def save_state(self, facts, arrays):
        """Writes last.safetensors atomically; the previous one becomes previous.safetensors."""
        storage.save_arrays(self.directory / LAST, facts, arrays, keep=self.directory / PREVIOUS)

    def record(self, epochs_done, epochs_asked, best_epoch, seconds):
        """Records in config.json how many epochs are done of those asked for, and the best; adds to the time."""
        self.config |= {"epochs_done": epochs_done, "epochs_asked": epochs_asked, "best_epoch": best_epoch}
        self.config["minutes"] = round(self.config.get("minutes", 0.0) + seconds / 60, 3)
        self.write_json("config.json", self.config)

    def save_best(self, keep=False):
        """Writes the weights of the model to best.safetensors, atomically.

        Args:
            keep: whether `restore_best_of_epochs` brings back the weights that were there.
        """
        self.save_weights(BEST, keep=self.directory / BEST_OF_EPOCHS if keep else None)

    def restore_best_of_epochs(self):
        """Undoes `save_best(keep=True)`, so that a training that continues ends as if it had never stopped."""
        if (self.directory / BEST_OF_EPOCHS).exists():
            os.replace(self.directory / BEST_OF_EPOCHS, self.directory / BEST)

    def save_weights(self, name, keep=None):
        """Writes only the weights of the model to a file with this name, atomically; for `keep` see `replacing`."""
        arrays = weights.values(weights.weights_of(self.model))
        storage.save_arrays(self.directory / name, {"format": FORMAT, "script": self.script}, arrays, keep)

    def load_weights(self, name, model):
        """Loads weights from `save_weights` into a built model.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: the file is damaged, or belongs to another model.
        """
        _, arrays = storage.load_arrays(self.directory / name)
        weights.assign(weights.weights_of(model), arrays)

    def load_model(self, build):
        """Builds the model of a trained run and loads its best weights; returns the run.

        Raises:
            UserError: the options of the run describe no model, or its weights cannot be loaded.
        """
        try:
            self.model = build(self.options, self.vocabulary)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            path = self.directory / "config.json"
            raise UserError(f"{path} is damaged or from another version: {error!r}") from error
        self.load_best(self.model)
        return self

    def load_best(self, model):
        """Loads the best weights, or the last ones if there was no score yet; does nothing in a dry run.

        Args:
            model: built `keras.Model`, with the shapes of the trained one.

        Raises:
            UserError: there are no weights yet, they are damaged, or they do not fit the model.
        """
        if self.dry_run:
            return
        with contextlib.suppress(FileNotFoundError):
            self.load_weights(BEST, model)
            return
        state = self.last_state()
        if state is None:
            raise UserError(f"{readable(self.directory)} has no weights yet: training has not reached the first save.")
        weights.assign(weights.variables_of(model), storage.within("model", state[1]))


def name_is_taken(directory):
    """Returns the error for a name that is taken."""
    return UserError(
        f"{readable(directory)} already exists: continue it with --resume {directory.name}, or choose another --name."
    )
