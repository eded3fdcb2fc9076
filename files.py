"""Files that are whole or not there: text, JSON and checkpoints, at whatever moment a process is killed; and a lock.

Every file is written under a temporary name beside its own and renamed when it has reached the disk. A checkpoint is
HDF5: plain arrays and one JSON attribute, with a SHA-256 over all of it. Nothing that is read here is ever run.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import h5py
import numpy as np

from util import UserError

TEMPORARY = ".writing-"


@contextlib.contextmanager
def replacing(path, keep=None):
    """Gives a temporary path in the folder of `path`, which becomes `path` when the block ends without an error.

    Args:
        path: of the file.
        keep: another name in that folder, which the file that stood at `path` takes.
    """
    path = Path(path)
    # The end of the name stays: Keras asks that a file of weights ends in .weights.h5.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        # The new name has to reach the disk too.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path, text):
    """Writes a text file, UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path, values):
    """Writes plain values as a JSON file, whole or not at all."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """Returns the object in a JSON file; `UserError` when it is missing or damaged."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object.")
    return values


def _digest(facts, arrays):
    digest = hashlib.sha256(facts.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_arrays(path, facts, arrays, keep=None):
    """Writes facts and arrays to one HDF5 file, with a SHA-256 over both.

    Args:
        path: of the file.
        facts: dict of plain JSON values.
        arrays: dict of str -> numpy array of integers, floats or booleans.
        keep: the name under which the file that stood there before is kept.
    """
    facts = json.dumps(facts)
    with replacing(path, keep) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.attrs["facts"] = facts
        file.attrs["sha256"] = _digest(facts, arrays)


def load_arrays(path):
    """Reads what `save_arrays` wrote.

    Returns:
        facts dict, arrays dict.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, or a byte of it is not as it was written.
    """
    try:
        with h5py.File(path, "r") as file:
            facts, arrays = file.attrs["facts"], {}
            for name in file:
                hard = isinstance(file.get(name, getlink=True), h5py.HardLink)
                dataset = file[name] if hard else None
                # Only arrays whose bytes lie in this very file: no link, no storage elsewhere, no size it cannot hold.
                if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
                    raise ValueError(f"{name} is no plain array")
                if dataset.nbytes > os.path.getsize(path):
                    raise ValueError(f"{name} is larger than the file")
                arrays[name] = np.asarray(dataset[()])
            if _digest(facts, arrays) != file.attrs["sha256"]:
                raise ValueError("its checksum is wrong")
        return json.loads(facts), arrays
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


class Lock:
    """Keeps a second process out of a directory; it ends with its process, however that ends.

    Args:
        path: of the file that is locked; made when it is missing, and left behind.

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
            raise UserError(f"Another process is training in {Path(path).parent}: wait for it, or stop it.") from error

    def release(self):
        """Lets others in."""
        self.file.close()
