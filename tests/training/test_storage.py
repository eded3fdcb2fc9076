import os
import signal
import subprocess
import sys

from scriptorium import ROOT, UserError
from scriptorium.training import storage

import numpy as np
import pytest


def test_a_write_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import os, signal\n"
        "from scriptorium.training import storage\n"
        f"with storage.replacing({str(path)!r}) as temporary:\n"
        "    temporary.write_text('half of the')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    storage.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        storage.write_text(path, "new \ud800")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_file_whose_old_version_is_kept_is_never_missing(tmp_path, monkeypatch):
    path, keep = tmp_path / "last", tmp_path / "previous"
    storage.write_bytes(path, b"1")
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append(path.exists())
        replace(source, target)
        seen.append(path.exists())

    monkeypatch.setattr(os, "replace", watched)
    storage.write_bytes(path, b"2", keep)
    assert (path.read_bytes(), keep.read_bytes()) == (b"2", b"1") and len(seen) == 4 and all(seen)
    # A kill between the two renames leaves both names on one file.
    keep.unlink()
    os.link(path, keep)
    storage.write_bytes(path, b"3", keep)
    assert (path.read_bytes(), keep.read_bytes()) == (b"3", b"2") and len(list(tmp_path.iterdir())) == 2
    # Some disks have no hard links.
    monkeypatch.setattr(os, "link", fail)
    storage.write_bytes(path, b"4", keep)
    assert (path.read_bytes(), keep.read_bytes()) == (b"4", b"3") and len(list(tmp_path.iterdir())) == 2


def fail(source, target):
    raise OSError("This disk has no hard links.")


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"a": np.arange(6, dtype="float16").reshape(2, 3), "b": np.zeros((0, 2)), "c": np.array(True)}
    storage.save_arrays(tmp_path / "file", {"epoch": 3}, arrays)
    facts, back = storage.load_arrays(tmp_path / "file")
    assert facts == {"epoch": 3}
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


def test_every_flipped_bit_is_found(tmp_path):
    path, arrays = tmp_path / "file", {"a": np.arange(6, dtype="float32"), "b": np.zeros((0, 2)), "c": np.array(True)}
    storage.save_arrays(path, {"epoch": 3}, arrays)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(UserError, match="is damaged"):
                storage.load_arrays(path)


@pytest.mark.parametrize("content", [b"", b"x", bytes(8), b"\xff" * 8, b"\x02" + bytes(7) + b"{}", bytes(1000)])
def test_what_is_no_safetensors_file_is_damaged(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        storage.load_arrays(tmp_path / "file")


def test_arrays_that_are_not_contiguous_are_kept_as_they_are(tmp_path):
    arrays = {"turned": np.arange(6.0).reshape(2, 3).T, "thinned": np.arange(10)[::2]}
    storage.save_arrays(tmp_path / "file", {}, arrays)
    for name, array in storage.load_arrays(tmp_path / "file")[1].items():
        np.testing.assert_array_equal(array, arrays[name])


def test_names_in_another_encoding_come_back_from_json(tmp_path):
    values = {"data": "n\udcff.txt", "text": "é 中"}
    storage.write_json(tmp_path / "x.json", values)
    assert storage.read_json(tmp_path / "x.json") == values
    assert "é 中" in (tmp_path / "x.json").read_text(encoding="utf-8")
