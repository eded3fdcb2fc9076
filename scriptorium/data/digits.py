"""Handwritten digits as text, row by row.

A picture of n rows has n * (n + 2) characters: 99 for 9 rows, 224 for 14, 840 for 28. A row is written as `v` (rows
run down) or `^` (up), a letter that counts the rows from the top, and one character for the brightness of each pixel.
"""

import contextlib
import io
import socket
import zipfile

from scriptorium import UserError
from scriptorium.data import files

import numpy as np

SIDES = (9, 14, 28)
DIRECTIONS = {"down": "v", "up": "^"}
ROW_LETTERS = "abcdefghijklmnopqrstuvwxyzAB"  # from the top
BRIGHTNESS = ".:-=+*#@"  # dark to bright


def fetch():
    """Returns MNIST (LeCun et al. 1998), downloaded once by Keras: uint8 (70000, 28, 28) and the digits, (70000,).

    Raises:
        UserError: it is not on this machine and cannot be downloaded.
    """
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            splits = keras.datasets.mnist.load_data()
    except Exception as error:  # what Keras raises is a plain Exception
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"MNIST cannot be downloaded ({reason}); use your own digits with -D FILE.npz, which holds arrays"
            " x (n, side, side) and y (n,)."
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return tuple(np.concatenate(arrays) for arrays in zip(*splits, strict=True))


def read(path):
    """Reads pictures from an .npz file with arrays x and y, or x_train, y_train, x_test and y_test, as MNIST has.

    Returns:
        float32 (n, side, side) from 0 to 1, or uint8, and int (n,).

    Raises:
        UserError: missing file or arrays, or pictures that are not square.
    """
    try:
        with files.open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
            names = ("x", "y") if "x" in file.files else ("x_train", "y_train")
            x, y = (file[name] for name in names)
            if "x_test" in file.files and "x" not in file.files:
                x, y = np.concatenate([x, file["x_test"]]), np.concatenate([y, file["y_test"]])
    except KeyError as error:
        raise UserError(
            f"{path}: {str(error).strip(chr(39))} (expected arrays x and y, or x_train and y_train)."
        ) from None
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays ({' '.join(str(error).split())[:100]}).") from None
    if x.ndim != 3 or x.shape[1] != x.shape[2] or y.shape != x.shape[:1] or not len(x):
        raise UserError(f"{path}: pictures must be (n, side, side) and digits (n,), not {x.shape} and {y.shape}.")
    return x, y


def downscale(pictures, side):
    """Downscales square pictures: each new pixel is the mean of the area it covers, (n, s, s) -> (n, side, side).

    Integers are taken as brightness from 0 to 255.
    """
    x = np.asarray(pictures, "float32") / (255.0 if np.issubdtype(np.asarray(pictures).dtype, np.integer) else 1.0)
    # Row i of `cover`: the share of each old row in new row i.
    edges, old = np.linspace(0, x.shape[1], side + 1), np.arange(x.shape[1])
    inside = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    cover = (np.maximum(inside, 0) / (x.shape[1] / side)).astype("float32")
    return np.clip(cover @ x @ cover.T, 0.0, 1.0)


def to_text(picture, direction="down"):
    """Writes a picture, float (side, side) from 0 to 1."""
    signs = np.minimum((picture * len(BRIGHTNESS)).astype(int), len(BRIGHTNESS) - 1)
    rows = [
        f"{DIRECTIONS[direction]}{ROW_LETTERS[i]}{''.join(BRIGHTNESS[sign] for sign in row)}"
        for i, row in enumerate(signs)
    ]
    return "".join(rows if direction == "down" else rows[::-1])


def from_text(text):
    """Reads a picture back: float32 (side, side), each pixel the middle of its level; None if it is no picture."""
    side = round((len(text) + 1) ** 0.5) - 1
    if side not in SIDES or side * (side + 2) != len(text):
        return None
    rows = [text[i : i + side + 2] for i in range(0, len(text), side + 2)]
    down = text[0] == DIRECTIONS["down"]
    rows = rows if down else rows[::-1]
    mark = DIRECTIONS["down" if down else "up"]
    if any(row[:2] != mark + number for row, number in zip(rows, ROW_LETTERS, strict=False)):
        return None
    if any(sign not in BRIGHTNESS for row in rows for sign in row[2:]):
        return None
    levels = np.array([[BRIGHTNESS.index(sign) for sign in row[2:]] for row in rows], "float32")
    return (levels + 0.5) / len(BRIGHTNESS)


def texts(pictures, labels, side, direction="down"):
    """Writes pictures as texts: list of str, and their labels, list of str."""
    return [to_text(picture, direction) for picture in downscale(pictures, side)], [str(label) for label in labels]
