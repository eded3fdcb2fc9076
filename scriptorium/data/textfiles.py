"""Text files of any size as sequences of texts: lines, entries or sentences.

A file is read in one pass that checks it and notes where each text begins. The texts stay in the file and are read
when needed, so they cost 12 bytes of memory each.
"""

import array
import codecs
import csv
import itertools
import json
import re
from collections.abc import Sequence

from scriptorium import UserError

import numpy as np

LONGEST_ROW = 2**20  # bytes; a longer line is read in pieces of this size
_SAMPLE = 5000  # lines used to detect the kind of a file


class Lines(Sequence):
    """Texts that stay in their files.

    Args:
        paths: the files, treated as one, end to end.
        starts: int64 (texts,), where each text begins, in bytes from the beginning of the first file.
        sizes: int32 (texts,), bytes of each text.
        change: function from str to str, applied to each text when it is read; None for none.
    """

    def __init__(self, paths, starts, sizes, change=None):
        self.paths, self.starts, self.sizes, self.change = list(paths), starts, sizes, change
        self.bounds = np.cumsum([0, *(path.stat().st_size for path in self.paths)])
        self._files = {}

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        # Unbuffered, because single texts are usually read in random order.
        return self._read(self.starts[index], self.sizes[index], 0)

    def __iter__(self):
        for i in range(0, len(self), 65536):
            for start, size in zip(
                self.starts[i : i + 65536].tolist(), self.sizes[i : i + 65536].tolist(), strict=True
            ):
                yield self._read(start, size, LONGEST_ROW)

    def _read(self, start, size, buffering):
        number = 0 if len(self.paths) == 1 else int(np.searchsorted(self.bounds, start, side="right")) - 1
        file = self._files.get((number, buffering))
        if file is None:
            file = self._files[number, buffering] = open(self.paths[number], "rb", buffering=buffering)  # noqa: SIM115
        file.seek(int(start - self.bounds[number]))
        text = file.read(int(size)).decode()
        text = " ".join(text.split()) if "\n" in text else text.strip()
        return self.change(text) if self.change else text

    def take(self, indices):
        """Returns the texts at `indices`, integers (n,), as `Lines` of the same files."""
        return Lines(self.paths, self.starts[indices], self.sizes[indices], self.change)

    def changed(self, change):
        """Returns the same texts, with `change` applied to each when it is read."""
        return Lines(self.paths, self.starts, self.sizes, change)


def read_texts(paths, limit=None):
    """Reads UTF-8 files as texts.

    The first 5,000 lines decide which of four kinds a file is: entries separated by lines of a single `%`, as in
    fortune files (their `-- source` lines are left out); prose wrapped to a width, with blank lines between
    paragraphs, cut into sentences; prose with one paragraph per line (more than 300 characters on average), cut into
    sentences; otherwise one text per line.

    Args:
        paths: `pathlib.Path`s.
        limit: characters of each file to read; None reads it whole.

    Returns:
        `Lines`, in the order of the files.

    Raises:
        UserError: a file is missing, unreadable, empty, binary or not UTF-8.
    """
    starts, sizes, base = array.array("q"), array.array("i"), 0
    for path in paths:
        before = len(starts)
        try:
            for start, size in _spans(path, limit):
                starts.append(base + start)
                sizes.append(size)
            base += path.stat().st_size
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}.") from None
        if len(starts) == before:
            raise UserError(f"{path}: this file has no text.")
    return Lines(paths, np.frombuffer(starts, "int64"), np.frombuffer(sizes, "int32"))


def lines_of(path, limit=None, empty=False):
    """Returns the lines of a UTF-8 text file, list of str, within its first `limit` characters.

    Empty lines are left out unless `empty` is true.

    Raises:
        UserError: the file is missing, unreadable, binary or not UTF-8.
    """
    try:
        return [text.strip() for _, text in _rows(path, limit) if empty or text.strip()]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from None


def kind_of(rows):
    """Detects the kind of a file from its first lines, list of str: "lines", "entries", "wrapped" or "paragraphs"."""
    rows = [row.rstrip() for row in rows]
    filled = [row for row in rows if row.strip()]
    if sum(row == "%" for row in filled) > max(1, len(filled) // 50):
        return "entries"
    if sum(map(len, filled)) > 300 * len(filled):
        return "paragraphs"
    pairs = [(row, following) for row, following in itertools.pairwise(rows) if row.strip() and following.strip()]
    if len(pairs) < 20 or len(rows) - len(filled) < len(rows) // 100:
        return "lines"
    # In wrapped text the first word of the next line would hardly ever have fit on this one, and few lines happen to
    # end with a sentence.
    width = np.percentile([len(row) for row, _ in pairs], 80)
    full = np.mean([len(row) + 1 + len(following.split()[0]) > width for row, following in pairs])
    ended = np.mean([row[-1] in ".?!" for row, _ in pairs])
    return "wrapped" if 40 <= width <= 120 and full > 0.6 and ended < 0.4 else "lines"


def _rows(path, limit):
    """Yields the lines of a file as (first byte, str), checking that they are UTF-8 text."""
    with open(path, "rb") as file:
        start = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(start)
        left = float("inf") if limit is None else limit
        while left > 0 and (row := file.readline(LONGEST_ROW)):
            if b"\0" in row:
                where = start + row.index(b"\0")
                raise UserError(f"{path}: binary data at byte {where}, not text; save UTF-16 text as UTF-8.")
            try:
                text = row.decode()
            except UnicodeDecodeError as error:
                if error.start == 0 or error.reason != "unexpected end of data" or len(row) < LONGEST_ROW:
                    where = start + error.start
                    raise UserError(f"{path}: byte {where} is not UTF-8 text; convert the file to UTF-8.") from None
                # LONGEST_ROW cut a character in two: it belongs to the next piece.
                row = row[: error.start]
                text = row.decode()
                file.seek(start + len(row))
            yield start, text if len(text) <= left else text[: int(left)]
            start, left = start + len(row), left - len(text)


def _blocks(rows, kind):
    """Groups rows that belong together: one row, an entry, or a paragraph."""
    block, size, hidden = [], 0, False
    for start, text in rows:
        bare = text.strip()
        ends = bare == "%" if kind == "entries" else not bare
        hidden = kind == "entries" and not ends and (hidden or bare.startswith(("-- ", "--\t")))
        if block and (ends or kind in ("lines", "paragraphs") or size > LONGEST_ROW):
            yield block
            block, size = [], 0
        if bare and not ends and not hidden:
            block.append((start, text))
            size += len(text)
    if block:
        yield block


def _spans(path, limit):
    """Yields the texts of a file as (first byte, size in bytes)."""
    rows = _rows(path, limit)
    sample = list(itertools.islice(rows, _SAMPLE))
    kind = kind_of([text for _, text in sample])
    for block in _blocks(itertools.chain(sample, rows), kind):
        start, text = block[0][0], "".join(text for _, text in block)
        for piece in split_sentences(text) if kind in ("wrapped", "paragraphs") else [text]:
            size = len(piece.encode())
            if piece.strip():
                skipped = len(piece[: len(piece) - len(piece.lstrip())].encode())
                yield start + skipped, len(piece.strip().encode())
            start += size


_END = re.compile(r"[.?!]+[\"')\]”’*]*(?=\s+[\"'(\[“‘`*]*[A-Z0-9])|[。！？…]+[”’」』）]*|[.?!]+[\"')\]”’]*\s*$")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:e\.g|i\.e|a\.k\.a|w\.r\.t|aka|etc|vs|cf|viz|approx|incl|resp|al|ca|no|nos|vol|pp?|figs?|eqs?|secs?|chap"
    r"|dr|mrs?|ms|prof|st|jr|sr|messrs|capt|col|gen|lt|rev|hon|[a-z])\.$",
    re.IGNORECASE,
)


def split_sentences(text):
    """Splits running text into sentences.

    Args:
        text: str, a paragraph; line ends count as spaces.

    Returns:
        list of str whose concatenation is `text`; white space after a sentence begins the next one.
    """
    pieces, start = [], 0
    for match in _END.finditer(text):
        # "I." and "p. 3" do not end a sentence; "etc." does so only at the end of the text.
        if match.end() < len(text) and _ABBREVIATION.search(text, start, match.end()):
            continue
        pieces.append(text[start : match.end()])
        start = match.end()
    if text[start:].strip() or not pieces:
        pieces.append(text[start:])
    elif start < len(text):
        pieces[-1] += text[start:]
    return pieces


TABLES = (".csv", ".jsonl", ".json")


def read_table(path, limit=None):
    """Reads a table with a column `text` and, optionally, a column `label`.

    Args:
        path: `pathlib.Path` with a suffix from TABLES.
        limit: characters of the file to read; a row that this cuts is left out.

    Returns:
        list of (label, text): white space in texts becomes single spaces, empty texts are left out, and a missing
        label is "".

    Raises:
        UserError: no column `text`, a line that is not a JSON object, or an unreadable file.
    """
    lines = lines_of(path, limit)
    if limit is not None and path.stat().st_size > limit:
        lines = lines[:-1]  # cut off somewhere
    rows = _rows_of_csv(path, lines) if path.suffix.lower() == ".csv" else _rows_of_json(path, lines)
    pairs = ((row.get("label"), " ".join(str(row.get("text") or "").split())) for row in rows)
    return [("" if label is None else str(label).strip(), text) for label, text in pairs if text]


def _rows_of_csv(path, lines):
    reader = csv.DictReader(f"{line}\n" for line in lines)
    if "text" not in (reader.fieldnames or ()):
        raise UserError(
            f"{path}: there is no column `text`; the columns are: {', '.join(reader.fieldnames or ()) or 'none'}."
        )
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}.") from None


def _rows_of_json(path, lines):
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: object {number} is not valid JSON: {error}.") from None
        if not isinstance(row, dict) or "text" not in row:
            raise UserError(f"{path}: object {number} is not a JSON object with a key `text`.")
        yield row
