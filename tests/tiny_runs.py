"""Trains the smallest script, and compares what two of its runs have left; for tests."""

import csv
import os
import time

from scriptorium import UserError
from scriptorium.training import storage

import keras
import tiny_script
from tiny_script import arguments

STEPS = 18  # steps of an epoch: 70 lines in batches of 4


def go(logdir, *argv, callbacks=()):
    return tiny_script.main(arguments(logdir, *argv), callbacks)


def state(directory):
    return storage.load_arrays(directory / "last.safetensors")


def assert_same_outcome(directory, straight):
    """Every weight, optimizer variable, seed and metric, the best score and the history are the same to the bit."""
    (facts, arrays), (expected_facts, expected) = state(directory), state(straight[0])
    assert facts | {"seconds": 0} == expected_facts | {"seconds": 0}
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert array.tobytes() == arrays[name].tobytes(), name
    assert rows(directory) == rows(straight[0])


def rows(directory):
    with open(directory / "history.csv", newline="") as file:
        table = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")} for row in table]


class At(keras.callbacks.Callback):
    """Calls a function at a step of the process (from 1), or at a batch of its validation."""

    def __init__(self, step, function, validation=False):
        super().__init__()
        self.left, self.function, self.validation, self.tests = step, function, validation, 0

    def count(self):
        self.left -= 1
        if self.left == 0:
            self.function()

    def on_train_batch_end(self, batch, logs=None):
        if not self.validation:
            self.count()

    def on_test_batch_end(self, batch, logs=None):
        self.tests += 1
        if self.validation:
            self.count()


def send(number):
    return lambda: os.kill(os.getpid(), number)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, UserError):
            pass
        time.sleep(0.02)
    raise AssertionError("It did not happen in time.")
