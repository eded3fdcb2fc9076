"""Running text: a task, a file or a folder as one long array of ids of characters or bytes, in reading order.

A text may have any size: files are read in pieces, and beyond `growing_ids.IDS_IN_MEMORY` the ids are memory-mapped.
"""

import codecs
import dataclasses
import hashlib
import io

from scriptorium import UserError
from scriptorium.data import corpora, files, tasks
from scriptorium.data.growing_ids import GrowingIds
from scriptorium.data.sources import SPLITS, files_of_splits
from scriptorium.data.vocabulary import SPECIAL_TOKENS, UNK, Vocabulary

import numpy as np

CHUNK = 2**22  # bytes read at a time
HELD_OUT = 500_000  # at most this many characters (bytes of a file) in valid and in test, if cut here
BYTES = [*SPECIAL_TOKENS, *map(chr, range(256))]


@dataclasses.dataclass
class RunningText:
    """A text in three splits, each an array of ids.

    Attributes:
        name: the task, or the name of the file or folder.
        fingerprint: SHA-256 of the three splits, hexadecimal.
        description: one line for people.
        vocabulary: `Vocabulary` of characters or bytes.
        train, valid, test: integers (length,), in memory or mapped from a file.
    """

    name: str
    fingerprint: str
    description: str
    vocabulary: Vocabulary
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def read(task=None, path=None, *, limit=None, level="char", size=None, vocabulary=None):
    """Reads running text: a named task, a file, or a folder.

    A file is cut in order: 90% train, then valid, then test, with at most HELD_OUT in each of the last two. In a
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
        path = files.path_of(path)
        name, (sources, notes) = files.name_of(path), _sources(path, limit, level)
        how = "; ".join(["as given" if len(sources) > 1 else how, *notes])
    else:
        name, text = task, tasks.running(task)
        if text is None:
            corpus = corpora.load(task, limit=limit)
            sources = {s: "\n".join(getattr(corpus, s)) + "\n" for s in SPLITS}
            repeated = f"{corpus.repeated:,} repeated lines left out; " if corpus.repeated else ""
            how = f"{repeated}lines {corpus.cut}"
        else:
            sources = {"train": text[:limit]}
    sources = _cut(sources, name)
    if vocabulary is None:
        vocabulary = Vocabulary(BYTES, "byte") if level == "byte" else _characters(sources["train"], size)
    return _encoded(name, sources, how, vocabulary)


def _encoded(name, sources, how, vocabulary):
    digest, unknown, ids = hashlib.sha256(), 0, {}
    for split in SPLITS:
        digest.update(f"\0{split}\n".encode())
        ids[split], count = _encode(sources[split], vocabulary, digest)
        unknown += count
        if len(ids[split]) < 2:
            raise UserError(f"{name}: too little {split} text; at least 2 characters are needed")
    sizes = ", ".join(f"{len(ids[split]):,} {split}" for split in SPLITS)
    kind = "bytes" if vocabulary.level == "byte" else "characters"
    description = f"{name}: {sizes} {kind} ({how}), {len(vocabulary) - len(SPECIAL_TOKENS)} different"
    description += f"; {unknown:,} others become <unk>" if unknown else ""
    return RunningText(name, digest.hexdigest(), description, vocabulary, **ids)


class _File:
    """Bytes `start` to `end` of a file."""

    def __init__(self, path, start, end, binary):
        self.path, self.start, self.end, self.binary = path, start, end, binary

    def __len__(self):
        return self.end - self.start

    def cut(self, place):
        """Returns the text before and after a position, moved on so that no character and no line end is cut."""
        place += self.start
        with files.open_file(self.path) as file:
            file.seek(place - 1)
            before, after = file.read(1), file.read(1)
            while not self.binary and (before + after == b"\r\n" or (after and after[0] & 0xC0 == 0x80)):
                place, before, after = place + 1, after, file.read(1)
        place = min(place, self.end)
        return _File(self.path, self.start, place, self.binary), _File(self.path, place, self.end, self.binary)

    def pieces(self):
        """Yields the text as str, or the bytes of a binary file; what precedes a bad byte is yielded before the error.

        Raises:
            UserError: bytes that are not UTF-8 text.
        """
        utf8, lines = codecs.getincrementaldecoder("utf-8")(), io.IncrementalNewlineDecoder(None, translate=True)
        advice = "save the file as UTF-8, or use --level byte"
        with files.open_file(self.path) as file:
            file.seek(self.start)
            for place in range(self.start, self.end, CHUNK):
                data, wrong = file.read(min(CHUNK, self.end - place)), None
                if self.binary:
                    yield data
                    continue
                try:
                    text = utf8.decode(data, final=place + len(data) >= self.end)
                except UnicodeDecodeError as error:
                    # The decoder counts from the bytes it kept from the chunk before.
                    where = place + error.start - (len(error.object) - len(data))
                    text, wrong = error.object[: error.start].decode(), f"byte {where} is not UTF-8 text"
                if "\0" in text:
                    text = text[: text.index("\0")]
                    wrong = f"binary data at byte {place + data.index(0)}"
                if text := lines.decode(text, final=wrong is not None or place + len(data) >= self.end):
                    yield text
                if wrong:
                    raise UserError(f"{files.shown(self.path)}: {wrong}; {advice}.")


def _sources(path, limit, level):
    """Returns a dict of split -> `_File`, str or bytes, and notes for people."""
    splits, notes = ({"train": [path]}, []) if not path.is_dir() else files_of_splits(path)
    return {split: _joined(paths, limit, level == "byte") for split, paths in splits.items()}, notes


def _joined(paths, limit, binary):
    texts = []
    for path in paths:
        with files.open_file(path) as file:
            start, size = 0 if binary else files.skip_mark(file, path), path.stat().st_size
        if size == start:
            raise UserError(f"{files.shown(path)}: this file has no text.")
        # A character has at most 4 bytes.
        texts.append(_File(path, start, size if limit is None else min(size, start + 4 * limit), binary))
    if len(texts) == 1 and limit is None:
        return texts[0]
    # Several files, or the beginning of one, are read into memory.
    return (b"" if binary else "").join(_beginning(text, limit) for text in texts)


def _beginning(file, limit):
    pieces, length = [], 0
    for piece in file.pieces():
        pieces.append(piece)
        length += len(piece)
        if limit is not None and length >= limit:
            break
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
    """Returns the ids of a text, and how many of them are `<unk>`; adds the text to a digest."""
    ids, unknown = GrowingIds(len(vocabulary)), 0
    table = np.full(0x110000, UNK, ids.dtype)
    for i, token in enumerate(vocabulary.tokens[len(SPECIAL_TOKENS) :], len(SPECIAL_TOKENS)):
        table[ord(token)] = i
    for piece in _pieces(source):
        data = piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogatepass")
        digest.update(data)
        found = table[np.frombuffer(data, "uint8") if vocabulary.level == "byte" else _codes(piece)]
        ids.extend(found)
        unknown += int(np.count_nonzero(found == UNK))
    return ids.finish(), unknown


# Command line ---------------------------------------------------------------------------------------------------------
