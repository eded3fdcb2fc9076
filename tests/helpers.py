"""Runs scripts as users do, in processes of their own or in this one, and makes runs without training, for tests."""

import contextlib
import io
import random
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

from scriptorium import ROOT
from scriptorium.command_line import command
from scriptorium.training import storage, weights
from scriptorium.training.finding import BEST, FORMAT

import keras
import numpy as np


def run_script(name, *argv, text="", status=0):
    """Runs a script by its file's name and returns the finished process, whose exit status must be `status`."""
    argv = [sys.executable, ROOT / name, *map(str, argv)]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stderr
    return done


def run_here(module, *argv, text="", status=0):
    """Does the same in this process, which has TensorFlow already, by the script's module; leaves no global state."""
    done = SimpleNamespace(returncode=0)
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for name in ("stdin", "stdout", "stderr")}
    streams["stdin"].write(text)
    streams["stdin"].seek(0)
    states = random.getstate(), np.random.get_state()
    try:
        with contextlib.ExitStack() as replaced:
            for name, stream in streams.items():
                replaced.enter_context(mock.patch.object(sys, name, stream))
            replaced.enter_context(mock.patch.object(sys, "argv", [f"{module.__name__}.py", *map(str, argv)]))
            command(module.main, module.parse_args)
    except SystemExit as stopped:
        done.returncode = stopped.code or 0
    finally:
        keras.config.set_dtype_policy("float32")
        random.setstate(states[0])
        np.random.set_state(states[1])
    for name in ("stdout", "stderr"):
        streams[name].seek(0)
        setattr(done, name, streams[name].read())
    assert done.returncode == status, done.stderr
    return done


def write_run(directory, script, options, vocabulary, corpus, model=None):
    """Writes the directory of a run that has trained; without a model it has no weights yet."""
    directory.mkdir(parents=True)
    config = {"format": FORMAT, "script": script, "options": options, "seed": 1, "dtype": "float32", "corpus": corpus}
    storage.write_json(directory / "config.json", config)
    storage.write_json(directory / "vocab.json", vocabulary.to_json())
    if model is not None:
        write_weights(directory, model)


def write_weights(directory, model):
    """Gives a run the weights of a model."""
    storage.save_arrays(directory / BEST, {}, weights.values(weights.weights_of(model)))


def entries_of(tools):
    """Returns entries of the page of demo.py for tools that are open, a dict of id -> `demo.Entry`."""
    import demo

    entries = {}
    for key, tool in tools.items():
        run = tool.run
        about = SimpleNamespace(
            script=run.script, name=run.name, corpus=run.config["corpus"]["name"], is_packed=run.is_packed, test={},
            main_validation={}, score={}.get,
        )  # fmt: skip
        entries[key] = demo.Entry(key, about)
        entries[key].tool = tool
    return entries


def drawn_digits(n=300, side=28, seed=0):
    """Returns pictures of three kinds, a bar down, a bar across and a square with a hole, and their kinds."""
    random, pictures, labels = np.random.default_rng(seed), np.zeros((n, side, side), "uint8"), []
    for i in range(n):
        kind, (place, other) = i % 3, random.integers(8, side - 12, 2)
        first, bright = random.integers(1, 6), random.integers(128, 256)
        if kind == 0:
            pictures[i, first:-4, place : place + 4] = bright
        elif kind == 1:
            pictures[i, place : place + 4, first:-4] = bright
        else:
            pictures[i, first:-4, 4:-4] = bright
            pictures[i, other : other + 6, place : place + 6] = 0
        labels.append(kind)
    return pictures, np.array(labels)
