"""Running text: how it is read and cut, and the state that is carried along it."""

import codecs

import keras
import numpy as np
import pytest

import streams
import tasks
import util
from util import PAD, START, UNK, UserError

TEXT = "".join(chr(97 + i % 26) for i in range(400)) + "\n" + "zé" * 100


def test_a_file_is_cut_in_order(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(TEXT, encoding="utf-8")
    text = streams.read(path=file)
    parts = [text.vocabulary.decode(getattr(text, split)) for split in ("train", "valid", "test")]
    assert "".join(parts) == TEXT
    assert len(parts[1]) in range(20, 40) and len(parts[2]) in range(20, 40)


def test_a_folder_keeps_its_splits(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name} " * 20 + "é", encoding="utf-8")
    text = streams.read(path=tmp_path)
    assert len(text.train) == 121 and len(text.test) == 101
    # Characters that training text does not hold have no id.
    assert UNK in text.valid and UNK not in text.train


def test_pieces_of_a_file_join_to_its_text(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 7)
    monkeypatch.setattr(util, "IDS_IN_MEMORY", 50)
    file = tmp_path / "a.txt"
    file.write_bytes(codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode())
    text = streams.read(path=file)
    assert isinstance(text.train, np.memmap)
    whole = "".join(text.vocabulary.decode(getattr(text, split)) for split in ("train", "valid", "test"))
    assert whole == TEXT


def test_bytes_of_any_file(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(range(256)) * 4)
    text = streams.read(path=file, level="byte")
    assert len(text.vocabulary) == 260
    np.testing.assert_array_equal(text.train[:256], np.arange(4, 260))
    vocabulary = text.vocabulary
    assert vocabulary.decode(vocabulary.encode("né 中 😀")) == "né 中 😀"


def test_the_first_characters_alone(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("é" * 200, encoding="utf-8")
    text = streams.read(path=file, limit=101)
    assert sum(len(getattr(text, split)) for split in ("train", "valid", "test")) == 101


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no text"),
        (b"abc" * 20 + b"\0", "binary data at byte 60"),
        (b"abc" * 20 + b"\xff" + b"abc" * 20, "byte 60 is not UTF-8"),
        (b"abc", "too few"),
    ],
)
def test_files_that_are_no_text(tmp_path, content, said):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=said):
        streams.read(path=file)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        streams.read(path=tmp_path / "b.txt")


def test_tasks_of_single_texts_are_not_running_text():
    assert tasks.running("pydocs") is None


def followed(batches, rows):
    """What each row of the batches reads, from the first window to the last."""
    read = [[] for _ in range(rows)]
    for i in range(len(batches)):
        for row, ids in enumerate(batches[i][0]):
            read[row].append(ids)
    return read


def test_windows_follow_one_another_and_every_token_is_predicted_once():
    ids = np.arange(4, 107)
    batches = streams.Streams(ids, 4, 5)
    targets = []
    for row in followed(batches, 4):
        for before, after in zip(row, row[1:], strict=False):
            if after[1] != PAD:
                assert after[0] == before[-1]
        targets += [window[1:] for window in row]
    targets = np.concatenate(targets)
    assert sorted(targets[targets != PAD].tolist()) == ids.tolist()
    assert sum(batches.tokens(i) for i in range(len(batches))) == len(ids)
    assert batches[0][0][0, 0] == START and batches[0][0][1, 0] == ids[25]


def test_an_epoch_cuts_the_text_at_its_own_places():
    ids = np.arange(4, 1004)
    batches, same = streams.Streams(ids, 4, 10, seed=1), streams.Streams(ids, 4, 10, seed=1)
    batches.go_to(3)
    same.go_to(3, 5)
    np.testing.assert_array_equal(batches[5][0], same[0][0])
    first = batches[0][0].copy()
    batches.go_to(4)
    assert not np.array_equal(first, batches[0][0])
    targets = np.concatenate([batches[i][0][:, 1:].ravel() for i in range(len(batches))])
    assert sorted(targets[targets != PAD].tolist()) == ids.tolist()


def test_too_little_text_for_the_places():
    with pytest.raises(UserError, match="3 tokens are too few for 4 places"):
        streams.Streams(np.arange(3), 4, 10)


def test_windows_hold_all_of_the_text():
    windows = streams.windows(np.arange(4, 27), 5)
    assert windows.lengths.tolist() == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(windows[4], [24, 25, 26])


def test_the_state_is_forgotten_where_a_text_begins():
    carried = streams.Carried(2, [3])
    carried.write([keras.ops.ones((2, 3))])
    batches = streams.Streams(np.arange(4, 50), 2, 5)
    callback = streams.FromTheStart(carried, batches)
    batches.go_to(0, 2)
    callback.on_epoch_begin(0)
    assert np.asarray(carried.read()[0]).all(), "an epoch that goes on keeps its state"
    batches.go_to(1)
    callback.on_epoch_begin(1)
    assert not np.asarray(carried.read()[0]).any()
