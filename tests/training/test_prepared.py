"""Prepared texts equal those that are read, are read once, and are made again when anything about them changes."""

import threading
import time

from scriptorium import UserError
from scriptorium.data import corpora, running_text
from scriptorium.training import prepared, storage
from scriptorium.training.opening import open_run

import numpy as np
import pytest
from helpers import run_here

import chars
import sentences
import util

SPLITS = ("train", "valid", "test")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "toy.txt"
    path.write_text("\n".join(f"The {i}th house is not {'very ' * (i % 4)}old." for i in range(400)), "utf-8")
    return path


def loaded(script, path, *more):
    args = script.parse_args(["-D", str(path), "-T", str(path.parent / "runs"), "-b", "4", *more])
    run = open_run(script.SCRIPT, args)
    return script.load(run, args) if script is chars else util.load(run, args)


def kept_in(path):
    return "--prepared", str(path.parent / "ready")


def refuse(*_, **__):
    pytest.fail("the text was read")


def test_prepared_texts_are_those_that_were_read(text, monkeypatch):
    given = ["-m", "8", "-w", "30"]
    corpus, vocabulary, splits = loaded(sentences, text, *given)
    loaded(sentences, text, *given, *kept_in(text))
    monkeypatch.setattr(corpora, "load", refuse)
    again, its_vocabulary, its_splits = loaded(sentences, text, *given, *kept_in(text))
    assert its_vocabulary.to_json() == vocabulary.to_json()
    assert again.description == corpus.description and "too long left out" in again.description
    assert again.fingerprint == corpus.fingerprint
    for split in SPLITS:
        assert list(getattr(again, split)) == list(getattr(corpus, split))
        assert isinstance(its_splits[split].ids, np.memmap)  # shared by all processes that read it
        np.testing.assert_array_equal(its_splits[split].ids, splits[split].ids)
        np.testing.assert_array_equal(its_splits[split].starts, splits[split].starts)
        assert its_splits[split].changes == splits[split].changes
        assert its_splits[split].longest == splits[split].longest


def test_prepared_running_text_is_what_was_read(text, monkeypatch):
    read = loaded(chars, text)
    loaded(chars, text, *kept_in(text))
    monkeypatch.setattr(running_text, "read", refuse)
    again = loaded(chars, text, *kept_in(text))
    assert (again.name, again.fingerprint, again.description) == (read.name, read.fingerprint, read.description)
    assert again.vocabulary.to_json() == read.vocabulary.to_json()
    for split in SPLITS:
        assert isinstance(getattr(again, split), np.memmap)
        np.testing.assert_array_equal(getattr(again, split), getattr(read, split))


def test_a_run_that_continues_takes_the_text_it_began_with(text, monkeypatch):
    where = ["-T", text.parent / "runs", *kept_in(text)]
    run_here(chars, "-D", text, *where, "-L", 8, "-g", 9, "--max-steps", 2, "--name", "mine")
    monkeypatch.setattr(running_text, "read", refuse)
    run_here(chars, *where, "--resume", "mine", "--max-steps", 3)
    assert len(list((text.parent / "ready").iterdir())) == 1


def test_another_text_or_option_is_prepared_anew(text):
    folder = text.parent / "ready"
    for count, more in enumerate(([], ["-w", "20"], ["-m", "8"], ["--level", "char"], ["-I", "5000"]), 1):
        for _ in range(2):
            loaded(sentences, text, *more, *kept_in(text))
            assert len(list(folder.iterdir())) == count
    text.write_text(text.read_text("utf-8") + "\nOne more.", "utf-8")
    corpus, _, _ = loaded(sentences, text, *kept_in(text))
    assert corpus.read == 401 and len(list(folder.iterdir())) == 6


def test_what_was_done_to_the_texts_is_done_again(tmp_path):
    path = tmp_path / "zh.txt"
    path.write_text("\n".join(f"我 {'喜欢' * (i % 9)} 看 书 {i}" for i in range(300)), "utf-8")
    given = ["--level", "char", *kept_in(path)]
    texts = [list(loaded(sentences, path, *given)[0].train) for _ in range(2)]
    assert texts[0] == texts[1] and not any(" " in text for text in texts[1])


def test_a_text_that_was_not_finished_is_made_again(text):
    loaded(chars, text, *kept_in(text))
    (place,) = (text.parent / "ready").iterdir()
    (place / "facts.json").unlink()
    (place / "train.npy").write_bytes(b"half")
    assert len(loaded(chars, text, *kept_in(text)).train) > 1000
    (place / "train.npy").write_bytes(b"half")
    with pytest.raises(UserError, match=r"is damaged: .*; delete it"):
        loaded(chars, text, *kept_in(text))


def test_a_second_process_waits_for_the_first(text, monkeypatch, capfd):
    loaded(chars, text, *kept_in(text))
    (place,) = (text.parent / "ready").iterdir()
    lock = storage.Lock(place / "lock")
    monkeypatch.setattr(prepared.time, "sleep", lambda _: time.perf_counter())
    found = []
    waiting = threading.Thread(target=lambda: found.append(loaded(chars, text, *kept_in(text))), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert not found
    lock.release()
    waiting.join(60)
    assert found and "waiting for it" in capfd.readouterr().err


def test_what_cannot_be_prepared_is_refused(text):
    table = text.with_suffix(".csv")
    table.write_text("text\n" + "\n".join(f"line {i}" for i in range(50)), "utf-8")
    with pytest.raises(UserError, match=r"--prepared is for text files; toy\.csv is none"):
        loaded(sentences, table, *kept_in(text))
    with pytest.raises(UserError, match="--prepared needs a folder"):
        loaded(chars, text, "--prepared", "")
    args = chars.parse_args(["--prepared", "x"])
    with pytest.raises(UserError, match="--prepared has no effect without -D"):
        args.parser.check_requirements(args)
