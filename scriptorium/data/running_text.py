"""Running text: a task, a file or a folder as one long array of ids of characters or bytes, in reading order.

A text may have any size: files are read in pieces, and beyond `batches.IDS_IN_MEMORY` the ids are memory-mapped.
"""

import codecs
import hashlib
import io
import tempfile

from scriptorium import UserError
from scriptorium.data import batches, corpora, tasks
from scriptorium.data.vocabulary import SPECIAL_TOKENS, UNK, Vocabulary

import numpy as np

CHUNK = 2**22  # bytes read at a time
HELD_OUT = 500_000  # at most this many characters (bytes of a file) in valid and in test, if cut here
BYTES = [*SPECIAL_TOKENS, *map(chr, range(256))]


class RunningText:
    """A text in three splits, each an array of ids.

    Attributes:
        name: the task, or the name of the file or folder.
        fingerprint: SHA-256 of the three splits, hexadecimal.
        description: one line for people.
        vocabulary: `Vocabulary` of characters or bytes.
        train, valid, test: integers (length,), in memory or mapped from a file.
    """

    def __init__(self, name, splits, how, level, vocabulary=None, size=None):
        digest = hashlib.sha256()
        if level == "byte":
            vocabulary = vocabulary or Vocabulary(BYTES, "byte")
        elif vocabulary is None:
            vocabulary = _characters(splits["train"], size)
        for split in corpora.SPLITS:
            digest.update(f"\0{split}\n".encode())
            setattr(self, split, _encode(splits[split], vocabulary, digest))
            if len(getattr(self, split)) < 2:
                raise UserError(f"{name}: too little {split} text; at least 2 characters are needed")
        self.name, self.vocabulary, self.fingerprint = name, vocabulary, digest.hexdigest()
        sizes = ", ".join(f"{len(getattr(self, split)):,} {split}" for split in corpora.SPLITS)
        kind = "bytes" if level == "byte" else "characters"
        self.description = f"{name}: {sizes} {kind} ({how}), {len(vocabulary) - len(SPECIAL_TOKENS)} different"


def read(task=None, path=None, *, limit=None, level="char", size=None, vocabulary=None):
    """Reads running text: a named task, a file, or a folder.

    A file is cut in order: 90 % train, then valid, then test, with at most HELD_OUT in each of the last two. In a
    folder, .txt files whose names contain train, valid (val, dev) or test are used as they are; missing splits are cut
    from the end of train. Tasks that are running text (alice, shakespeare, genesis) are cut like a file, in their
    original layout; the texts of other tasks are joined one per line, in the splits of `corpora.load`.

    Args:
        task: key of `tasks.TASKS`; ignored if `path` is given.
        path: file or folder; any file with level "byte", UTF-8 text otherwise.
        limit: read only this many characters of the text (of each file, if the files are splits).
        level: "char" or "byte".
        size: only this many of the most frequent characters get an id; None for all characters of train.
        vocabulary: the vocabulary of a run; None builds one.

    Returns:
        `RunningText`.

    Raises:
        UserError: an unusable file, or too little text.
    """
    how = "cut in order"
    if path is not None:
        path = corpora.checked_path(path)
        name, sources = path.resolve().name, _sources(path, limit, level)
        how = "as given" if len(sources) > 1 else how
    else:
        name, text = task, tasks.running(task)
        if text is None:
            corpus = corpora.load(task, limit=limit)
            sources, how = {s: "\n".join(getattr(corpus, s)) + "\n" for s in corpora.SPLITS}, "lines split by seed 1"
        else:
            sources = {"train": text[:limit]}
    return RunningText(name, _cut(sources, name), how, level, vocabulary, size)


class _File:
    """Bytes `start` to `end` of a file."""

    def __init__(self, path, start, end, binary):
        self.path, self.start, self.end, self.binary = path, start, end, binary

    def __len__(self):
        return self.end - self.start

    def cut(self, place):
        """Returns the text before and after a position, which is moved to the start of the next character."""
        place += self.start
        with open(self.path, "rb") as file:
            file.seek(place)
            while not self.binary and place < self.end and file.read(1)[0] & 0xC0 == 0x80:
                place += 1
        return _File(self.path, self.start, place, self.binary), _File(self.path, place, self.end, self.binary)

    def pieces(self):
        """Yields the text as str, or the bytes of a binary file."""
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
        with open(self.path, "rb") as file:
            file.seek(self.start)
            for place in range(self.start, self.end, CHUNK):
                data = file.read(min(CHUNK, self.end - place))
                if self.binary:
                    yield data
                    continue
                if b"\0" in data:
                    where = place + data.index(b"\0")
                    raise UserError(
                        f"{self.path}: binary data at byte {where}; use --level byte, or save the file as UTF-8."
                    )
                try:
                    yield decoder.decode(data, final=place + len(data) >= self.end)
                except UnicodeDecodeError as error:
                    # The decoder counts from the bytes it kept from the chunk before.
                    where = place + error.start - (len(error.object) - len(data))
                    raise UserError(
                        f"{self.path}: byte {where} is not UTF-8 text; convert the file, or use --level byte."
                    ) from None


def _sources(path, limit, level):
    files = {"train": [path]} if path.is_file() else corpora.files_of_splits(path)
    return {split: _joined(paths, limit, level == "byte") for split, paths in files.items()}


def _joined(paths, limit, binary):
    try:
        texts = []
        for path in paths:
            size = path.stat().st_size
            if size == 0:
                raise UserError(f"{path}: this file has no text.")
            with open(path, "rb") as file:
                start = 0 if binary or file.read(3) != codecs.BOM_UTF8 else 3
            texts.append(_File(path, start, size if limit is None else min(size, start + 4 * limit), binary))
        if len(texts) == 1 and limit is None:
            return texts[0]
        # Several files, or the beginning of one, are read into memory.
        empty = b"" if binary else ""
        return empty.join(_beginning(text, limit) for text in texts)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror or error}.") from None


def _beginning(file, limit):
    whole = file.end == file.path.stat().st_size
    pieces, length = [], 0
    try:
        for piece in file.pieces():
            pieces.append(piece)
            length += len(piece)
            if limit is not None and length >= limit:
                break
    except UserError:
        # The bytes read for `limit` characters may end within a character that is not needed.
        if whole or length < limit:
            raise
    return (b"" if file.binary else "").join(pieces)[:limit]


def _cut(sources, name):
    """Cuts the missing splits from the end of train."""
    missing = [split for split in ("valid", "test") if split not in sources]
    rest = sources["train"]
    share = min(HELD_OUT, len(rest) // 20)
    if missing and share < 2:
        raise UserError(f"{name}: {len(rest)} characters found, at least 40 are needed.")
    for split in reversed(missing):
        place = len(rest) - share
        rest, part = rest.cut(place) if isinstance(rest, _File) else (rest[:place], rest[place:])
        sources = sources | {split: part}
    return sources | {"train": rest}


def _pieces(source):
    return source.pieces() if isinstance(source, _File) else [source]


def _codes(piece):
    return np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), "uint32")


def _characters(source, size):
    counts = np.zeros(0x110000, "int64")
    for piece in _pieces(source):
        seen = np.bincount(_codes(piece))
        counts[: len(seen)] += seen
    ranked = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], code))[:size]
    return Vocabulary([*SPECIAL_TOKENS, *map(chr, ranked)], "char")


def _encode(source, vocabulary, digest):
    small = np.iinfo("uint8").max, np.iinfo("uint16").max
    dtype = np.dtype("uint8" if len(vocabulary) <= small[0] else "uint16" if len(vocabulary) <= small[1] else "int32")
    table = np.full(0x110000, UNK, dtype)
    for i, token in enumerate(vocabulary.tokens[len(SPECIAL_TOKENS) :], len(SPECIAL_TOKENS)):
        table[ord(token)] = i
    parts, file = [], None
    for piece in _pieces(source):
        data = piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogatepass")
        digest.update(data)
        codes = np.frombuffer(data, "uint8") if vocabulary.level == "byte" else _codes(piece)
        parts.append(table[codes])
        if sum(map(len, parts)) > batches.IDS_IN_MEMORY:
            file = file or tempfile.TemporaryFile()  # noqa: SIM115 (it must stay open as long as the map)
            np.concatenate(parts).tofile(file)
            parts = []
    rest = np.concatenate(parts) if parts else np.zeros(0, dtype)
    if file is None:
        return rest
    rest.tofile(file)
    file.flush()
    return np.memmap(file, dtype, "r")


# Command line ---------------------------------------------------------------------------------------------------------
