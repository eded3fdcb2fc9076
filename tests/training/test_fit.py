import builtins
import csv
import errno
import functools
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from scriptorium import ROOT, UserError
from scriptorium.command_line import command
from scriptorium.data.batches import Batches, Sequences
from scriptorium.data.vocabulary import SPECIAL_TOKENS
from scriptorium.training import storage
from scriptorium.training.console import Console
from scriptorium.training.fit import DRY_RUN_BATCHES, fit
from scriptorium.training.history import History
from scriptorium.training.opening import open_run
from scriptorium.training.tensorboard import Board

import keras
import numpy as np
import pytest
import tiny_script
from tiny_script import arguments

STEPS = 18  # steps of an epoch: 70 lines in batches of 4


@pytest.fixture(autouse=True)
def plain_policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of three epochs that never stopped: (directory, history)."""
    run, history = go(tmp_path_factory.mktemp("straight"), "--name", "straight")
    return run.directory, history


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Draws no history but those of the runs that many tests share: it takes longer than the epoch."""
    monkeypatch.setattr(History, "draw", lambda self: None)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Returns a function that puts a copy of a run of one or of two epochs into a logdir."""
    made = {}

    def put(logdir, epochs):
        if epochs not in made:
            made[epochs] = go(tmp_path_factory.mktemp("ended"), "-e", str(epochs))[0].directory
        return shutil.copytree(made[epochs], logdir / "tiny" / "ended")

    return put


def go(logdir, *argv, callbacks=()):
    return tiny_script.main(arguments(logdir, *argv), callbacks)


def state(directory):
    return storage.load_arrays(directory / "last.safetensors")


def assert_same_outcome(directory, straight):
    """Every weight, optimizer variable, seed and metric, the best score and the history are the same to the bit."""
    (facts, arrays), (expected_facts, expected) = state(directory), state(straight[0])
    assert facts == expected_facts
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


# Stopping and going on --------------------------------------------------------------------------------------------


def test_the_checkpoint_holds_every_kind_of_state(straight):
    facts, arrays = state(straight[0])
    assert facts["epoch"] == 3 and facts["step"] == 0 and facts["steps"] == 3 * STEPS
    # Of the model, of Dropout and of Noise, in a list.
    seeds = {"model/seed", "model/dropout/seed_generator", "model/noise/seeds/0"}
    assert {name for name in arrays if name.startswith("model/") and arrays[name].shape == (2,)} == seeds
    assert int(arrays["optimizer/iteration"]) == 3 * STEPS
    assert {"optimizer/momentum/embedding/embeddings", "optimizer/velocity/logits/bias"} <= arrays.keys()
    assert {"metric/perplexity/total", "metric/perplexity/tokens"} <= arrays.keys()


def test_two_equal_runs_are_equal(tmp_path, straight):
    assert_same_outcome(go(tmp_path)[0].directory, straight)


@pytest.mark.parametrize("steps", [5, STEPS - 1, STEPS, STEPS + 3])
def test_resume_equals_no_stop(tmp_path, straight, steps):
    run, _ = go(tmp_path, "--max-steps", str(steps))
    assert state(run.directory)[0]["steps"] == steps
    run, _ = go(tmp_path, "--resume", "--max-steps", "1000")
    assert_same_outcome(run.directory, straight)


def test_a_run_that_has_ended_says_so(tmp_path, ended, capsys):
    ended(tmp_path, 1)
    capsys.readouterr()
    _, history = go(tmp_path, "--resume")
    assert history["epoch"] == [1] and "Training is complete (1 epochs, 18 steps)" in capsys.readouterr().out


def test_resume_after_resume_in_one_epoch(tmp_path, straight):
    go(tmp_path, "--max-steps", "4")
    go(tmp_path, "--resume", "--max-steps", "9")
    run, history = go(tmp_path, "--resume", "--max-steps", "1000")
    assert_same_outcome(run.directory, straight)
    assert history["val_neg_elbo"] == straight[1]["val_neg_elbo"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_position_without_a_validation(tmp_path, straight, capsys, number, status):
    handler, stop = signal.getsignal(number), At(STEPS + 7, send(number))
    with pytest.raises(SystemExit) as stopped:
        go(tmp_path, "--name", "mine", callbacks=[stop])
    assert stopped.value.code == status
    assert stop.tests == 3  # batches of the one validation of the first epoch
    assert signal.getsignal(number) is handler
    assert "python tiny.py --resume mine" in capsys.readouterr().out
    facts = state(tmp_path / "tiny" / "mine")[0]
    assert (facts["epoch"], facts["step"]) == (1, 7)
    assert_same_outcome(go(tmp_path, "--resume", "mine")[0].directory, straight)


def test_a_signal_in_the_validation_keeps_the_epoch(tmp_path, straight):
    with pytest.raises(SystemExit):
        go(tmp_path, "--name", "mine", callbacks=[At(5, send(signal.SIGINT), validation=True)])
    facts = state(tmp_path / "tiny" / "mine")[0]
    assert (facts["epoch"], facts["step"]) == (1, STEPS)
    assert_same_outcome(go(tmp_path, "--resume", "mine")[0].directory, straight)


def test_a_resumed_validation_reports_what_its_epoch_does(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(tiny_script.Tiny, "begin_epoch", lambda self, epoch: begun.append(epoch), raising=False)
    monkeypatch.setattr(tiny_script.Tiny, "reported", lambda self: ("neg_elbo",), raising=False)
    with pytest.raises(SystemExit):
        go(tmp_path, "--name", "mine", callbacks=[At(5, send(signal.SIGINT), validation=True)])
    begun.clear()
    run = go(tmp_path, "--resume", "mine")[0]
    assert begun[0] == 1
    with open(run.directory / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["perplexity"]) for row in rows[:3]] == [True, False, True]
    assert all(row["neg_elbo"] and row["val_perplexity"] for row in rows)


def test_a_second_signal_stops_at_once(tmp_path):
    def twice():
        send(signal.SIGINT)()
        send(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, "--name", "mine", callbacks=[At(3, twice)])
    assert not (tmp_path / "tiny" / "mine" / "last.safetensors").exists()


def test_a_killed_process_goes_on(tmp_path, straight):
    options = ["-T", str(tmp_path), "--name", "killed", "--dtype", "float32"]
    command = [sys.executable, tiny_script.__file__, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # It saves after each step, so that the kill finds it in the middle of a save as like as not.
    process = subprocess.Popen([*command, "--save-minutes", "0", "-e", "100000"], env=environment)
    last = tmp_path / "tiny" / "killed" / "last.safetensors"
    try:
        wait_for(lambda: last.exists() and state(last.parent)[0]["steps"] >= 5)
    finally:
        process.kill()
        process.wait()
    steps = state(last.parent)[0]["steps"]
    assert steps < 3 * STEPS, "the machine was too slow to kill it in time"
    run, _ = go(tmp_path, "--resume", "killed", "-e", "3")
    assert_same_outcome(run.directory, straight)
    assert not list(run.directory.glob(f"{storage.TEMPORARY}*"))


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


# What Keras does whenever its `fit` begins or ends, which is at every epoch ----------------------------------------


def fit_with_averages(logdir, *argv, callbacks=(), momentum=0.9):
    """Trains with averaged weights; returns the run, which is closed."""
    args = arguments(logdir, *argv)
    run, train, valid = tiny_script.start(args)
    optimizer = keras.optimizers.Adam(args.learning_rate, use_ema=True, ema_momentum=momentum)
    run.model.compile(optimizer, jit_compile=keras.backend.backend() == "jax")
    fit(run, run.model, train, valid, epochs=args.epochs, max_steps=args.max_steps, callbacks=callbacks)
    run.close()
    return run


def test_averages_of_the_weights_leave_the_weights_alone(tmp_path, ended):
    values = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            values.append(self.model.trainable_variables[0].numpy())

    run = fit_with_averages(tmp_path, "-e", "2", callbacks=[Record()])
    average = values[0]
    for value in values[1:]:
        average = np.float32(0.9) * average + (1 - np.float32(0.9)) * value
    optimizer = run.model.optimizer
    np.testing.assert_allclose(optimizer._model_variables_moving_average[0].numpy(), average, rtol=1e-4, atol=1e-6)
    # Without averages, training is the same to the bit.
    plain = state(ended(tmp_path, 2))[1]
    for name, array in state(run.directory)[1].items():
        assert name not in plain or array.tobytes() == plain[name].tobytes(), name
    # A run that is cut between two epochs, too.
    fit_with_averages(tmp_path, "-e", "2", "--name", "cut", "--max-steps", str(STEPS))
    cut = fit_with_averages(tmp_path, "--resume", "cut", "--max-steps", "1000")
    assert_same_outcome(cut.directory, (run.directory,))


def test_a_callback_that_stops_training_stops_it_between_epochs(tmp_path):
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", True))
    _, history = go(tmp_path, callbacks=[stop])
    assert history["epoch"] == [1]


def test_limits_in_the_settings_of_keras_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "max_epochs", lambda: 1)
    assert go(tmp_path)[1]["epoch"] == [1]


# What goes wrong --------------------------------------------------------------------------------------------------


def damage_byte(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_byte, truncate, empty])
def test_a_damaged_save_falls_back_to_the_one_before(tmp_path, straight, ended, capsys, damage):
    damage(ended(tmp_path, 2) / "last.safetensors")
    capsys.readouterr()
    run, _ = go(tmp_path, "--resume", "-e", "3")
    said = [line for line in capsys.readouterr().out.splitlines() if "is damaged" in line]
    assert len(said) == 1 and "continuing from the save before it, in epoch 2 after step 0" in said[0]
    assert_same_outcome(run.directory, straight)


def test_when_all_saves_are_damaged_it_says_so(tmp_path, ended):
    directory = ended(tmp_path, 2)
    truncate(directory / "last.safetensors")
    damage_byte(directory / "previous.safetensors")
    with pytest.raises(UserError, match=r"last\.safetensors is damaged.*previous\.safetensors is damaged"):
        go(tmp_path, "--resume")


def test_the_best_weights_survive_and_damage_is_named(tmp_path):
    run, _ = go(tmp_path, "-e", "1")
    expected = run.model.get_weights()
    run.model.set_weights([np.zeros_like(w) for w in expected])
    run.load_best(run.model)
    for weight, value in zip(run.model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, value)
    truncate(run.directory / "best.safetensors")
    with pytest.raises(UserError, match=r"best\.safetensors is damaged"):
        run.load_best(run.model)
    (run.directory / "best.safetensors").unlink()
    run.model.set_weights([np.zeros_like(w) for w in expected])
    run.load_best(run.model)  # from last.safetensors
    np.testing.assert_array_equal(run.model.get_weights()[0], expected[0])
    for name in ("last.safetensors", "previous.safetensors"):
        (run.directory / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="no weights yet"):
        run.load_best(run.model)


def test_a_loss_that_is_not_finite_stops_training(tmp_path):
    def spoil():
        stop.model.logits.bias.assign(np.full(stop.model.logits.bias.shape, np.nan))

    stop = At(STEPS + 4, spoil)
    with pytest.raises(UserError, match=f"Step {STEPS + 5}: the loss is not finite.*--learning-rate") as error:
        go(tmp_path, "--name", "mine", callbacks=[stop])
    assert "--resume mine" in str(error.value)
    facts, arrays = state(tmp_path / "tiny" / "mine")
    assert facts["steps"] == STEPS
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    def spoil():
        stop.model.logits.bias.assign(np.full(stop.model.logits.bias.shape, np.nan))

    stop = At(2, spoil)
    with pytest.raises(UserError, match=r"Step 2: a weight is not finite.*--resume mine"):
        go(tmp_path, "--name", "mine", "--save-minutes", "0", callbacks=[stop])
    assert state(tmp_path / "tiny" / "mine")[0]["steps"] == 1


def full_disk(monkeypatch):
    def fsync(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_stops_training_and_the_last_save_stands(tmp_path, monkeypatch, capsys):
    def main(args):
        tiny_script.main(args, [At(STEPS + 5, lambda: full_disk(monkeypatch))])

    with pytest.raises(SystemExit) as stopped:
        command(main, lambda: arguments(tmp_path, "--name", "mine"))
    assert stopped.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "No space left on device" in error[0] and "--resume mine" in error[0]
    directory = tmp_path / "tiny" / "mine"
    assert state(directory)[0]["steps"] == STEPS
    assert not list(directory.glob(f"{storage.TEMPORARY}*"))


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path, monkeypatch):
    full_disk(monkeypatch)
    with pytest.raises(OSError, match="No space"):
        tiny_script.start(arguments(tmp_path, "--name", "mine"))
    assert list((tmp_path / "tiny").iterdir()) == []


class CountedFile:
    """A file whose first write and whose flushes call a function first."""

    def __init__(self, file, count):
        self.file, self.count, self.written = file, count, False

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        if not self.written:
            self.count()
        self.written = True
        return self.file.write(data)

    def flush(self):
        self.count()
        self.file.flush()


class Disk:
    """Counts what is done to the files in a folder, and fails at all of it from the n-th time on, as a full disk does.

    Opening, the first write, flushing, renaming and fsync count.
    """

    def __init__(self, monkeypatch, folder, full_at):
        self.folder, self.full_at, self.done = str(folder), full_at, 0
        for module, name in ((builtins, "open"), (io, "open"), (os, "fsync"), (os, "replace")):
            monkeypatch.setattr(module, name, getattr(self, name)(getattr(module, name)))

    def count(self):
        self.done += 1
        if self.done >= self.full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, real):
        def opened(path, mode="r", *args, **kwargs):
            written = str(path).startswith(self.folder) and not {"w", "a", "x", "+"}.isdisjoint(mode)
            if not written:
                return real(path, mode, *args, **kwargs)
            self.count()
            return CountedFile(real(path, mode, *args, **kwargs), self.count)

        return opened

    def fsync(self, real):
        return lambda file: (self.count(), real(file))[1]

    def replace(self, real):
        return lambda *paths: (self.count(), real(*paths))[1]


def test_a_disk_that_is_full_from_any_write_on_costs_no_checkpoint(tmp_path, capsys, monkeypatch):
    model = tiny_script.Tiny(34, 8)

    def epoch(feed, callbacks, **settings):
        callbacks.on_epoch_begin(settings["initial_epoch"])
        callbacks.on_train_batch_end(0, {"loss": 1.0})
        callbacks.on_test_begin()
        callbacks.on_epoch_end(settings["initial_epoch"], {"neg_elbo": 1.0, "val_neg_elbo": 1.0})

    def main(args):
        run, train, valid = tiny_script.start(args)
        with run:
            run.projector(np.zeros((2, 2)), ["a", "b"])
            samples = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: run.log_texts("samples", ["a"], 1))
            fit(run, model, train, valid, epochs=2, callbacks=[samples])
            run.save_scores("scores", {"nll": 1.0}, 1.0)

    monkeypatch.setattr(tiny_script, "Tiny", lambda *sizes: model)
    monkeypatch.setattr(model, "fit", epoch)
    ends = []
    for full_at in itertools.count(1, 3):  # every third, which hits each kind of file
        directory = tmp_path / str(full_at) / "tiny" / "mine"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, tmp_path, full_at)
            try:
                argv = [tmp_path / str(full_at), "--name", "mine", "-b", "70"]
                command(main, functools.partial(arguments, *argv))
                ends.append(0)
            except SystemExit as stopped:
                ends.append(stopped.code)
        said = capsys.readouterr()
        assert said.err.count("\n") == (ends[-1] != 0) and "Traceback" not in said.out
        names = {path.name for path in directory.rglob("*")}
        assert not any(name.startswith(storage.TEMPORARY) for name in names)
        for name in names:
            if name.endswith(".safetensors"):
                storage.load_arrays(directory / name)
            elif name.endswith(".json"):
                storage.read_json(directory / name)
        saved = {"last.safetensors", "previous.safetensors"} & names
        assert bool(saved) == ("the last save is intact" in said.err) or ends[-1] == 0 or "eval.json" in said.err
        assert saved or not names or "nothing had been saved" in said.err
        if disk.done < full_at:
            break
    assert ends == sorted(ends, reverse=True) and ends.count(2) > 25 and ends[-1] == 0


def test_history_and_pictures_never_break_training(tmp_path, monkeypatch, capsys):
    def fail(self):
        raise ValueError("no fonts")

    monkeypatch.setattr("scriptorium.training.history.History.draw", fail)
    go(tmp_path, "-e", "2")
    assert capsys.readouterr().out.count("The history could not be written: no fonts") == 1


def test_a_history_that_cannot_be_read_is_written_anew(tmp_path, ended):
    directory = ended(tmp_path, 1)
    for content in (b"\xff\x00", b"epoch\nx\n", b""):
        (directory / "history.csv").write_bytes(content)
        assert History(directory, 1).rows == []
    go(tmp_path, "--resume", "-e", "2")
    assert [row["epoch"] for row in rows(directory)] == ["2"]


def test_a_second_process_is_refused(tmp_path):
    args = arguments(tmp_path, "--name", "mine", "--max-steps", "2")
    run, _, _ = tiny_script.start(args)
    with pytest.raises(UserError, match="Another process is training"):
        tiny_script.start(arguments(tmp_path, "--resume", "mine"))
    run.close()
    again, _, _ = tiny_script.start(arguments(tmp_path, "--resume", "mine"))
    again.close()


def test_no_epochs_at_all_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        arguments(tmp_path, "-e", "0")
    assert stopped.value.code == 2 and "0 is not at least 1" in capsys.readouterr().err


def test_nothing_to_train_on(tmp_path):
    run, train, valid = tiny_script.start(arguments(tmp_path))
    none = Batches(Sequences.from_list([]), 4)
    with pytest.raises(UserError, match="no text to validate on"):
        fit(run, run.model, train, none, epochs=1)
    with pytest.raises(UserError, match="no text to train on"):
        fit(run, run.model, none, valid, epochs=1)
    run.close()


# Data -------------------------------------------------------------------------------------------------------------


class Given:
    """A dataset of given batches, in reverse in every second epoch."""

    def __init__(self, items):
        self.items, self.total, self.epoch, self.first = items, len(items), 0, 0

    def go_to(self, epoch, first=0):
        self.epoch, self.first = epoch, first

    def order(self, epoch):
        return self.items[:: -1 if epoch % 2 else 1]

    def __len__(self):
        return self.total - self.first

    def __getitem__(self, index):
        return (self.order(self.epoch)[self.first + index],)

    def num_tokens(self, index):
        return int((self[index][0] != 0).sum())


@pytest.mark.parametrize("widths", [[3, 3, 5, 2, 7], [4, 4, 4], [6]])
def test_each_batch_is_served_once_in_its_order(tmp_path, widths):
    run, _, valid = tiny_script.start(arguments(tmp_path))
    seen, random = [], np.random.default_rng(0)
    compute_loss = run.model.compute_loss

    def watched(x, y, y_pred, sample_weight=None, training=True):
        if training:
            seen.append(np.array(x))
        return compute_loss(x, y, y_pred, sample_weight, training)

    run.model.compute_loss = watched
    run.model.compile("adam", run_eagerly=True)
    data = Given([random.integers(4, 30, (2, width)).astype("int32") for width in widths])
    fit(run, run.model, data, valid, epochs=2)
    run.close()
    expected = data.order(0) + data.order(1)
    assert [x.tolist() for x in seen] == [x.tolist() for x in expected]
    assert int(run.model.optimizer.iterations.value) == len(expected)


def test_batches_of_new_widths_do_not_stop_a_compiled_model(tmp_path):
    run, _, valid = tiny_script.start(arguments(tmp_path))
    data = Given([np.full((2, width), 5, "int32") for width in (3, 3, 9, 1)])
    traces, compute_loss = [], run.model.compute_loss

    def traced(x, *rest, **more):
        traces.append(x.shape)
        return compute_loss(x, *rest, **more)

    run.model.compute_loss = traced
    after_epoch = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: after_epoch.append(len(traces)))
    fit(run, run.model, data, valid, epochs=3, callbacks=[count])
    run.close()
    if keras.backend.backend() == "tensorflow":
        assert after_epoch[0] == 2  # once for training, once for validation
    if keras.backend.backend() != "torch":
        assert after_epoch[2] == after_epoch[0]


# What a run shows -------------------------------------------------------------------------------------------------


def test_the_files_of_a_run(straight):
    directory, history = straight
    config = json.loads((directory / "config.json").read_text())
    assert config["script"] == "tiny" and config["options"]["units"] == 8 and config["options"]["epochs"] == 3
    assert config["corpus"]["fingerprint"] == "70-0" and config["dtype"] == "float32" and config["parameters"] > 0
    vocabulary = json.loads((directory / "vocab.json").read_text())
    assert vocabulary["special"] == list(SPECIAL_TOKENS) and not set(SPECIAL_TOKENS) & set(vocabulary["tokens"])
    assert (directory / "history.png").read_bytes().startswith(b"\x89PNG")
    assert [row["epoch"] for row in rows(directory)] == ["1", "2", "3"]
    assert [row["step"] for row in rows(directory)] == ["18", "36", "54"]
    assert history["val_neg_elbo"][2] < history["val_neg_elbo"][0]
    assert set(history) >= {"neg_elbo", "perplexity", "kl_weight", "learning_rate", "tokens_per_second", "seconds"}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX returns before a step has been computed")
def test_the_speed_counts_steps_that_are_done(tmp_path, monkeypatch):
    ready, clock, model = [], time.monotonic, []

    def watched():
        if sys._getframe(1).f_code.co_name == "on_train_batch_end" and model:
            ready.append(all(leaf.is_ready() for leaf in keras.tree.flatten(model[0]._jax_state)))
        return clock()

    monkeypatch.setattr("time.monotonic", watched)
    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: model.append(begin.model))
    go(tmp_path, "-e", "1", "-L", "512", callbacks=[begin])
    assert len(ready) >= STEPS and all(ready)


def test_the_best_epoch_is_kept(tmp_path):
    class Worse(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.best = self.model.get_weights()
                self.model.logits.bias.assign(np.linspace(-20, 20, self.model.logits.bias.shape[0]))

    worse = Worse()
    run, history = go(tmp_path, "-e", "2", callbacks=[worse])
    assert history["val_neg_elbo"][1] > history["val_neg_elbo"][0]
    run.load_best(run.model)
    for weight, value in zip(run.model.get_weights(), worse.best, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert state(run.directory)[0]["best"][1] == 1


def test_the_best_weights_of_part_of_an_epoch_are_gone_when_training_continues(tmp_path):
    """Validation within an epoch may be better than any at an end; a run that never stopped has not seen it."""

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() >= STEPS + 10:
                self.model.logits.bias.assign(np.linspace(-20, 20, self.model.logits.bias.shape[0]))

    straight, _ = go(tmp_path, "-e", "2", callbacks=[Spoil()])
    first, _ = go(tmp_path, "-e", "2", "--name", "stopped", "--max-steps", str(STEPS + 5), callbacks=[Spoil()])
    parts = [storage.load_arrays(run.directory / "best.safetensors")[1] for run in (straight, first)]
    assert any(not np.array_equal(parts[0][name], parts[1][name]) for name in parts[0])
    run, _ = go(tmp_path, "--resume", "stopped", "--max-steps", "1000", callbacks=[Spoil()])
    assert_same_outcome(run.directory, (straight.directory,))
    for name, array in storage.load_arrays(run.directory / "best.safetensors")[1].items():
        np.testing.assert_array_equal(array, parts[0][name])
    assert not (run.directory / "best-of-epochs.safetensors").exists()


def test_banner_and_epoch_lines(tmp_path, capsys):
    go(tmp_path, "--name", "mine", "-e", "2")
    said = capsys.readouterr().out
    assert "\r" not in said
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == ["corpus", "model", "device", "run", "epoch", "epoch"]
    assert "float32: as requested" in lines[2] and "seed 1" in lines[3]
    for word in ("1/2", "neg_elbo", "perplexity", "kl_weight", "tokens/s", "left"):
        assert word in lines[4]


def test_samples_are_kept(tmp_path, capsys):
    run, _, _ = tiny_script.start(arguments(tmp_path))
    run.log_texts("samples", ["one two", "三"], 1, temperature=0.5)
    run.log_texts("samples", ["four"], 2)
    run.close()
    kept = (run.directory / "samples.txt").read_text(encoding="utf-8")
    assert kept == "[epoch 1] samples (temperature 0.5)\none two\n三\n\n[epoch 2] samples\nfour\n\n"
    assert "    one two" in capsys.readouterr().out


def test_a_dry_run_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    run, history = go(tmp_path / "runs", "--dry-run")
    assert history["step"] == [DRY_RUN_BATCHES]
    assert not run.directory.exists() and not (tmp_path / "runs").exists()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert "nothing is kept" in capsys.readouterr().out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


HEADERS = {"Content-Type": "application/json"}
STATUSES = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]


def test_a_tensorboard_server_shows_it_all(tmp_path):
    run, train, valid = tiny_script.start(arguments(tmp_path, "--name", "board", "--max-steps", "20"))
    codes = np.random.default_rng(0).normal(size=(5, 3))
    run.projector(codes, ["a\tb", "c", "", "三", "e"])
    fit(run, run.model, train, valid, epochs=3, max_steps=20)
    run.log_texts("samples", ["one <b>two</b>"], 1)
    run.histogram("z_mean", codes, 1)
    run.bars("kl_per_dimension", [0.1, 2.0, 0.3], 1)
    run.close()
    # A run of another script, which is still training.
    other = Board(tmp_path / "other" / "stopped", Console())
    (tmp_path / "other" / "stopped").mkdir(parents=True)
    other.row({"script": "other", "width": 3})
    # After resuming, what the interrupted epoch had logged is not there twice.
    go(tmp_path, "--resume", "board", "-e", "2", "--max-steps", "1000")
    scored = open_run("tiny", arguments(tmp_path, "--eval", "board"))
    scored.save_scores("test split", {"neg_elbo": 3.0, "exact_match": 0.5, "note": "a|b"}, 1)
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", str(port)]
    log = open(tmp_path / "server.log", "w")  # noqa: SIM115 (the server writes to it until the end)
    server = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=log, stderr=log)

    def ask(path, body=None):
        body = body and json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/data/{path}", body, HEADERS if body else {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    train_run, valid_run, test_run = (f"tiny/board/{split}" for split in ("train", "validation", "test"))
    try:
        wait_for(lambda: set(ask("runs")) == {train_run, valid_run, test_run, "other/stopped/test"})
        wait_for(lambda: "neg_elbo" in ask("plugin/scalars/tags").get(valid_run, {}))
        wait_for(lambda: set(ask("plugin/scalars/tags").get(test_run, {})) == {"neg_elbo"})
        tags = ask("plugin/scalars/tags")
        assert {"neg_elbo", "perplexity", "kl_weight", "learning_rate", "tokens_per_second"} <= set(tags[train_run])
        assert {"neg_elbo", "perplexity"} <= set(tags[valid_run]) and "kl_weight" not in tags[valid_run]
        points = ask(f"plugin/scalars/scalars?run={valid_run}&tag=neg_elbo")
        assert [step for _, step, _ in points] == [1, 2]
        assert sorted(ask("plugin/text/tags")[train_run]) == ["run", "samples"]
        assert ask("plugin/text/tags")[test_run] == ["test"]
        about, tested = (
            json.dumps(ask(f"plugin/text/text?run={run}&tag={tag}"))
            for run, tag in ((train_run, "run"), (test_run, "test"))
        )
        assert "max_steps" in about and "1000 (default: None)" in about and "batch_size" not in about
        assert "exact_match" in tested and "0.5" in tested and "a|b" in tested
        experiment = ask("plugin/hparams/experiment", {"experimentName": "", "hparamsLimit": 0, "includeMetrics": True})
        columns = {column["name"] for column in experiment["hparamInfos"]}
        assert columns == {
            "script", "corpus", "units", "batch_size", "learning_rate", "epochs", "seed", "max_steps", "dtype", "width"
        }  # fmt: skip
        assert [metric["name"]["tag"] for metric in experiment["metricInfos"]] == ["neg_elbo"]
        wanted = {"allowedStatuses": STATUSES, "startIndex": 0, "sliceSize": 9, "colParams": []}
        rows = ask("plugin/hparams/session_groups", {"experimentName": "", **wanted})["sessionGroups"]
        rows = {row["hparams"]["script"]: row for row in rows}
        assert set(rows) == {"tiny", "other"} and rows["tiny"]["hparams"]["max_steps"] == 1000
        assert "metricValues" not in rows["other"] or rows["other"]["metricValues"] == []
        assert "one &lt;b&gt;two" in json.dumps(ask(f"plugin/text/text?run={train_run}&tag=samples"))
        assert list(ask("plugin/images/tags")[train_run]) == ["kl_per_dimension"]
        assert list(ask("plugin/histograms/tags")[train_run]) == ["z_mean"]
        embedding = ask(f"plugin/projector/info?run={train_run}")["embeddings"][0]
        assert embedding["tensorShape"] == [5, 3]
        address = f"http://127.0.0.1:{port}/data/plugin/projector/metadata?run={train_run}&name=z_mean"
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.read().decode().split("\n")[:4] == ["a b", "c", "-", "三"]
    finally:
        server.kill()
        server.wait()
        log.close()


def events_of(run, split):
    """Returns the events in the TensorBoard logs of a run."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        event for path in sorted((run.directory / split).glob("events*")) for event in EventFileLoader(str(path)).Load()
    ]


def test_a_run_has_one_row_in_the_table_of_runs(tmp_path):
    """From its start on; a later score of it replaces the row."""
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine", "-L", "4"))
    tags = [value.tag for event in events_of(run, "test") for value in event.summary.value]
    assert tags == ["_hparams_/session_start_info"]
    run.close()
    for score in (3.0, 2.0):
        used = open_run("tiny", arguments(tmp_path, "--eval", "mine"))
        used.save_scores("test split", {"perplexity": score, "bleu_4": 0.1}, 1)
        used.close()
        assert used.board is None
        values = [value for event in events_of(run, "test") for value in event.summary.value]
        tags = [value.tag for value in values]
        assert tags == ["_hparams_/session_start_info", "perplexity", "test", "_hparams_/session_end_info"]
        assert values[1].tensor.float_val == [score] or values[1].simple_value == score
    assert used.changed == {"units": (4, 8), "dtype": ("float32", "auto")}
    # Scores of a bundled run leave it as it is.
    used.config["packed"] = True
    used.log_scores({"perplexity": 1.0})
    assert [value.tag for event in events_of(run, "test") for value in event.summary.value] == tags


def test_bars_name_their_axes(tmp_path, monkeypatch):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--dry-run"))
    drawn = []
    monkeypatch.setattr(run.board, "figure", lambda split, tag, figure, step: drawn.append(figure.axes[0]))
    for tag in ("kl_per_position", "variance_per_dimension"):
        run.bars(tag, [1.0, 2.0], 1)
    run.close()
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in drawn] == [
        ("position", "KL (nats)"), ("dimension", "variance")
    ]  # fmt: skip


# The command line -------------------------------------------------------------------------------------------------


def test_errors_are_one_line(capsys, monkeypatch):
    def main(args):
        raise UserError("first\nsecond")

    monkeypatch.setattr(sys, "argv", ["/somewhere/tiny.py"])
    with pytest.raises(SystemExit) as stopped:
        command(main, lambda: None)
    assert stopped.value.code == 2 and capsys.readouterr().err == "tiny.py: error: first second\n"


def test_the_console_holds_only_our_lines(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, str(Path(tiny_script.__file__)), "-T", str(tmp_path), "-e", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 5
