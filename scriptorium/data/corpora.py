"""Where text comes from: built in, through NLTK, or your own file or folder.

`load` returns a `Corpus` of three splits of texts. The texts of a small corpus are lists of str; texts in files
larger than BIG_FILE stay there and are read when needed, so a corpus may be larger than memory.
"""

import dataclasses
import hashlib
import random
from collections.abc import Sequence

from scriptorium import UserError
from scriptorium.data import digits, files, scenes
from scriptorium.data.sources import SPLITS, Source, read_source
from scriptorium.data.tasks import TASKS, read_task
from scriptorium.data.textfiles import Lines
from scriptorium.data.tokens import TOKENS, tokens_of

import numpy as np

BIG_FILE = 64 * 2**20  # bytes
HELD_OUT = 2000  # at most this many texts in valid and in test, if a corpus comes without splits


@dataclasses.dataclass
class Corpus:
    """Texts in three splits.

    Attributes:
        name: the task, or the name of the file or folder.
        train, valid, test: sequences of str.
        level: what a token is, one of `vocabulary.LEVELS`.
        language: "zh", "ja", or "en" for everything whose spaces are kept.
        labels: None, or a dict of split -> list of str, one per text; several kinds of label are separated by tabs.
        fingerprint: SHA-256 of all texts, hexadecimal.
        read: number of texts that were read.
        repeated: how many of them were left out because they had been read before.
        cut: for people: how the splits were made.
        how: for people: the same, what a token is, and what else to know.
        description: one line for people, see `describe`.
    """

    name: str
    train: Sequence
    valid: Sequence
    test: Sequence
    level: str
    language: str
    labels: dict | None
    fingerprint: str
    read: int
    repeated: int
    cut: str
    how: str
    description: str = ""


def load(
    task=None, path=None, *, limit=None, level=None, seed=1, big_file=BIG_FILE, labeled=False, layout="auto", rows=9,
    direction="down",
):  # fmt: skip
    """Loads a corpus by name or from a path.

    Args:
        task: key of TASKS; ignored if `path` is given.
        path: UTF-8 text file or folder. In a folder, .txt files whose names contain train, valid (val, dev) or test
            are used as they are, repeated texts included; without such names all .txt files form one corpus.
        limit: read only this many characters of the corpus (of each file, if the files are splits).
        level: one of `vocabulary.LEVELS`; None detects "word", "space" or "char" from the text.
        seed: int that the split depends on.
        big_file: bytes; above this size texts stay in their files (see `textfiles.Lines`).
        labeled: each line of a file is a text, after its label, or labels, and a tab if it has one; in a folder
            without splits, the label is the name of the file. Tables have a column for it: see
            `tables.read_table`.
        layout: of text files, key of `textfiles.LAYOUTS`.
        rows, direction: of digits drawn as text, from the task `digits` or an .npz file.

    Returns:
        `Corpus`. Splits made here hold 90, 5 and 5% of the texts, in the order of the corpus and without duplicates,
        with at most HELD_OUT texts in valid and in test.

    Raises:
        UserError: unknown task, unusable file, too few texts, or a corpus that cannot be downloaded.
    """
    if path is not None:
        path = files.path_of(path)
        name, is_pictures = files.name_of(path), path.suffix.lower() == ".npz"
        if is_pictures:
            source = _of_one(*digits.texts(*digits.read(path), rows, direction), limit)
        else:
            source = read_source(path, limit, big_file, labeled, layout)
        level = level or ("char" if is_pictures else None)
    else:
        name, source, level = task, *_of_task(task, limit, level, layout, rows, direction)
    given, level, language = tokens_of(source.texts, level)
    splits, labels = _split(given, source.labels, seed, name)
    read, kept = (sum(map(len, texts.values())) for texts in (given, splits))
    how = f"split by seed {seed}" if len(given) == 1 else "split as given"
    if 1 < len(given) < 3:
        how += f", {' and '.join(s for s in SPLITS if s not in given)} cut from train by seed {seed}"
    about = "; ".join([f"({how}), {TOKENS[level]}", *source.notes])
    corpus = Corpus(
        name,
        **splits,
        level=level,
        language=language,
        labels=labels,
        fingerprint=_fingerprint(splits),
        read=read,
        repeated=read - kept,
        cut=how,
        how=about,
    )
    corpus.description = describe(corpus, splits)
    return corpus


def describe(corpus, splits):
    """Returns one line for people: how many texts were read, repeated, left out, cut and kept.

    Args:
        corpus: `Corpus`.
        splits: dict of split -> texts, or `batches.Sequences` of them, which say how many were left out or cut.
    """
    sizes = []
    for split in SPLITS:
        changes = [f"{count:,} {what}" for what, count in getattr(splits[split], "changes", {}).items() if count]
        sizes.append(f"{len(splits[split]):,} {split}" + (f" ({', '.join(changes)})" if changes else ""))
    repeated = f", {corpus.repeated:,} repeated ones left out" if corpus.repeated else ""
    return f"{corpus.name}: {corpus.read:,} texts read{repeated}; {', '.join(sizes)} texts {corpus.how}"


def _of_task(task, limit, level, layout, rows, direction):
    """Returns the `Source` of a task, and the level of its tokens."""
    if task not in TASKS:
        raise UserError(f"Unknown task {task!r}; choose one of {', '.join(TASKS)}.")
    if layout != "auto":
        raise UserError(f"--format {layout} is for text files of your own (-D), not for the task {task}.")
    level = level or ("char" if task in ("pylines", "names", "digits") else "space" if task == "sinica" else "word")
    if task == "scenes":
        splits = {split: texts[: _within(texts, limit)] for split, texts in scenes.read().items()}
        return Source(splits, None, ["independent draws, so some are repeated"]), level
    return _of_one(*read_task(task, rows, direction), limit), level


def _of_one(texts, labels, limit):
    """Returns the `Source` of texts without splits, cut after `limit` characters."""
    texts = texts[: _within(texts, limit)]
    return Source({"train": texts}, labels and {"train": labels[: len(texts)]}, [])


def reload(options, path=None, labeled=None, **more):
    """Loads the text that options name; it may have changed since a run was trained on it.

    Args:
        options: dict, the options of a run or of a command line.
        path: where the text is now; None to use the path in the options.
        labeled: see `load`; None for as the run was trained.
        more: other arguments of `load`.

    Returns, Raises: see `load`.
    """
    names = ("task", "limit", "level", "layout", "rows", "direction")
    settings = {name: options[name] for name in names if name in options}
    if labeled is None:
        # Runs that do not say so are older; those of names list their labels.
        labeled = options.get("labeled", "labels" in options)
    return load(path=options.get("data") if path is None else path, labeled=labeled, **settings, **more)


def reload_or_none(options, fingerprint):
    """Returns the text that a run was trained on, or None if it can no longer be read or is not that text.

    Args:
        options: dict, the options of the run, which may come from somebody else: they can name any file.
        fingerprint: that of the text of the run.
    """
    known = options.get("labeled", "labels" in options)
    for labeled in dict.fromkeys((known, False, True)) if options.get("data") else (known,):
        try:
            corpus = reload(options, labeled=labeled)
        except (UserError, OSError, TypeError, ValueError):
            continue
        if corpus.fingerprint == fingerprint:
            return corpus
    return None


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
