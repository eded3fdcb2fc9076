import builtins
import errno
import functools
import io
import itertools
import os

from scriptorium import UserError
from scriptorium.command_line import command
from scriptorium.data.batches import Batches, Sequences
from scriptorium.training import storage
from scriptorium.training.fit import fit
from scriptorium.training.history import History

import keras
import numpy as np
import pytest
import tiny_script
from tiny_runs import STEPS, At, assert_same_outcome, go, rows, state
from tiny_script import arguments


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
