"""What is known about a run without its model: what it is, how far it was trained, and its scores. Loads no Keras."""

import contextlib
import dataclasses
import math

from scriptorium import UserError
from scriptorium.training import storage
from scriptorium.training.finding import PRETRAINED
from scriptorium.training.history import History
from scriptorium.training.main_scores import IN_TRAINING, higher_is_better, main_scores

UNCOMPARED = ("split", "seconds", "texts", "tokens", "characters", "samples")  # entries of eval.json that score nothing
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
        is_training: whether a process trains it at the moment.
        best: dict of name -> (value, epoch): the main validation scores, at the epoch of the best first one.
        test: dict of name -> number.
        rows: list of dicts, the rows of history.csv.
    """

    directory: object
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
    is_training: bool
    best: dict
    test: dict
    rows: list

    @property
    def described_options(self):
        """What differs from the defaults, as one line."""
        if self.changed is None:
            return " ".join(self.words)
        parts = (
            name if value is True else f"{name} {value}"
            for name, value in self.changed.items()
            if name not in ("data", "task")  # the corpus has its own column
        )
        return ", ".join(parts)

    def score(self, name):
        """Returns a test score, or else the best validation score with this name, or None."""
        found = self.test.get(name, self.best.get(name, (None,))[0])
        return found if isinstance(found, (int, float)) and math.isfinite(found) else None


def read(directory):
    """Returns the `Overview` of the run in a directory.

    Raises:
        UserError: its config.json is damaged.
    """
    config = storage.read_json(directory / "config.json")
    try:
        options = dict(config["options"])
        return Overview(
            directory=directory,
            script=str(config["script"]),
            name=directory.resolve().name,
            corpus=str(config["corpus"]["name"]),
            changed=config.get("changed"),
            words=words_of(config),
            options=options,
            parameters=config.get("parameters"),
            minutes=float(config.get("minutes", 0)),
            done=int(config.get("epochs_done", 0)),
            asked=int(config.get("epochs_asked", options["epochs"])),
            is_training=_is_training(directory),
            rows=(rows := History(directory, math.inf).rows),
            best=_best(rows),
            test=_test(directory),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'config.json'} is damaged: {error!r}") from error


def words_of(config):
    """Returns the options as they were typed, without those that say where the run goes."""
    if "command" in config:  # a bundled run
        return config["command"].split()[2:]
    words, kept = iter(config.get("argv", [])), []
    for word in words:
        if word in DESTINATIONS:
            next(words, None)
        elif not word.startswith(tuple(f"{flag}=" for flag in DESTINATIONS)):
            kept.append(word)
    return kept


def _is_training(directory):
    if not (directory / "lock").exists() or PRETRAINED in directory.resolve().parents:
        return False
    try:
        storage.Lock(directory / "lock").release()
    except UserError:
        return True
    except OSError:
        return False  # a folder that may not be written to
    return False


def _best(rows):
    validated = [row for row in rows if any(name.startswith("val_") for name in row)]
    names = main_scores({name[4:] for row in validated for name in row if name.startswith("val_")}, IN_TRAINING, 2)
    validated = [row for row in validated if names and isinstance(row.get(f"val_{names[0]}"), (int, float))]
    if not validated:
        return {}
    choose = max if higher_is_better(names[0]) else min
    best = choose(validated, key=lambda row: row[f"val_{names[0]}"])
    return {name: (best[f"val_{name}"], best["epoch"]) for name in names if f"val_{name}" in best}


def _test(directory):
    scores = {}
    with contextlib.suppress(UserError):
        if (directory / "eval.json").exists():
            scores = storage.read_json(directory / "eval.json")
    return {name: value for name, value in scores.items() if name not in UNCOMPARED}
