"""Where text comes from: built in, through NLTK, or a file or folder of one's own.

`load` gives a `Corpus` of three splits of texts. The texts of a small corpus are lists of str; those of files
larger than BIG_FILE stay in the files and are read when asked for, so a corpus may be larger than the memory.
"""

import dataclasses
import hashlib
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
HELD_OUT = 2000  # texts at most in valid and in test of a corpus that brings no splits of its own
SUFFIXES = (".txt", *TABLES)
SPLITS = {"train": "train(?:ing)?", "valid": "valid(?:ation)?|val|dev", "test": "test(?:ing)?"}


@dataclasses.dataclass
class Corpus:
    """Texts in three splits.

    Attributes:
        name: the task, or the name of the file or folder.
        train, valid, test: sequences of str.
        level: what a token is: "word", "space" (as it stands between white space) or "char".
        language: "zh", "ja", or "en" for everything that is written with spaces.
        labels: None, or a dict from split to a list of str, one for each text; where there are several kinds of label,
            tabs stand between them.
        fingerprint: SHA-256 of all the texts, hexadecimal.
        description: one line for people: sizes, what a token is, how it was split.
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
    task=None, path=None, *, limit=None, level=None, seed=1, big_file=BIG_FILE, labelled=False, picture=(9, "down")
):
    """Loads a corpus by its name or from a path.

    Args:
        task: key of TASKS; not looked at when `path` is given.
        path: UTF-8 text file or folder. Of a folder, the .txt files whose names hold train, valid (val, dev) and test
            are kept as they are, repeated texts included; without such names all its .txt files are one corpus.
        limit: characters; no more of the corpus (of each file that is a split of its own) is read.
        level: "word", "space" or "char"; None finds it out from the text.
        seed: int that a split depends on.
        big_file: bytes; above this size texts stay in their files (see `textfiles.Lines`).
        labelled: each line of a file is a text, with its label and a tab before it where there is one, or several; in a
            folder without files of splits, each file has the label that is its name. Tables say it: see
            `textfiles.read_table`.
        picture: rows and direction of the texts that drawn digits become, those of the task or of an .npz file.

    Returns:
        `Corpus`. Splits made here hold 90, 5 and 5 % of the texts, each text once, at most HELD_OUT in valid and in
        test; their texts are in the order of the corpus.

    Raises:
        UserError: unknown task, a file that cannot be used, too few texts, a corpus that cannot be fetched.
    """
    labels = None
    if path is not None:
        path = pathlib.Path(path)
        name = path.resolve().name
        if path.suffix.lower() == ".npz":
            texts, labels = digits.texts(*digits.read(path), *picture)
            texts = texts[: _within(texts, limit)]
            given, labels, level = {"train": texts}, {"train": labels[: len(texts)]}, level or "char"
        elif labelled:
            given, labels = _read_labelled(path, limit)
        else:
            given = _read_path(path, limit, big_file)
    elif task in TASKS:
        name, (texts, labels) = task, read_task(task, picture)
        given = {"train": texts[: _within(texts, limit)]}
        labels = labels and {"train": labels[: len(given["train"])]}
        level = level or ("char" if task in ("pylines", "names", "digits") else "space" if task == "sinica" else "word")
    else:
        raise UserError(f"Unknown task {task!r}; the tasks are {', '.join(TASKS)}.")
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


def picture_of(options):
    """Returns the argument of `load` that the options --rows and --direction stand for, if there are such."""
    return {"picture": (options["rows"], options["direction"])} if "rows" in options else {}


def of_options(options, path=None):
    """Loads the text that a run was trained on, as far as it is still what it was.

    Args:
        options: dict, those of the run.
        path: where that text is now; None takes what the options say.

    Returns, Raises: see `load`.
    """
    how = {name: options.get(name) for name in ("task", "limit", "level")} | picture_of(options)
    return load(path=path or options.get("data"), **how)


def if_there(options):
    """Returns what `of_options` does, None where that text cannot be read any more."""
    try:
        return of_options(options)
    except (UserError, OSError):
        return None


# From a path ----------------------------------------------------------------------------------------------------------


def _read_path(path, limit, big_file):
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder.")
        files = {"train": [path]}
    else:
        files = files_of_splits(path, SUFFIXES)
    if any(path.suffix.lower() in TABLES for paths in files.values() for path in paths):
        return _read_labelled(path, limit)[0]
    given = {split: read_texts(paths, limit) for split, paths in files.items()}
    size = sum(int(texts.sizes.sum(dtype="int64")) for texts in given.values())
    return given if size > big_file else {split: list(texts) for split, texts in given.items()}


def _read_labelled(path, limit):
    """Reads lines of `text` or `label<TAB>text`: (dict of split -> texts, None or dict of split -> labels)."""
    if path.is_dir():
        files = files_of_splits(path, SUFFIXES)
        by_name = len(files) == 1 and len(files["train"]) > 1
    elif path.exists():
        files, by_name = {"train": [path]}, False
    else:
        raise UserError(f"{path}: there is no such file or folder.")
    given, labels = {split: [] for split in files}, {split: [] for split in files}
    for split, paths in files.items():
        for file in paths:
            if file.suffix.lower() in TABLES:
                rows = read_table(file, limit)
            else:
                rows = [line.rpartition("\t")[::2] for line in lines_of(file, limit)]
            given[split] += [text.strip() for _, text in rows]
            labels[split] += [file.stem if by_name else label.strip() for label, _ in rows]
    kinds = {label.count("\t") for found in labels.values() for label in found if label}
    if len(kinds) > 1:
        raise UserError(f"{path}: some lines have {min(kinds)} tabs between their labels and others {max(kinds)}.")
    return given, labels if kinds else None


def files_of_splits(folder, suffixes=(".txt",)):
    """Returns the files of a folder that end so, by the split that their names say: dict of str -> list of paths."""
    files = sorted(file for file in folder.glob("*.*") if file.suffix.lower() in suffixes)
    texts = [file for file in files if not re.match("readme|licen[cs]e|sources?\\b", file.name.lower())]
    if not texts:
        raise UserError(f"{folder}: there are no {', '.join(suffixes)} files in this folder.")
    files = {
        split: [f for f in texts if re.search(rf"(?<![a-z])(?:{name})(?![a-z])", f.stem.lower())]
        for split, name in SPLITS.items()
    }
    held_out = {split: found for split, found in files.items() if found and split != "train"}
    # Without a file called train, it is what the others leave.
    train = files["train"] or [file for file in texts if not any(file in found for found in held_out.values())]
    if not train:
        raise UserError(f"{folder}: there is no file to train on besides {', '.join(f.name for f in texts)}.")
    return {"train": train, **held_out}


# Splits ----------------------------------------------------------------------------------------------------


def _within(texts, limit):
    """How many texts lie within the first `limit` characters, the ends of lines counted; at least one."""
    if limit is None:
        return len(texts)
    return max(1, int(np.searchsorted(np.cumsum([len(text) + 1 for text in texts]), limit, side="right")))


def _hashes(texts, labels=None):
    """64-bit hashes of texts, uint64 (texts,): equal where a text (and its label) is."""
    hashes = np.empty(len(texts), "uint64")
    for i, text in enumerate(texts):
        key = f"{text}\0{labels[i]}" if labels else text
        hashes[i] = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
    return hashes


def _first(hashes):
    """The places where each hash stands for the first time, in order, int64 (different,)."""
    order = np.argsort(hashes, kind="stable")
    ranked, fresh = hashes[order], np.ones(len(hashes), bool)
    fresh[order[1:]] = ranked[1:] != ranked[:-1]
    return np.flatnonzero(fresh)


def _split(given, labels, seed, name):
    """Cuts the splits that are missing from train: (splits, labels of each split or None)."""
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
        raise UserError(f"{name}: {len(different)} different text(s) are too few; at least {least} are needed.")
    drawn = random.Random(seed).sample(range(len(different)), share * len(missing))
    places, left = {}, np.ones(len(hashes), bool)
    for i, split in enumerate(missing):
        # All copies of a text go the same way, so that no text is in two splits.
        chosen = np.sort(different[drawn[i * share : (i + 1) * share]])
        inside = chosen[np.searchsorted(chosen, hashes).clip(max=share - 1)] == hashes
        places[split], left = kept[inside], left & ~inside
    places["train"] = kept[left]
    splits = {split: _taken(texts, places[split]) if split in places else given[split] for split in SPLITS}
    if labels:
        own = labels["train"]
        labels = {split: _taken(own, places[split]) if split in places else labels[split] for split in SPLITS}
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
