"""What is known about a run without its model: what it is, how far it was trained, and its scores. Loads no Keras."""

import contextlib
import dataclasses
import math
from pathlib import Path

from scriptorium import UserError
from scriptorium.command_line import one_line
from scriptorium.data import files
from scriptorium.training import storage
from scriptorium.training.finding import PRETRAINED
from scriptorium.training.history import History, best_epoch, validated
from scriptorium.training.main_scores import IN_TRAINING, main_scores

ABOUT = ("split", "seconds", "rounded", "compared")  # what eval.json says about its scores
UNCOMPARED = (*ABOUT, "texts", "tokens", "characters", "samples")  # what is no score that runs are compared by
DESTINATIONS = ("-T", "--logdir", "--tb-directory", "--name")


@dataclasses.dataclass
class Overview:
    """What is known about a run.

    Attributes:
        directory: Path.
        script, name, corpus: str.
        changed: dict of name -> value, the options that differ from the defaults; None in runs of older versions.
        words: list of str, the options as they were typed.
        options: dict of name -> value, all of them.
        parameters: int; None if unknown.
        minutes: float, of training.
        done, asked: epochs, int.
        is_packed: whether it was packed for use, by share.py.
        is_training: whether a process trains it at the moment.
        best_epoch: int, the epoch of the best weights; None before the first validation.
        validation: dict of name -> number, all validation scores of that epoch.
        test: dict of name -> number or str.
        rows: list of dicts, the rows of history.csv.
    """

    directory: Path
    script: str
    name: str
    corpus: str
    changed: dict | None
    words: list
    options: dict
    parameters: int | None
    minutes: float
    done: int
    asked: int
    is_packed: bool
    is_training: bool
    best_epoch: int | None
    validation: dict
    test: dict
    rows: list

    @property
    def described_options(self):
        """What differs from the defaults, as one line."""
        if self.changed is None:
            return one_line(" ".join(self.words))
        parts = (
            name if value is True else f"{name} {value}"
            for name, value in self.changed.items()
            if name not in ("data", "task")  # the corpus has its own column
        )
        return one_line(", ".join(parts))

    @property
    def main_validation(self):
        """The main validation scores, a dict of name -> number."""
        return {name: self.validation[name] for name in main_scores(self.validation, IN_TRAINING, 2)}

    def score(self, name):
        """Returns a test score, or else the validation score of the best epoch with this name; None if not a number."""
        found = self.test.get(name, self.validation.get(name))
        return found if _is_number(found) else None

    @property
    def scores(self):
        """The names of all scores that are numbers, a list."""
        return [name for name in dict.fromkeys((*self.test, *self.validation)) if self.score(name) is not None]


def read(directory):
    """Returns the `Overview` of the run in a directory.

    Raises:
        UserError: its config.json is damaged.
    """
    config, rows = storage.read_json(directory / "config.json"), History(directory, math.inf).rows
    try:
        options, changed, parameters = dict(config["options"]), config.get("changed"), config.get("parameters")
        if not (changed is None or isinstance(changed, dict)) or not (parameters is None or type(parameters) is int):
            raise TypeError("changed or parameters")
        best = _best_epoch(config, rows)
        row = next((row for row in rows if row["epoch"] == best), {})
        return Overview(
            directory=directory,
            script=str(config["script"]),
            name=files.shown(directory.resolve().name),
            corpus=one_line(config["corpus"]["name"]),
            changed=changed,
            words=words_of(config),
            options=options,
            parameters=parameters,
            minutes=float(config.get("minutes", 0)),
            done=int(config.get("epochs_done", 0)),
            asked=int(config.get("epochs_asked", options["epochs"])),
            is_packed=bool(config.get("packed")),
            is_training=PRETRAINED not in directory.resolve().parents and storage.is_locked(directory / "lock"),
            best_epoch=best,
            validation={name[4:]: row[name] for name in row if name.startswith("val_") and _is_number(row[name])},
            test=_test(directory),
            rows=rows,
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'config.json'} is damaged: {error!r}") from error


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def words_of(config):
    """Returns the options as they were typed, list of str, without those that say where the run goes."""
    if "command" in config:  # a packed run
        return str(config["command"]).split()[2:]
    words, kept = iter(map(str, config.get("argv", []))), []
    for word in words:
        if word in DESTINATIONS:
            next(words, None)
        elif not word.startswith(("-T", *(f"{flag}=" for flag in DESTINATIONS))):
            kept.append(word)
    return kept


def _best_epoch(config, rows):
    if isinstance(config.get("best_epoch"), int):
        return config["best_epoch"]
    names = main_scores(validated(rows), IN_TRAINING, 1)
    return best_epoch(rows, names[0]) if names else None


def _test(directory):
    scores = {}
    with contextlib.suppress(UserError):
        if (directory / "eval.json").exists():
            scores = storage.read_json(directory / "eval.json")
    return {name: value for name, value in scores.items() if name not in UNCOMPARED}
