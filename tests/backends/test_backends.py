"""What every backend must do: train as TensorFlow does, stop and go on as if nothing had happened, and be used.

Run it once per backend, after `first_losses.py` has run on TensorFlow:

    KERAS_BACKEND=jax FIRST_LOSSES=FOLDER python -m pytest -m backends --dist loadgroup tests/backends
"""

import csv
import gc
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

from scriptorium import ROOT
from scriptorium.training import callbacks, storage

import keras
import numpy as np
import pytest
from backends.first_losses import SCRIPTS, losses, write_texts
from helpers import run_here

pytestmark = pytest.mark.backends
BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="only JAX trains in several processes")
SIZES = "-b 16 -o 0"
STEPS = 16  # steps per epoch of 270 texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SCRIPTS])
def script(request):
    """The name of a script, whose tests follow each other in one process."""
    yield request.param
    keras.utils.clear_session()
    gc.collect()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()  # see conftest.py


@pytest.fixture(scope="module")
def trained(script, texts, tmp_path_factory):
    """Returns the folder of the runs, a run of two epochs, and the same run stopped in the middle and resumed."""
    logdir, module = tmp_path_factory.mktemp(script), importlib.import_module(script)
    argv = ["-D", texts, "-T", logdir, "-e", 2, *SIZES.split(), *SCRIPTS[script].split()]
    run_here(module, *argv, "--name", "straight")
    steps, on_batch_end = [], callbacks.Checkpoint.on_train_batch_end

    def stop_in_the_middle(self, batch, logs=None):
        on_batch_end(self, batch, logs)
        steps.append(batch)
        if len(steps) == STEPS + 5:
            raise KeyboardInterrupt

    with mock.patch.object(callbacks.Checkpoint, "on_train_batch_end", stop_in_the_middle):
        run_here(module, *argv, "--name", "stopped", status=130)
    run_here(module, "--resume", "stopped", "-T", logdir)
    return logdir, *(logdir / script / name for name in ("straight", "stopped"))


def read_history(path):
    """Returns the rows of a history.csv, a list of dict of str."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_stop_changes_nothing(trained):
    _, straight, stopped = trained
    arrays = [storage.load_arrays(run / "last.safetensors")[1] for run in (straight, stopped)]
    assert arrays[0].keys() == arrays[1].keys() and len(arrays[0]) > 10
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)
    scores = [json.loads((run / "eval.json").read_text()) | {"seconds": 0} for run in (straight, stopped)]
    assert scores[0] == scores[1]


def test_a_run_is_used(script, trained):
    logdir, straight, _ = trained
    module = importlib.import_module(script)
    before = (straight / "eval.json").read_text()
    assert "test split" in run_here(module, "--eval", "straight", "-T", logdir).stdout
    assert json.loads(before).keys() <= json.loads((straight / "eval.json").read_text()).keys()
    written = run_here(module, "--sample", "straight", "-T", logdir, text="the red cat\n\n").stdout
    assert written.strip()
    if script in ("sentences", "names_vae", "transformer_vae"):
        ends = "the red cat saw it up", "the old man hit us in"
        walk = run_here(importlib.import_module("homotopy"), *ends, "--run", straight, "-T", logdir).stdout
        assert walk.count("\n") >= 5


@pytest.mark.skipif("FIRST_LOSSES" not in os.environ, reason="the losses on TensorFlow are not known")
def test_the_first_losses_are_those_of_tensorflow(script, tmp_path):
    folder = Path(os.environ["FIRST_LOSSES"])
    wanted = json.loads((folder / f"{script}-tensorflow.json").read_text())
    found = losses(script, folder, tmp_path)
    assert len(found) == len(wanted) == 20
    for mine, theirs in zip(found, wanted, strict=True):
        for name, value in theirs.items():
            # The norms of gradients are sums of squares of small numbers.
            assert mine[name] == pytest.approx(value, rel=2e-3 if name.endswith("norm") else 1e-4, abs=1e-4), name
    (folder / f"{script}-{keras.backend.backend()}.json").write_text(json.dumps(found), encoding="utf-8")


# Several devices --------------------------------------------------------------------------------------------------


def on_devices(*argv):
    """Runs a script on virtual devices; returns its output."""
    if BACKEND == "torch":
        pytest.skip("with torch, Keras trains on one device")
    command = [sys.executable, ROOT / "tests" / "backends" / "virtual_devices.py", *argv]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def assert_same_losses(folder, script, devices, *options, close=1e-5):
    """Compares the first losses on several devices with those on one, for texts that cannot be shared evenly."""
    out = folder / "losses.json"
    said = on_devices("first_losses", script, folder, out, devices, *options)
    assert f"{devices} x CPU" in said
    found = json.loads(out.read_text())
    assert len(found[0]) == len(found[1]) == 20
    for wanted, mine in zip(*found, strict=True):
        for name, value in wanted.items():
            # Without random numbers all samples are alike, and REINFORCE divides by the deviation of their scores.
            relative = 1e-3 if name == "generator_norm" else 20 * close if name.endswith("norm") else close
            # The critic makes more of a difference in the last digit than the other models do.
            least = 5 * close if script == "text_gan" else close
            assert mine[name] == pytest.approx(value, rel=relative, abs=least), name


def test_the_first_losses_on_four_devices_are_those_of_one(script, tmp_path):
    assert_same_losses(tmp_path, script, 4)


def test_options_that_concern_the_whole_batch(script, tmp_path):
    options = {"sentences": "--mmd 1 --free-bits 1", "words": "--optimizer sgd", "text_gan": "--mode diffusion"}
    if script not in options:
        pytest.skip("none")
    assert_same_losses(tmp_path, script, 2, *options[script].split())


def test_float16_on_two_devices(script, tmp_path):
    if script != "chars":
        pytest.skip("one script is enough")
    assert_same_losses(tmp_path, script, 2, "--dtype", "mixed_float16", close=1e-2)


def test_the_judge_of_digits_learns_on_one_device_beside_three(script):
    if script != "transformer_vae":
        pytest.skip("one script is enough")
    assert "3 devices again, 1.0 right" in on_devices("digit_judge", 3)


def test_a_run_of_two_devices_stops_and_moves_to_four(script, trained, texts):
    logdir, straight, _ = trained
    if script not in ("chars", "sentences"):
        pytest.skip("two scripts are enough")
    argv = ["-D", texts, "-T", logdir, "-e", 2, *SIZES.split(), *SCRIPTS[script].split(), "--devices", 2]
    folder = logdir / script
    said = on_devices(script, *argv, "--name", "two")
    assert "2 x CPU" in said and "Warning" not in said
    on_devices(script, *argv, "--name", "moved", "--max-steps", STEPS + 5)
    shutil.copytree(folder / "moved", folder / "again")
    on_devices(script, "--resume", "again", "-T", logdir, "--max-steps", 1000)
    arrays = [storage.load_arrays(folder / name / "last.safetensors")[1] for name in ("two", "again")]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)
    on_devices(script, "--resume", "moved", "-T", logdir, "--devices", 4, "--max-steps", 1000)
    assert_same_history(straight, folder / "two")
    assert_same_history(straight, folder / "moved")


def assert_same_history(*runs):
    histories = [read_history(run / "history.csv") for run in runs]
    for one, other in zip(*histories, strict=True):
        names = one.keys() - {"seconds", "tokens_per_second"}
        if BACKEND == "tensorflow":  # whose devices draw random numbers of their own
            names &= {"val_nats_per_char", "val_nll", "val_neg_elbo"}
        assert names
        for name in names:
            assert float(other[name]) == pytest.approx(float(one[name]), rel=1e-2, abs=1e-2), name


def start_processes(*argv, port):
    """Starts two processes of one training, each with a device of its own."""
    env = os.environ | {"KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}"}
    env |= {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2", "XLA_FLAGS": ""}
    command = [sys.executable, str(ROOT / "chars.py"), *map(str, argv)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [subprocess.Popen(command, env=env | {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)}, **piped) for i in range(2)]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@on_jax
def test_two_processes_train_as_one_and_the_first_writes(script, trained, texts):
    if script != "chars":
        pytest.skip("one script is enough")
    logdir, straight, _ = trained
    # A report samples several texts at once.
    argv = ["-D", texts, "-T", logdir, "-e", 2, *SIZES.split(), *SCRIPTS[script].split(), "-o", 1]
    processes = start_processes(*argv, "--name", "processes", port=free_port())
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "2 x CPU" in said[0] and "test split" in said[0] and "test split" not in said[1]
    assert_same_history(straight, logdir / script / "processes")


@on_jax
def test_when_a_process_dies_the_other_ends_with_a_line(script, trained, texts):
    if script != "chars":
        pytest.skip("one script is enough")
    logdir = trained[0]
    argv = ["-D", texts, "-T", logdir, "-e", 2000, *SIZES.split(), *SCRIPTS[script].split()]
    first, second = start_processes(*argv, "--name", "dies", port=free_port())
    for line in first.stdout:
        if "3/2000" in line:
            break
    second.kill()
    said = first.communicate(timeout=300)[0]
    assert first.returncode == 1 and "Another process of this training has ended" in said
    assert "Traceback" not in said
    history = logdir / script / "dies" / "history.csv"
    done = len(read_history(history))
    # One process is enough to continue.
    run_here(importlib.import_module(script), "--resume", "dies", "-T", logdir, "-e", done + 2)
    assert len(read_history(history)) == done + 2 >= 5
