"""Atomic files: text, JSON, and arrays with a checksum.

A file is written under a temporary name in the same folder and renamed once it has reached the disk. Arrays are stored
in the safetensors format: named numbers, with one JSON object and a SHA-256 over everything as metadata. The bytes are
assembled in memory first, so a full disk costs only the new file. Nothing that is read here is ever executed.
"""

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

from scriptorium import UserError

import numpy as np
import safetensors
from safetensors import numpy as safe

TEMPORARY = ".writing-"


@contextlib.contextmanager
def replacing(path, keep=None):
    """Yields a temporary path, which is renamed to `path` if the block ends without an error.

    Args:
        path: path of the file.
        keep: another path in that folder, under which the old file is kept.
    """
    path = Path(path)
    # Keep the suffix: matplotlib takes the format from it.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            _keep(path, keep)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename2 is None:
            error.filename = str(path)  # for the message: a failed write names no file
        raise


def _keep(path, keep):
    """Makes `keep` another name of a file; under its own name it is missing only where a disk has no hard links."""
    link = path.with_name(f"{TEMPORARY}{os.getpid()}-{Path(keep).name}")
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, keep)
    else:
        try:
            os.replace(link, keep)
        finally:
            link.unlink(missing_ok=True)  # after an error, or where `keep` was a name of the file before


def _sync_folder(path):
    """Makes sure that new names in a folder have reached the disk."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_bytes(path, data, keep=None):
    """Writes a file atomically; `keep` as for `replacing`."""
    with replacing(path, keep) as temporary:
        temporary.write_bytes(data)


def write_text(path, text):
    """Writes a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path, values):
    """Writes plain values as a JSON file, atomically."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    # Names of files may hold surrogates, which UTF-8 has no bytes for and JSON can escape.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def read_json(path):
    """Returns the object in a JSON file; raises `UserError` if it is missing or damaged."""
    if os.path.lexists(path) and not Path(path).is_file():
        raise UserError(f"{path} is not a regular file.")
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it is not a JSON object.")
    return values


def check_directory(directory):
    """Raises `UserError` if a folder holds anything but regular files and folders, at any depth.

    A link in it would be read or written through, and a pipe would never end.
    """
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, name) for name in (*folders, *files)):
            with contextlib.suppress(FileNotFoundError):  # a temporary file that has been renamed since
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    what = "a link" if stat.S_ISLNK(mode) else "not a regular file"
                    raise UserError(f"{path} is {what}; the files of a run must be its own. Remove or replace it.")


def _digest(facts, arrays):
    digest = hashlib.sha256(facts.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_arrays(path, facts, arrays, keep=None):
    """Writes facts and arrays to one safetensors file, with a SHA-256 over both.

    Args:
        path: path of the file.
        facts: dict of plain JSON values.
        arrays: dict of str -> numpy array of integers, floats or booleans.
        keep: path under which the old file is kept.
    """
    facts = json.dumps(facts)
    arrays = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    write_bytes(path, safe.save(arrays, {"facts": facts, "sha256": _digest(facts, arrays)}), keep)


def load_arrays(path):
    """Reads a file of `save_arrays`.

    Returns:
        facts dict, arrays dict.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file cannot be read, or any byte of it has changed.
    """
    try:
        data = Path(path).read_bytes()
        arrays = safe.load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        if _digest(metadata["facts"], arrays) != metadata["sha256"]:
            raise ValueError("its checksum is wrong")
        return json.loads(metadata["facts"]), arrays
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def shapes_of(path):
    """Returns the shapes of the arrays in a file of `save_arrays`, a list, without reading them; None if damaged."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 (not a dict)
    except (OSError, safetensors.SafetensorError):
        return None


def within(part, arrays):
    """Returns the arrays whose names begin with `part/`, without this prefix."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}


def is_locked(path):
    """Whether another process holds the `Lock` of a file; looking keeps nobody out."""
    try:
        import fcntl

        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except ImportError:
        return False  # there is no shared lock to ask with
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Lock:
    """Keeps a second process out of a directory; the lock ends with its process, however that ends.

    Args:
        path: file to lock; created if it is missing, and never deleted.

    Raises:
        UserError: another process holds it.
    """

    def __init__(self, path):
        self.file = open(path, "a+b")  # noqa: SIM115 (open as long as the lock is held)
        try:
            try:
                import fcntl
            except ImportError:
                import msvcrt

                self.file.seek(0)
                msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            raise UserError(
                f"Another process is training in {Path(path).parent}; wait for it to finish, or stop it."
            ) from error

    def release(self):
        """Releases the lock."""
        self.file.close()
