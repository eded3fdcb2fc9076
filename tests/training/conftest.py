"""Runs of the smallest script that many tests share; they are made once."""

import shutil

from scriptorium.training.history import History

import keras
import pytest
from tiny_runs import go


@pytest.fixture(autouse=True)
def plain_policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run of three epochs that never stopped: (directory, history)."""
    run, history = go(tmp_path_factory.mktemp("straight"), "--name", "straight")
    return run.directory, history


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Draws no history but those of the runs that many tests share: it takes longer than the epoch."""
    monkeypatch.setattr(History, "draw", lambda self: None)


@pytest.fixture(scope="session")
def ended(tmp_path_factory):
    """Returns a function that puts a copy of a run of one or of two epochs into a logdir."""
    made = {}

    def put(logdir, epochs):
        if epochs not in made:
            made[epochs] = go(tmp_path_factory.mktemp("ended"), "-e", str(epochs))[0].directory
        return shutil.copytree(made[epochs], logdir / "tiny" / "ended")

    return put
