"""A run: its directory, what is written there, and what it shows.

A run opens whatever moment its process was killed at. Next to `last.safetensors` is the save before it,
`previous.safetensors`: when the last one is damaged, only the training between the two is done again, and its outcome
is the same.
"""

import contextlib
import datetime
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from scriptorium import UserError
from scriptorium.pictures import bars
from scriptorium.training import storage, weights
from scriptorium.training.console import Console, readable
from scriptorium.training.tensorboard import Board

FORMAT = 1  # of what is kept of a run; it grows when a run of before cannot be opened any more
BEST, LAST, PREVIOUS = "best.safetensors", "last.safetensors", "previous.safetensors"


class Run:
    """One run of a script. Made by `open_run` and `open_path`.

    Attributes:
        script: name of the script, without ".py".
        directory: Path of the run; None until a new one starts.
        options: dict of every option, plain JSON values.
        config: dict, what config.json says.
        vocabulary: `Vocabulary`; None until a new run starts.
        model: the `keras.Model`, set by `start` or by who builds it.
        seed: int, never negative.
        is_new: False for a run that exists.
        dry_run: True for a run in a temporary directory, which `close` removes.
        saved: (facts, arrays) of the last save, which `fit` goes on from; else None.
    """

    def __init__(self, script, directory, config, vocabulary=None, *, is_new=False, logdir=None, dry_run=False):
        self.script, self.directory, self.config, self.vocabulary = script, directory, config, vocabulary
        self.options, self.seed = config["options"], config["seed"]
        self.is_new, self.logdir, self.dry_run = is_new, logdir, dry_run
        self.model = self.lock = self.saved = self.board = None
        self.console = Console()

    @property
    def name(self):
        return self.directory.name

    @property
    def is_pretrained(self):
        """Whether it was packed for use, without what training would need: all that come with the project are."""
        return bool(self.config.get("packed"))

    def start(self, model, vocabulary, corpus):
        """Makes the directory, or takes up that of a run that goes on, and prints the banner.

        Args:
            model: built `keras.Model`.
            vocabulary: `Vocabulary`.
            corpus: has `name`, `fingerprint` and `description`.

        Raises:
            UserError: the name is taken, another process trains here, or the corpus is not that of the run.
        """
        self.model, self.vocabulary = model, vocabulary
        self.config["parameters"] = model.count_params()
        if self.is_new:
            self.config["corpus"] = {key: getattr(corpus, key) for key in ("name", "fingerprint", "description")}
            self._make()
        else:
            was = self.config["corpus"]
            if was.get("fingerprint") != corpus.fingerprint:
                raise UserError(
                    f"The text is not the one that {self.name} was trained on ({was.get('description')}):"
                    " give the same text, or start a new run."
                )
            self.lock = storage.Lock(self.directory / "lock")
            for left_behind in self.directory.rglob(f"{storage.TEMPORARY}*"):
                left_behind.unlink(missing_ok=True)
            self.saved = self.last_state()
            self.write_json("config.json", self.config)
        where = "dry run, nothing is kept" if self.dry_run else readable(self.directory)
        at = self.saved[0] if self.saved else {"epoch": 0, "step": 0, "steps": 0}
        if not self.is_new:
            where += f", goes on in epoch {at['epoch'] + 1} after step {at['step']}"
        first = {} if self.is_new else {"first_epoch": at["epoch"] + 1, "first_step": at["steps"] + 1}
        self.board = Board(self.directory, self.console, **first)
        self.console.say(
            f"corpus  {corpus.description}",
            f"model   {self.script}, {self.config['parameters']:,} parameters",
            f"device  {self.config['device']}, {self.config['dtype']}: {self.config['dtype_reason']}",
            f"run     {where}, seed {self.seed}",
        )

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
            # The directory takes its name when all that makes it a run is there.
            self.directory = self._take_name(temporary, parent)
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
        started = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
        for number in range(1, 1000):
            directory = parent / (started if number == 1 else f"{started}-{number}")
            # A directory that is not empty is not replaced by the renaming, so two runs never share one.
            try:
                return temporary.rename(directory)
            except OSError:
                if not directory.exists():
                    raise
        raise UserError(f"{parent} holds too many runs of this second.")

    def close(self):
        """Writes out what is still held back, lets other processes in, and removes a dry run."""
        if self.board:
            self.board.close()
        if self.lock:
            self.lock.release()
            self.lock = None
        if self.dry_run and self.logdir:
            shutil.rmtree(self.logdir, ignore_errors=True)

    # Weights

    def last_state(self):
        """Returns (facts, arrays) of the last whole save, None before the first; says when a later one is damaged."""
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
                self.console.say(f"{errors[0]}; going on from the save before it, in {at}.")
            return facts, arrays
        if errors:
            raise UserError(f"{'; '.join(errors)}. Training cannot go on; start a new run.")
        return None

    @property
    def has_state(self):
        """Whether there is anything to resume from."""
        return (self.directory / LAST).exists() or (self.directory / PREVIOUS).exists()

    def save_state(self, facts, arrays):
        """Writes last.safetensors, whole or not at all; the one before it becomes previous.safetensors."""
        storage.save_arrays(self.directory / LAST, facts, arrays, keep=self.directory / PREVIOUS)

    def record(self, epochs_done, seconds):
        """Notes in config.json how far the training has come, and that it took so many seconds more."""
        self.config["epochs_done"] = epochs_done
        self.config["minutes"] = round(self.config.get("minutes", 0.0) + seconds / 60, 3)
        self.write_json("config.json", self.config)

    def save_best(self):
        """Writes the weights of the model as best.safetensors, whole or not at all."""
        self.save_weights(BEST)

    def save_weights(self, name):
        """Writes the weights of the model, and nothing else, to a file of that name, whole or not at all."""
        arrays = weights.values(weights.weights_of(self.model))
        storage.save_arrays(self.directory / name, {"format": FORMAT, "script": self.script}, arrays)

    def load_weights(self, name, model):
        """Loads what `save_weights` wrote into a built model.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it is damaged, or of another model.
        """
        _, arrays = storage.load_arrays(self.directory / name)
        weights.assign(weights.weights_of(model), arrays)

    def load_best(self, model):
        """Loads the weights of the best score, or the last ones as long as there was no score; a dry run has none.

        Args:
            model: built `keras.Model`, of the shape that was trained.

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
            raise UserError(
                f"{readable(self.directory)} has no weights yet: its training has not reached a first save."
            )
        weights.assign(weights.variables_of(model), storage.within("model", state[1]))

    # What is shown

    def write_json(self, name, values):
        """Writes a JSON file into the directory, whole or not at all."""
        storage.write_json(self.directory / name, values)

    def shown(self, title, lines, epoch, **settings):
        """Prints lines of text under a title; a run that trains keeps them in samples.txt and in TensorBoard.

        Args:
            title: what they are: "samples", "reconstructions".
            lines: list of str.
            epoch: int from 1, also the step in TensorBoard.
            settings: what they were made with, such as temperature=1.0.
        """
        said = ", ".join(f"{name} {value}" for name, value in settings.items())
        self.console.say(f"  {title}{f' ({said})' if said else ''}", *(f"    {line}" for line in lines))
        if self.board is None:
            return
        try:
            with open(self.directory / "samples.txt", "a", encoding="utf-8", newline="\n") as file:
                file.write("\n".join([f"[epoch {epoch}] {title}{f' ({said})' if said else ''}", *lines, "", ""]))
        except OSError as error:
            self.console.say(f"samples.txt could not be written ({error}).")
        # TensorBoard reads Markdown, where four spaces keep a line as it stands.
        self.board.text("train", title, "\n".join(f"    {line}" for line in lines), epoch)

    def scalars(self, split, values, step):
        """Writes numbers to TensorBoard; one tag in both splits gives two curves in one picture.

        Args:
            split: "train" or "validation".
            values: dict of tag -> number.
            step: the epoch, from 1, here and below.
        """
        if self.board:
            for tag, value in values.items():
                self.board.scalar(split, tag, value, step)

    def histogram(self, tag, values, step):
        """Writes the distribution of an array of numbers to TensorBoard."""
        if self.board:
            self.board.histogram("train", tag, values, step)

    def bars(self, tag, values, step):
        """Writes a picture to TensorBoard: one bar for each of `values` (n,), such as the KL of each dimension."""
        if self.board:
            self.board.figure("train", tag, bars(f"{tag}, epoch {step}", values), step)

    def hparams(self, options, scores):
        """Writes the options (dict) and final scores (dict of numbers) to TensorBoard's table of runs."""
        if self.board:
            self.board.hparams(options, scores)

    def figure(self, tag, figure, step):
        """Writes a matplotlib figure to TensorBoard and, as a picture of that name, into the directory."""
        if self.board:
            self.board.figure("train", tag, figure, step)
            with storage.replacing(self.directory / f"{tag}.png") as temporary:
                figure.savefig(temporary, format="png")

    def projector(self, vectors, labels, classes=None):
        """Writes points (n, dimensions), labels and classes for TensorBoard's projector; first of all before `fit`."""
        if self.board:
            self.board.projector(vectors, labels, classes)


def another_format(config):
    """Returns what there is to say of a run whose format is not the one of these scripts."""
    return f"was saved by another version of the scripts (format {config.get('format', 0)}, not {FORMAT})"


def name_is_taken(directory):
    """Returns the error for a name that is in use."""
    return UserError(
        f"{readable(directory)} exists already: go on with it by --resume {directory.name}, or choose another --name."
    )
