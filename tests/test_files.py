import signal
import subprocess
import sys
from pathlib import Path

import devices  # isort: skip # noqa: F401 (before Keras)

import h5py
import numpy as np
import pytest

import files
from util import UserError


def test_a_write_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys, types\n"
        "sys.modules['util'] = types.SimpleNamespace(UserError=Exception)\n"
        "import files\n"
        f"with files.replacing({str(path)!r}) as temporary:\n"
        "    temporary.write_text('half of the')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(files.__file__).parent)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "new \ud800")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"a": np.arange(6, dtype="float16").reshape(2, 3), "b": np.zeros((0, 2)), "c": np.array(True)}
    files.save_arrays(tmp_path / "file", {"epoch": 3}, arrays)
    facts, back = files.load_arrays(tmp_path / "file")
    assert facts == {"epoch": 3}
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


def test_a_checkpoint_reads_no_other_file(tmp_path):
    (tmp_path / "secret").write_bytes(b"12345678")
    with h5py.File(tmp_path / "linked", "w") as file:
        file["model-00000"] = h5py.ExternalLink("other", "/a")
    with h5py.File(tmp_path / "outside", "w") as file:
        file.create_dataset("model-00000", (8,), "uint8", external=[(str(tmp_path / "secret"), 0, 8)])
    with h5py.File(tmp_path / "huge", "w") as file:
        file.create_dataset("model-00000", (10**12,), "float64", chunks=(1000,))
    for name in ("linked", "outside", "huge"):
        with h5py.File(tmp_path / name, "a") as file:
            file.attrs.update({"facts": "{}", "sha256": ""})
        with pytest.raises(UserError, match=r"no plain array|larger than the file"):
            files.load_arrays(tmp_path / name)
