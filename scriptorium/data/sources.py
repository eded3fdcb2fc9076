"""Reads the texts and labels of a file or folder of one's own."""

import dataclasses
import re

from scriptorium import UserError
from scriptorium.data import files
from scriptorium.data.tables import TABLES, read_table
from scriptorium.data.textfiles import read_texts

SUFFIXES = (".txt", *TABLES)
SPLITS = {"train": "train(?:ing)?", "valid": "valid(?:ation)?|val|dev", "test": "test(?:ing)?"}


@dataclasses.dataclass
class Source:
    """What a file or folder holds.

    Attributes:
        texts: dict of split -> sequence of str.
        labels: None, or a dict of split -> list of str.
        notes: list of str, for people: how the files were read, and what was left out.
    """

    texts: dict
    labels: dict | None
    notes: list


def read_source(path, limit, big_file, labeled, layout):
    """Reads a file or folder as a `Source`; see `corpora.load` for the arguments and errors."""
    paths, notes = {"train": [path]}, []
    if path.is_dir():
        paths, notes = files_of_splits(path, SUFFIXES)
    kinds = [file.suffix.lower() in TABLES for some in paths.values() for file in some]
    if layout != "auto" and (all(kinds) or (labeled and layout != "lines")):
        what = "texts with labels have one line each" if labeled else "it is a table"
        raise UserError(f"{files.shown(path)} cannot be read with --format {layout}: {what}.")
    if labeled or any(kinds):
        texts, labels, more = _read_pairs(path, paths, limit, labeled, layout)
        return Source(texts, labels, notes + more)
    texts = {split: read_texts(some, limit, layout) for split, some in paths.items()}
    notes += dict.fromkeys(note for lines in texts.values() for note in lines.notes)
    size = sum(int(lines.sizes.sum(dtype="int64")) for lines in texts.values())
    return Source(texts if size > big_file else {split: list(lines) for split, lines in texts.items()}, None, notes)


def _read_pairs(path, paths, limit, labeled, layout):
    """Reads tables and text files: (dict of split -> texts, None or dict of split -> labels, notes)."""
    pairs, notes, empty = {split: [] for split in paths}, [], 0
    for split, file in [(split, file) for split, some in paths.items() for file in some]:
        if file.suffix.lower() in TABLES:
            found, left_out = read_table(file, limit)
            found = [(label, text, f"text {number:,}") for number, (label, text) in enumerate(found, 1)]
        elif labeled:
            found, left_out = _labeled_lines(file, limit)
        else:
            lines = read_texts([file], limit, layout)
            found, left_out, notes = [("", text, "") for text in lines], 0, notes + lines.notes
        pairs[split] += [(label, text, file, where) for label, text, where in found]
        empty += left_out
    if empty:
        notes.append(f"{empty:,} row(s) without a text left out")
    texts = {split: [text for _, text, _, _ in found] for split, found in pairs.items()}
    labels = {split: [label for label, _, _, _ in found] for split, found in pairs.items()}
    if not labeled:
        return texts, None, list(dict.fromkeys(notes))
    _check_labels(path, [pair for found in pairs.values() for pair in found])
    if not any(label for some in labels.values() for label in some):
        # Without labels of their own, the texts of a folder have the names of their files.
        if len(paths) > 1 or len(paths["train"]) == 1:
            return texts, None, notes
        labels = {"train": [files.shown(file.stem) for _, _, file, _ in pairs["train"]]}
    return texts, labels, notes


def _labeled_lines(path, limit):
    """Reads lines of `text` or `label<TAB>text`: a list of (label, text, where), and how many have a label alone.

    A line that the limit cuts is left out, or else its label could become its text.
    """
    pairs, empty = [], 0
    for number, (_, line) in enumerate(files.rows(path), 1):
        if limit is not None:
            if len(line.rstrip("\r\n")) > limit:
                break
            limit -= len(line) - line.endswith("\r\n")
        *label, text = map(files.one_line, line.split("\t"))
        if text:
            pairs.append(("\t".join(label), text, f"line {number:,}"))
        elif any(label):
            empty += 1
    if not pairs:
        raise UserError(f"{files.shown(path)}: this file has no text.")
    return pairs, empty


def _check_labels(path, pairs):
    kinds = {}
    for label, _, file, where in pairs:
        if label:
            kinds.setdefault(label.count("\t") + 1, f"{files.shown(file.name)}, {where}")
    if len(kinds) > 1:
        least, most = min(kinds), max(kinds)
        raise UserError(
            f"{files.shown(path)}: every line needs the same number of labels; some have {least}, others {most}:"
            f" see {kinds[least]}, and {kinds[most]}."
        )


def files_of_splits(folder, suffixes=(".txt",)):
    """Finds the files of a folder, by the split in their names.

    Returns:
        dict of split -> list of paths, and a list of str that names the files left out, for people.

    Raises:
        UserError: no file to train on, a file named after two splits, or an unreadable folder.
    """
    try:
        inside = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise files.unreadable(folder, error) from None
    texts = [file for file in inside if file.suffix.lower() in suffixes and not file.is_dir()]
    texts = [file for file in texts if not re.match("readme|licen[cs]e|sources?\\b", file.name.lower())]
    if not texts:
        raise UserError(f"{files.shown(folder)}: this folder has no {', '.join(suffixes)} files.")
    found = {
        split: [file for file in texts if re.search(rf"(?<![a-z])(?:{name})(?![a-z])", file.stem.lower())]
        for split, name in SPLITS.items()
    }
    for file in texts:
        twice = [split for split, paths in found.items() if file in paths]
        if len(twice) > 1:
            raise UserError(f"{files.shown(file)} is named after {' and '.join(twice)}; rename it after one of them.")
    held_out = {split: paths for split, paths in found.items() if paths and split != "train"}
    # If no file is called train, all that are not held out are train.
    train = found["train"] or [file for file in texts if not any(file in paths for paths in held_out.values())]
    if not train:
        names = ", ".join(files.shown(file.name) for file in texts)
        raise UserError(f"{files.shown(folder)}: only {names} found; add a file to train on.")
    splits = {"train": train, **held_out}
    return splits, _left_out([file for file in inside if not any(file in paths for paths in splits.values())])


def _left_out(paths, most=3):
    """Returns a list with a note on files that were not read, empty if there are none."""
    names = [files.shown(path.name) + ("/" if path.is_dir() else "") for path in paths]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return [f"not read: {', '.join(names[:most])}{more}"] if names else []
