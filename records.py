"""Texts and their labels from tables: .csv files and files with a JSON object a line (.jsonl, .json).

Floor 1, used by corpora.py. Texts are in a column called `text`, labels in one called `label`, where there is one.
"""

import csv
import json

from textfiles import lines_of
from util import UserError

SUFFIXES = (".csv", ".jsonl", ".json")


def read(path, limit=None):
    """Reads a table.

    Args:
        path: `pathlib.Path` with one of SUFFIXES.
        limit: characters of the file that are read; a row that they cut is left out.

    Returns:
        list of (label, text): white space within texts is made single spaces, empty ones are left out, and a label that
        is not there is "".

    Raises:
        UserError: no column `text`, a line that is no JSON object, a file that cannot be read.
    """
    lines = lines_of(path, limit)
    if limit is not None and path.stat().st_size > limit:
        lines = lines[:-1]  # cut off somewhere
    rows = _of_csv(path, lines) if path.suffix.lower() == ".csv" else _of_json(path, lines)
    pairs = ((row.get("label"), " ".join(str(row.get("text") or "").split())) for row in rows)
    return [("" if label is None else str(label).strip(), text) for label, text in pairs if text]


def _of_csv(path, lines):
    reader = csv.DictReader(f"{line}\n" for line in lines)
    if "text" not in (reader.fieldnames or ()):
        raise UserError(
            f"{path}: no column is called text, but {', '.join(reader.fieldnames or ()) or 'none is there'}."
        )
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}.") from None


def _of_json(path, lines):
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: object {number} is no JSON: {error}.") from None
        if not isinstance(row, dict) or "text" not in row:
            raise UserError(f"{path}: object {number} is no JSON object with a text.")
        yield row
