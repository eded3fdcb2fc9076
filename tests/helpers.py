"""Runs a script as its user does, and makes runs without training, for tests."""

import subprocess
import sys

from scriptorium import ROOT
from scriptorium.training import storage, weights
from scriptorium.training.run import BEST, FORMAT


def run_script(name, *argv, text="", status=0):
    """Runs a script by its file's name and returns the finished process, whose exit status must be `status`."""
    command = [sys.executable, ROOT / name, *map(str, argv)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False)
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
