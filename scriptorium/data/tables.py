"""Tables of texts: CSV with a header, JSON objects one after another, or a JSON array of objects."""

import csv
import json
import re

from scriptorium import UserError
from scriptorium.data import files

TABLES = (".csv", ".jsonl", ".json")
_LONGEST_FIELD = 2**31 - 1
_SEPARATORS = (",", ";", "\t", "|")
_HINT = 'write a text that holds a separator, a line end or a quote as "a ""text"", quoted"'


def read_table(path, limit=None):
    """Reads a table with a column `text` and, optionally, a column `label`; upper and lower case are the same.

    Args:
        path: `pathlib.Path` with a suffix from TABLES.
        limit: characters of the file to read; a row that this cuts is left out.

    Returns:
        list of (label, text), in which white space in texts becomes single spaces and a missing label is "", and the
        number of rows that were left out because their text is empty.

    Raises:
        UserError: no column `text`, a row that cannot be read as meant, or an unreadable file.
    """
    rows = _rows_of_csv(path, limit) if path.suffix.lower() == ".csv" else _rows_of_json(path, limit)
    rows = [(label.strip(), " ".join(text.split())) for label, text in rows]
    pairs = [(label, text) for label, text in rows if text]
    if not pairs:
        raise UserError(f"{files.shown(path)}: this file has no text.")
    return pairs, len(rows) - len(pairs)


# CSV ------------------------------------------------------------------------------------------------------------------


def _rows_of_csv(path, limit):
    """Yields (label, text)."""
    records = _records(path, limit)
    header = next((fields for _, fields in records if any(map(str.strip, fields))), [])
    columns = [name.strip().lower() for name in header]
    if "text" not in columns:
        names = ", ".join(header) or "none"
        raise UserError(f"{files.shown(path)}: there is no column `text`; the columns are: {names}.")
    for name in ("text", "label"):
        if columns.count(name) > 1:
            raise UserError(f"{files.shown(path)}: there are {columns.count(name)} columns `{name}`.")
    text, label = columns.index("text"), columns.index("label") if "label" in columns else None
    for line, fields in records:
        if len(fields) == 1 < len(header) and not fields[0].strip():
            continue
        if len(fields) != len(header):
            what = f"{len(fields)} field(s), but the header has {len(header)}"
            raise UserError(f"{files.shown(path)}, line {line}: {what}; {_HINT}.")
        yield "" if label is None else fields[label], fields[text]


def _records(path, limit):
    """Yields the records of a CSV file as (line where it begins, list of fields), without empty lines."""
    lines = _Lines(path, limit)
    first = next(lines, "")
    stated = re.fullmatch(r'"?sep=([,;:|\t])"?', first.strip("\r\n"), re.IGNORECASE)  # Excel's
    if stated:
        separator = stated[1]
    else:
        separator = next((sign for sign in _SEPARATORS if "text" in _header(first, sign)), ",")
        lines.again = first
    before, reader = (
        csv.field_size_limit(_LONGEST_FIELD),
        csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True),
    )
    try:
        begin = lines.number + 1 if stated else 1
        for fields in reader:
            if fields:
                yield begin, fields
            begin = lines.number + 1
    except csv.Error as error:
        if not lines.cut:
            what = str(error).replace("unexpected end of data", "a quoted field does not end")
            raise UserError(f"{files.shown(path)}, line {begin}: {what}; {_HINT}.") from None
    finally:
        csv.field_size_limit(before)


def _header(line, separator):
    try:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


class _Lines:
    """Iterates over the whole lines within the first `limit` characters of a file, each ended by LF."""

    def __init__(self, path, limit):
        self.rows, self.left = files.rows(path), limit
        self.number, self.again, self.cut = 0, None, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.again is not None:
            line, self.again = self.again, None
            return line
        _, line = next(self.rows)
        line = re.sub(r"\r\n?$", "\n", line)
        if self.left is not None:
            # The last line needs no end.
            if len(line.rstrip("\n")) > self.left:
                self.cut = True
                raise StopIteration
            self.left -= len(line)
        self.number += 1
        return line


# JSON -----------------------------------------------------------------------------------------------------------------


def _rows_of_json(path, limit):
    """Yields (label, text)."""
    for number, row in enumerate(_objects(path, limit), 1):
        where = f"{files.shown(path)}: object {number}"
        if not isinstance(row, dict):
            raise UserError(f"{where} is not a JSON object with a key `text`.")
        names = {name.lower(): name for name in reversed(row)} | {name: name for name in row}
        if "text" not in names:
            raise UserError(f"{where} is not a JSON object with a key `text`.")
        text, label = row[names["text"]], row.get(names.get("label"))
        if text is not None and not isinstance(text, str):
            raise UserError(f"{where}: text is not a string.")
        if isinstance(label, (dict, list)) or label != label:
            raise UserError(f"{where}: label is neither a string nor a number.")
        label = "" if label is None else str(label)
        yield tuple(re.sub("[\ud800-\udfff]", "\ufffd", part) for part in (label, text or ""))


def _object(pairs):
    """Returns a JSON object, a dict; raises ValueError if it has a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice!r} twice")
    return found


def _objects(path, limit):
    """Yields the values of a JSON file: those of an array, or those that follow one another."""
    text, cut = files.beginning(path, limit)
    decoder, blank = json.JSONDecoder(object_pairs_hook=_object), re.compile(r"[ \t\r\n]*")
    place, number = blank.match(text).end(), 0
    is_array = text[place : place + 1] == "["
    place = blank.match(text, place + 1).end() if is_array else place
    if is_array and text[place : place + 1] == "]":
        return
    while place < len(text):
        number += 1
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            if cut:
                return
            raise UserError(f"{files.shown(path)}: object {number} is not valid JSON: {error}.") from None
        yield value
        place = blank.match(text, place).end()
        if is_array:
            sign = text[place : place + 1]
            place = blank.match(text, place + 1).end()
            if sign == "]" and place == len(text):
                return
            if sign != ",":
                if cut:
                    return
                line = text.count("\n", 0, place) + 1
                what = "the array ends here, but the file does not" if sign == "]" else "`,` or `]` is missing"
                raise UserError(f"{files.shown(path)}: after object {number}, line {line}: {what}.")
    if is_array and not cut:
        raise UserError(f"{files.shown(path)}: the array does not end.")
