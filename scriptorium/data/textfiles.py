"""Text files of any size as sequences of texts: lines, entries or sentences.

A file is read in one pass that checks it and notes where each text begins. The texts stay in the file and are read
when needed, so they cost 12 bytes of memory each.
"""

import array
import itertools
import re
from collections.abc import Sequence

from scriptorium import UserError
from scriptorium.data import files

import numpy as np

LONGEST_ROW = 2**20  # bytes; a longer line is read in pieces of this size
LAYOUTS = {
    "auto": "detect it",
    "lines": "one text per line",
    "prose": "sentences of running text",
    "fortune": "entries between lines of a single percent sign",
}
_SAMPLE = 5000  # lines used to detect the kind of a file
_NOTES = {
    "entries": "read as a fortune file",
    "wrapped": "prose cut into sentences",
    "paragraphs": "prose cut into sentences",
}
_CODE = re.compile(r"[\\{}=<>_$^|~]|[;&]\s*$")


class Lines(Sequence):
    """Texts that stay in their files.

    Args:
        paths: the files, treated as one, end to end.
        starts: int64 (texts,), where each text begins, in bytes from the beginning of the first file.
        sizes: int32 (texts,), bytes of each text.
        change: function from str to str, applied to each text when it is read; None for none.
        notes: list of str, for people: how the files were read.
    """

    def __init__(self, paths, starts, sizes, change=None, notes=()):
        self.paths, self.starts, self.sizes, self.change = list(paths), starts, sizes, change
        self.notes = list(notes)
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
            file = self._files[number, buffering] = files.open_file(self.paths[number], buffering)
        file.seek(int(start - self.bounds[number]))
        text = files.one_line(file.read(int(size)).decode())
        return self.change(text) if self.change else text

    def take(self, indices):
        """Returns the texts at `indices`, integers (n,), as `Lines` of the same files."""
        return Lines(self.paths, self.starts[indices], self.sizes[indices], self.change)

    def changed(self, change):
        """Returns the same texts, with `change` applied to each when it is read."""
        return Lines(self.paths, self.starts, self.sizes, change)


def read_texts(paths, limit=None, layout="auto"):
    """Reads UTF-8 files as texts.

    The first 5,000 lines decide which of four kinds a file is: entries separated by lines of a single `%`, as in
    fortune files (their `-- source` lines are left out); prose wrapped to a width, with blank lines between
    paragraphs, cut into sentences; prose with one paragraph per line (more than 300 characters on average), cut into
    sentences; otherwise one text per line.

    Args:
        paths: `pathlib.Path`s.
        limit: characters of each file to read; None reads it whole.
        layout: key of LAYOUTS, the kind of all files; "auto" decides for each as above.

    Returns:
        `Lines`, in the order of the files.

    Raises:
        UserError: a file is missing, unreadable, empty, binary or not UTF-8.
    """
    starts, sizes, base, notes = array.array("q"), array.array("i"), 0, {}
    for path in paths:
        before = len(starts)
        for start, size in _spans(path, limit, layout, notes):
            starts.append(base + start)
            sizes.append(size)
        base += path.stat().st_size
        if len(starts) == before:
            raise UserError(f"{files.shown(path)}: this file has no text.")
    notes = [f"{text} ({count:,} lines of sources left out)" if count else text for text, count in notes.items()]
    return Lines(paths, np.frombuffer(starts, "int64"), np.frombuffer(sizes, "int32"), notes=notes)


def lines_of(path, limit=None, empty=False):
    """Returns the lines of a UTF-8 text file, list of str, within its first `limit` characters.

    Empty lines are left out unless `empty` is true.

    Raises:
        UserError: the file is missing, unreadable, binary or not UTF-8.
    """
    lines = (files.one_line(text) for _, text in files.rows(path, limit))
    return [line for line in lines if empty or line]


def kind_of(rows):
    """Detects the kind of a file from its first lines, list of str: "lines", "entries", "wrapped" or "paragraphs"."""
    rows = [row.rstrip() for row in rows]
    filled = [row for row in rows if row.strip()]
    if _is_fortune(filled):
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


def _is_fortune(rows):
    """Whether nonempty lines are those of a fortune file: `%` separates prose, and sources end entries."""
    separators = [i for i, row in enumerate(rows) if row == "%"]
    if len(separators) <= max(1, len(rows) // 15):
        return False
    # In LaTeX and Matlab, `%` begins other lines too, and lines hold signs that prose hardly ever does.
    if sum(row.lstrip().startswith("%") for row in rows) > len(separators):
        return False
    if sum(bool(_CODE.search(row)) for row in rows) > len(rows) // 50:
        return False
    entries = [rows[i + 1 : j] for i, j in itertools.pairwise([-1, *separators, len(rows)])]
    # A source is the end of its entry: at most two lines follow its first.
    sources = [any(map(_is_source, entry[:-3])) for entry in entries if any(map(_is_source, entry))]
    return 2 * sum(map(bool, entries)) > len(entries) and 10 * sum(sources) <= len(sources)


def _is_source(row):
    return row.strip().startswith(("-- ", "--\t"))


def _blocks(rows, kind, hide):
    """Groups rows that belong together: one row, an entry, or a paragraph; calls `hide` for each line left out."""
    block, size, hidden = [], 0, False
    for start, text in rows:
        bare = text.strip()
        ends = bare == "%" if kind == "entries" else not bare
        hidden = kind == "entries" and not ends and (hidden or _is_source(bare))
        if block and (ends or kind in ("lines", "paragraphs") or size > LONGEST_ROW):
            yield block
            block, size = [], 0
        if bare and hidden:
            hide()
        elif (bare or block) and not ends and not hidden:  # an entry may hold empty lines
            block.append((start, text))
            size += len(text)
    if block:
        yield block


def _spans(path, limit, layout, notes):
    """Yields the texts of a file as (first byte, size in bytes), and counts the lines it leaves out in `notes`."""
    rows = files.rows(path, limit, LONGEST_ROW)
    sample = list(itertools.islice(rows, _SAMPLE))
    kind = _kind_asked_for(layout, sample) or kind_of([text for _, text in sample])
    note = _NOTES.get(kind)
    notes |= {note: notes.get(note, 0)} if note else {}

    def hide():
        notes[note] += 1

    for block in _blocks(itertools.chain(sample, rows), kind, hide):
        start, text = block[0][0], "".join(text for _, text in block)
        for piece in split_sentences(text) if kind in ("wrapped", "paragraphs") else [text]:
            size = len(piece.encode())
            if piece.strip():
                skipped = len(piece[: len(piece) - len(piece.lstrip())].encode())
                yield start + skipped, len(piece.strip().encode())
            start += size


def _kind_asked_for(layout, sample):
    if layout == "prose":
        filled = [text for _, text in sample if text.strip()]
        return "paragraphs" if sum(map(len, filled)) > 300 * len(filled) else "wrapped"
    return {"lines": "lines", "fortune": "entries"}.get(layout)


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
