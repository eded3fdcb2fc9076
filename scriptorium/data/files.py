"""Opens the files that a user names, and reads their lines.

Every path from a command line or from a run that is read as text, table or array goes through `open_file`.
"""

import codecs
import os
import pathlib
import stat

from scriptorium import UserError

CHUNK = 2**20  # bytes read at a time
_PIPE = "a pipe, not a file; save the text in a file first"
_KINDS = {stat.S_IFDIR: "a folder, not a file", stat.S_IFIFO: _PIPE}
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# Characters other than CR and LF that some programs take for the end of a line.
_LINE_ENDS = str.maketrans(dict.fromkeys("\v\f\x1c\x1d\x1e\x85\u2028\u2029", " "))


def shown(path):
    """Returns a path for people: characters that cannot be printed, or are not UTF-8, become U+FFFD."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(path))


def name_of(path):
    """Returns the name of a file or folder, which need not exist, for people; raises `UserError` if it is empty."""
    _refuse_empty(path)
    path = pathlib.Path(os.path.realpath(path))
    return shown(path.name or path)


def _refuse_empty(path):
    if not str(path):
        raise UserError("The path of a file is empty; is a variable of the shell not set?")


def unreadable(path, error):
    """Returns the `UserError` that describes an OSError or ValueError of a path."""
    if isinstance(error, (FileNotFoundError, ValueError)):
        return UserError(f"{shown(path)}: no such file or folder.")
    return UserError(f"{shown(path)}: {getattr(error, 'strerror', None) or error}.")


def path_of(name):
    """Returns the `pathlib.Path` of a file or folder.

    Raises:
        UserError: the name is empty, or there is no such file or folder.
    """
    _refuse_empty(name)
    try:
        os.stat(name)
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None
    return pathlib.Path(name)


def open_file(name, buffering=-1):
    """Opens a regular file, and nothing else, for reading.

    Args:
        name: str or path.
        buffering: see `open`.

    Returns:
        Binary file.

    Raises:
        UserError: the file is missing or cannot be read, or is a folder, a pipe or a device.
    """
    path = path_of(name)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "a device, not a file")
            raise UserError(f"{shown(path)} is {kind}.")
        return open(path, "rb", buffering=buffering)
    except OSError as error:
        raise unreadable(path, error) from None


def skip_mark(file, path):
    """Moves a file past the byte order mark of UTF-8; returns how many bytes that is.

    Raises:
        UserError: the mark of another encoding.
    """
    first = file.read(4)
    for mark, encoding in _MARKS.items():
        if first.startswith(mark):
            raise UserError(f"{shown(path)}: this is {encoding} text; save the file as UTF-8.")
    start = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
    file.seek(start)
    return start


def decode(data, path, start=0, limit=None):
    """Decodes UTF-8 text; what follows its first `limit` characters may be anything.

    Args:
        data: bytes of a file.
        path: path of the file, for messages.
        start: int, where in the file the bytes begin.
        limit: int; None for no limit.

    Raises:
        UserError: bytes that are not UTF-8 text; the message says where.
    """
    try:
        text = data.decode()[:limit]
    except UnicodeDecodeError as error:
        text = data[: error.start].decode()[:limit]
        if limit is None or len(text) < limit:
            where = start + error.start
            raise UserError(f"{shown(path)}: byte {where} is not UTF-8 text; convert the file to UTF-8.") from None
    if "\0" in text:
        where = start + len(text[: text.index("\0")].encode())
        raise UserError(f"{shown(path)}: binary data at byte {where}, not text; save UTF-16 text as UTF-8.")
    return text


def rows(path, limit=None, longest=None):
    """Yields the lines of a UTF-8 file as (first byte, str with its line end); LF, CR and CRLF end a line.

    Args:
        path: str or path.
        limit: characters to read, of which CRLF is one; None reads the whole file.
        longest: bytes; a longer line is cut into pieces of this size, at a space if it has one. None cuts none.

    Raises:
        UserError: the file is missing, unreadable, binary or not UTF-8.
    """
    with open_file(path) as file:
        start = skip_mark(file, path)
        for line in _lines(file, path, longest):
            if limit is not None and limit <= 0:
                return
            text = decode(line, path, start, limit)
            yield start, text
            start += len(line)
            if limit is not None:
                limit -= len(text) - text.endswith("\r\n")


def _lines(file, path, longest):
    rest = b""
    try:
        while data := file.read(CHUNK):
            # The last line may continue in the next chunk: "\r" there may be half of "\r\n".
            *whole, rest = (rest + data).splitlines(keepends=True)
            for line in whole:
                yield from _pieces(line, longest)
            *pieces, rest = _pieces(rest, longest)
            yield from pieces
    except OSError as error:
        raise unreadable(path, error) from None
    if rest:
        yield rest


def _pieces(line, longest):
    while longest and len(line) > longest:
        place = line.rfind(b" ", 0, longest) + 1 or longest
        while place > 1 and line[place] & 0xC0 == 0x80:  # never within a character
            place -= 1
        yield line[:place]
        line = line[place:]
    yield line


def one_line(text):
    """Returns a text without white space at its ends, in which all that may end a line is a space."""
    text = text.strip()
    if "\n" in text or "\r" in text:
        return " ".join(text.split())
    return text if text.isascii() and text.isprintable() else text.translate(_LINE_ENDS)


def beginning(path, limit=None):
    """Returns the text of a UTF-8 file, or its first `limit` characters, and whether there is more.

    Raises:
        UserError: the file is missing, unreadable, binary or not UTF-8.
    """
    with open_file(path) as file:
        start = skip_mark(file, path)
        try:
            data = file.read(-1 if limit is None else 4 * limit + 4)
        except OSError as error:
            raise unreadable(path, error) from None
        text = decode(data, path, start, None if limit is None else limit + 1)
    return text[:limit], limit is not None and len(text) > limit
