"""Prepared texts: all that training needs of a large text, in files that the next start and other processes map.

A prepared text is a folder with `facts.json` and one .npy file for each array. Its name depends on the files of the
text, by their sizes and times, and on all options that the arrays depend on, so whoever asks for the same text with the
same options gets the same folder.
"""

import dataclasses
import hashlib
import json
import time
from importlib import metadata
from pathlib import Path

from scriptorium import UserError
from scriptorium.data import files
from scriptorium.data.batches import Sequences
from scriptorium.data.corpora import Corpus
from scriptorium.data.running_text import RunningText
from scriptorium.data.sources import SPLITS
from scriptorium.data.textfiles import Lines
from scriptorium.data.tokens import CHANGES
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.streams import note
from scriptorium.training import storage

import numpy as np

FORMAT = 1
OPTIONS = ("data", "limit", "layout", "level", "top_words", "max_length", "clip_length")
_OF_TEXTS = ("name", "level", "language", "fingerprint", "read", "repeated", "cut", "how")


def texts(args, vocabulary, read):
    """Returns prepared texts, which are read and kept if `--prepared` does not have them yet.

    Args:
        args: options, with `prepared` and those in `OPTIONS`.
        vocabulary: the `Vocabulary` of a run; None if it is made from the text.
        read: function that returns `corpora.Corpus` of `Lines`, `Vocabulary`, and a dict of split -> `Sequences`.

    Returns:
        The same as `read`.

    Raises:
        UserError: the texts are not those of text files, or the folder cannot be used.
    """

    def make():
        corpus, vocabulary, splits = read()
        facts = {"vocabulary": vocabulary.to_json(), "corpus": {name: getattr(corpus, name) for name in _OF_TEXTS}}
        arrays = {}
        for split in SPLITS:
            lines, sequences = getattr(corpus, split), splits[split]
            if not isinstance(lines, Lines):
                raise UserError(f"--prepared is for text files; {corpus.name} is none.")
            paths, change = [str(path) for path in lines.paths], lines.change and lines.change.__name__
            facts[split] = {"files": paths, "change": change, "changes": sequences.changes}
            arrays |= {f"{split}.places": lines.starts, f"{split}.sizes": lines.sizes}
            arrays |= {f"{split}.ids": sequences.ids, f"{split}.starts": sequences.starts}
        return facts, arrays

    facts, arrays = _prepared(args, vocabulary, make)
    lines, splits = {}, {}
    for split in SPLITS:
        about, paths = facts[split], map(Path, facts[split]["files"])
        lines[split] = Lines(
            paths, arrays[f"{split}.places"], arrays[f"{split}.sizes"], about["change"] and CHANGES[about["change"]]
        )
        splits[split] = Sequences(arrays[f"{split}.ids"], arrays[f"{split}.starts"], about["changes"])
    return Corpus(**facts["corpus"], **lines, labels=None), Vocabulary.from_json(facts["vocabulary"]), splits


def running_text(args, vocabulary, read):
    """Returns prepared running text, which is read and kept if `--prepared` does not have it yet.

    Args:
        args, vocabulary: see `texts`.
        read: function that returns `RunningText`.

    Raises:
        UserError: the folder cannot be used.
    """

    def make():
        text = read()
        facts = {field.name: getattr(text, field.name) for field in dataclasses.fields(text)}
        arrays = {split: facts.pop(split) for split in SPLITS}
        return facts | {"vocabulary": text.vocabulary.to_json()}, arrays

    facts, arrays = _prepared(args, vocabulary, make)
    return RunningText(**facts | {"vocabulary": Vocabulary.from_json(facts["vocabulary"])} | arrays)


def _prepared(args, vocabulary, make):
    """Returns facts, a dict of plain JSON values, and arrays, a dict of name -> mapped array, as `make` made them."""
    if not args.prepared:
        raise UserError("--prepared needs a folder; is a variable of the shell not set?")
    path = files.path_of(args.data).resolve()
    place = _place(args, path, None)
    if vocabulary and not _has(place, vocabulary):
        place = _place(args, path, vocabulary.to_json())
    place.mkdir(parents=True, exist_ok=True)
    lock = _wait_for(place)
    try:
        if (place / "facts.json").exists():
            note(f"The prepared text is read from {files.shown(place)}.")
        else:
            facts, arrays = make()
            for name, array in arrays.items():
                np.save(place / f"{name}.npy", array, allow_pickle=False)
            storage.write_json(place / "facts.json", facts | {"arrays": sorted(arrays)})
            note(f"The prepared text is kept in {files.shown(place)}.")
    finally:
        lock.release()
    return _read(place)


def _place(args, path, vocabulary):
    """Returns the folder of a text prepared with a vocabulary of its own, as JSON values; None for that of the text."""
    about = {
        "format": FORMAT,
        "nltk": metadata.version("nltk"),
        "files": _files(path),
        "options": {name: getattr(args, name) for name in OPTIONS if hasattr(args, name)} | {"data": str(path)},
        "vocabulary": vocabulary,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return Path(args.prepared) / f"{path.stem}-{key}"


def _has(place, vocabulary):
    """Whether a prepared text has this vocabulary, as when a run made from it continues."""
    facts = place / "facts.json"
    return facts.exists() and storage.read_json(facts)["vocabulary"] == vocabulary.to_json()


def _read(place):
    facts = storage.read_json(place / "facts.json")
    try:
        arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in facts.pop("arrays")}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{files.shown(place)} is damaged: {error}; delete it.") from error
    return facts, arrays


def _files(path):
    """Returns name, size and time of all files that a text may be read from."""
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [(file.name, file.stat()) for file in inside if file.is_file()]
    return [[name, about.st_size, about.st_mtime_ns] for name, about in found]


def _wait_for(place):
    """Returns the lock of a folder, once no other process prepares a text in it."""
    path, said = place / "lock", False
    while True:
        try:
            return storage.Lock(path)
        except UserError as error:
            if not isinstance(error.__cause__, (BlockingIOError, PermissionError)):  # what a lock that is held raises
                raise
        if not said:
            note(f"Another process prepares this text in {files.shown(place)}; waiting for it ...")
            said = True
        time.sleep(1)
