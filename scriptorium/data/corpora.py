"""Where text comes from: built in, through NLTK, or your own file or folder.

`load` returns a `Corpus` of three splits of texts. The texts of a small corpus are lists of str; texts in files
larger than BIG_FILE stay there and are read when needed, so a corpus may be larger than memory.
"""

import dataclasses
import hashlib
import os
import pathlib
import random
import re
from collections.abc import Sequence

from scriptorium import UserError
from scriptorium.data import digits
from scriptorium.data.tasks import TASKS, read_task
from scriptorium.data.textfiles import TABLES, Lines, lines_of, read_table, read_texts
from scriptorium.data.tokens import TOKENS, tokens_of

import numpy as np

BIG_FILE = 64 * 2**20  # bytes
HELD_OUT = 2000  # at most this many texts in valid and in test, if a corpus comes without splits
SUFFIXES = (".txt", *TABLES)
SPLITS = {"train": "train(?:ing)?", "valid": "valid(?:ation)?|val|dev", "test": "test(?:ing)?"}


@dataclasses.dataclass
class Corpus:
    """Texts in three splits.

    Attributes:
        name: the task, or the name of the file or folder.
        train, valid, test: sequences of str.
        level: what a token is: "word", "space" (split at white space) or "char".
        language: "zh", "ja", or "en" for everything that is written with spaces.
        labels: None, or a dict of split -> list of str, one per text; several kinds of label are separated by tabs.
        fingerprint: SHA-256 of all texts, hexadecimal.
        description: one line for people: sizes, what a token is, how the corpus was split.
    """

    name: str
    train: Sequence
    valid: Sequence
    test: Sequence
    level: str
    language: str
    labels: dict | None
    fingerprint: str
    description: str


def load(
    task=None, path=None, *, limit=None, level=None, seed=1, big_file=BIG_FILE, labeled=False, rows=9, direction="down"
):
    """Loads a corpus by name or from a path.

    Args:
        task: key of TASKS; ignored if `path` is given.
        path: UTF-8 text file or folder. In a folder, .txt files whose names contain train, valid (val, dev) or test
            are used as they are, repeated texts included; without such names all .txt files form one corpus.
        limit: read only this many characters of the corpus (of each file, if the files are splits).
        level: "word", "space" or "char"; None detects it from the text.
        seed: int that the split depends on.
        big_file: bytes; above this size texts stay in their files (see `textfiles.Lines`).
        labeled: each line of a file is a text, after its label, or labels, and a tab if it has one; in a folder
            without splits, the label is the name of the file. Tables have a column for it: see
            `textfiles.read_table`.
        rows, direction: of digits drawn as text, from the task `digits` or an .npz file.

    Returns:
        `Corpus`. Splits made here hold 90, 5 and 5 % of the texts, in the order of the corpus and without duplicates,
        with at most HELD_OUT texts in valid and in test.

    Raises:
        UserError: unknown task, unusable file, too few texts, or a corpus that cannot be downloaded.
    """
    labels = None
    if path is not None:
        path = checked_path(path)
        name = path.resolve().name
        if path.suffix.lower() == ".npz":
            texts, labels = digits.texts(*digits.read(path), rows, direction)
            texts = texts[: _within(texts, limit)]
            given, labels, level = {"train": texts}, {"train": labels[: len(texts)]}, level or "char"
        elif labeled:
            given, labels = _read_labeled(path, limit)
        else:
            given = _read_path(path, limit, big_file)
    elif task in TASKS:
        name, (texts, labels) = task, read_task(task, rows, direction)
        given = {"train": texts[: _within(texts, limit)]}
        labels = labels and {"train": labels[: len(given["train"])]}
        level = level or ("char" if task in ("pylines", "names", "digits") else "space" if task == "sinica" else "word")
    else:
        raise UserError(f"Unknown task {task!r}; choose one of {', '.join(TASKS)}.")
    given, level, language = tokens_of(given, level)
    splits, labels = _split(given, labels, seed, name)
    how = f"split by seed {seed}" if len(given) == 1 else "split as given"
    if 1 < len(given) < 3:
        how += f", {' and '.join(s for s in SPLITS if s not in given)} cut from train by seed {seed}"
    sizes = ", ".join(f"{len(splits[split]):,} {split}" for split in SPLITS)
    description = f"{name}: {sizes} texts ({how}), {TOKENS[level]}"
    return Corpus(
        name,
        **splits,
        level=level,
        language=language,
        labels=labels,
        fingerprint=_fingerprint(splits),
        description=description,
    )


def reload(options, path=None, labeled=False):
    """Loads the text that options name; it may have changed since a run was trained on it.

    Args:
        options: dict, the options of a run or of a command line.
        path: where the text is now; None to use the path in the options.
        labeled: see `load`.

    Returns, Raises: see `load`.
    """
    names = ("task", "limit", "level", "rows", "direction")
    settings = {name: options[name] for name in names if name in options}
    return load(path=path or options.get("data"), labeled=labeled, **settings)


def reload_or_none(options, fingerprint):
    """Returns the text that a run was trained on, or None if it can no longer be read or is not that text.

    Args:
        options: dict, the options of the run, which may come from somebody else: they can name any file.
        fingerprint: that of the text of the run.
    """
    for labeled in (False, True) if options.get("data") else (False,):
        try:
            corpus = reload(options, labeled=labeled)
        except (UserError, OSError, TypeError, ValueError):
            continue
        if corpus.fingerprint == fingerprint:
            return corpus
    return None


def checked_path(path):
    """Returns a path as a Path; raises `UserError` unless it leads to a file or a folder: a pipe may never end."""
    path = pathlib.Path(path)
    if not (path.is_file() or path.is_dir()):
        if not os.path.lexists(path):
            raise UserError(f"{path}: no such file or folder.")
        what = "a link that leads nowhere" if path.is_symlink() and not path.exists() else "neither a file nor a folder"
        raise UserError(f"{path}: this is {what}.")
    return path


# From a path ----------------------------------------------------------------------------------------------------------


def _read_path(path, limit, big_file):
    files = files_of_splits(path, SUFFIXES) if path.is_dir() else {"train": [path]}
    if any(path.suffix.lower() in TABLES for paths in files.values() for path in paths):
        return _read_labeled(path, limit)[0]
    given = {split: read_texts(paths, limit) for split, paths in files.items()}
    size = sum(int(texts.sizes.sum(dtype="int64")) for texts in given.values())
    return given if size > big_file else {split: list(texts) for split, texts in given.items()}


def _read_labeled(path, limit):
    """Reads lines of `text` or `label<TAB>text`: (dict of split -> texts, None or dict of split -> labels)."""
    if path.is_dir():
        files = files_of_splits(path, SUFFIXES)
        named = len(files) == 1 and len(files["train"]) > 1
    else:
        files, named = {"train": [path]}, False
    given, labels = {split: [] for split in files}, {split: [] for split in files}
    for split, paths in files.items():
        for file in paths:
            if file.suffix.lower() in TABLES:
                rows = read_table(file, limit)
            else:
                rows = [line.rpartition("\t")[::2] for line in lines_of(file, limit)]
            given[split] += [text.strip() for _, text in rows]
            labels[split] += [file.stem if named else label.strip() for label, _ in rows]
    kinds = {label.count("\t") for names in labels.values() for label in names if label}
    if len(kinds) > 1:
        raise UserError(
            f"{path}: every line needs the same number of labels; some have {min(kinds) + 1}, others {max(kinds) + 1}."
        )
    return given, labels if kinds else None


def files_of_splits(folder, suffixes=(".txt",)):
    """Returns the files of a folder with these suffixes, by the split in their names: dict of str -> list of paths."""
    files = sorted(file for file in folder.glob("*.*") if file.suffix.lower() in suffixes)
    texts = [file for file in files if not re.match("readme|licen[cs]e|sources?\\b", file.name.lower())]
    for file in texts:
        checked_path(file)
    if not texts:
        raise UserError(f"{folder}: this folder has no {', '.join(suffixes)} files.")
    files = {
        split: [f for f in texts if re.search(rf"(?<![a-z])(?:{name})(?![a-z])", f.stem.lower())]
        for split, name in SPLITS.items()
    }
    held_out = {split: paths for split, paths in files.items() if paths and split != "train"}
    # If no file is called train, all that are not held out are train.
    train = files["train"] or [file for file in texts if not any(file in paths for paths in held_out.values())]
    if not train:
        raise UserError(f"{folder}: only {', '.join(f.name for f in texts)} found; add a file to train on.")
    return {"train": train, **held_out}


# Splits ----------------------------------------------------------------------------------------------------


def _within(texts, limit):
    """How many texts lie within the first `limit` characters, including line ends; at least one."""
    if limit is None:
        return len(texts)
    return max(1, int(np.searchsorted(np.cumsum([len(text) + 1 for text in texts]), limit, side="right")))


def _hashes(texts, labels=None):
    """64-bit hashes of texts, uint64 (texts,), equal for equal texts (with equal labels)."""
    hashes = np.empty(len(texts), "uint64")
    for i, text in enumerate(texts):
        key = f"{text}\0{labels[i]}" if labels else text
        hashes[i] = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
    return hashes


def _first(hashes):
    """Indices of the first occurrence of each hash, in order, int64 (unique,)."""
    order = np.argsort(hashes, kind="stable")
    ranked, fresh = hashes[order], np.ones(len(hashes), bool)
    fresh[order[1:]] = ranked[1:] != ranked[:-1]
    return np.flatnonzero(fresh)


def _split(given, labels, seed, name):
    """Cuts the missing splits from train: (splits, labels of each split or None)."""
    texts, missing = given["train"], [split for split in ("valid", "test") if split not in given]
    if not missing:
        return given, labels
    hashes, kept = _hashes(texts), np.arange(len(texts))
    if len(missing) == 2:
        kept = _first(_hashes(texts, labels["train"]) if labels else hashes)
        hashes = hashes[kept]
    different = hashes[_first(hashes)]
    share = min(HELD_OUT, max(1, len(different) // 20))
    if len(different) <= len(missing):
        least = len(missing) + 1
        raise UserError(f"{name}: {len(different)} different text(s) found, at least {least} are needed.")
    drawn = random.Random(seed).sample(range(len(different)), share * len(missing))
    places, left = {}, np.ones(len(hashes), bool)
    for i, split in enumerate(missing):
        # All copies of a text go to the same split.
        chosen = np.sort(different[drawn[i * share : (i + 1) * share]])
        inside = chosen[np.searchsorted(chosen, hashes).clip(max=share - 1)] == hashes
        places[split], left = kept[inside], left & ~inside
    places["train"] = kept[left]
    splits = {split: _taken(texts, places[split]) if split in places else given[split] for split in SPLITS}
    if labels:
        source = labels["train"]
        labels = {split: _taken(source, places[split]) if split in places else labels[split] for split in SPLITS}
    return splits, labels


def _taken(texts, places):
    return texts.take(places) if isinstance(texts, Lines) else [texts[i] for i in places]


def _fingerprint(splits):
    digest = hashlib.sha256()
    for split, texts in splits.items():
        digest.update(f"\0{split}\n".encode())
        for text in texts:
            digest.update(text.encode() + b"\n")
    return digest.hexdigest()
