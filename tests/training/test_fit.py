import csv
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

from scriptorium import ROOT
from scriptorium.training import storage
from scriptorium.training.console import Console
from scriptorium.training.fit import advise_smaller_batches, fit, keras_feed, suit_batch_size

import keras
import numpy as np
import pytest
import tiny_script
from tiny_runs import STEPS, At, assert_same_outcome, go, send, state, wait_for
from tiny_script import arguments

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


def test_the_seconds_of_an_epoch_are_those_of_all_its_parts(tmp_path):
    stop = At(7, lambda: time.sleep(3) or send(signal.SIGINT)())
    with pytest.raises(SystemExit):
        go(tmp_path, "--name", "mine", "-e", "2", callbacks=[stop])
    _, history = go(tmp_path, "--resume", "mine")
    assert history["seconds"][0] >= 3 > history["seconds"][1]


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


@pytest.mark.parametrize(
    ("rows", "given", "size"),
    [(1_217, (), 8), (3_000, (), 16), (6_400, (), 64), (10, (), 8), (10, ("batch_size",), 64)],
)
def test_a_small_text_gets_small_batches_unless_they_are_given(rows, given, size):
    run = SimpleNamespace(
        is_new=True, dry_run=False, devices=1, options={"batch_size": 64}, changed={}, config={"changed": {}}
    )
    args = SimpleNamespace(batch_size=64, epochs=10, max_steps=None, given=given)
    said = suit_batch_size(run, args, rows)
    assert args.batch_size == run.options["batch_size"] == size
    assert run.changed == ({} if size == 64 else {"batch_size": (size, 64)})
    assert said == ("" if size == 64 else f"; small, so -b {size} instead of 64")


@pytest.mark.parametrize(
    ("steps", "batch_size", "said"),
    [(190, 64, "(-b 8)"), (600, 64, "(-b 32)"), (30, 64, "(-b 4)"), (90, 4, "more text")],
)
def test_few_steps_are_told_with_what_helps(capsys, steps, batch_size, said):
    advise_smaller_batches(Console(), steps, batch_size)
    printed = capsys.readouterr().out
    assert f"only {steps} training steps" in printed and said in printed
    advise_smaller_batches(Console(), 1000, batch_size)
    assert capsys.readouterr().out == ""


def test_limits_in_the_settings_of_keras_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "max_epochs", lambda: 1)
    assert go(tmp_path)[1]["epoch"] == [1]


# Data -------------------------------------------------------------------------------------------------------------


class Given:
    """A dataset of given batches, in reverse in every second epoch."""

    batch_size = 2

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


# What Keras gets to read --------------------------------------------------------------------------------------------


class Rows:
    """Batches of several widths."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"ids": np.full((2, 4 - index), index, "int32")}, np.full(2, index, "float32")


@pytest.mark.parametrize(("limit", "total"), [(None, 3), (2, 2), (9, 3)])
def test_keras_gets_all_batches_in_order(limit, total):
    feed = keras_feed(Rows(), limit)
    assert len(feed) == total
    read = list(feed) if keras.backend.backend() == "tensorflow" else [feed[i] for i in range(total)]
    for index, (x, y) in enumerate(read):
        np.testing.assert_array_equal(x["ids"], np.full((2, 4 - index), index))
        np.testing.assert_array_equal(y, [index, index])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has such a thread")
def test_no_thread_tunes_the_pipeline():
    """It could sleep for a minute after each epoch, and training with it."""
    assert keras_feed(Rows()).options().autotune.enabled is False
