"""Running text: how it is read, from tasks, files and folders of any kind."""

import codecs

from scriptorium import UserError
from scriptorium.data import growing_ids, running_text, tasks
from scriptorium.data.vocabulary import UNK

import numpy as np
import pytest

TEXT = "".join(chr(97 + i % 26) for i in range(400)) + "\n" + "zé" * 100


def test_a_file_is_cut_in_order(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(TEXT, encoding="utf-8")
    text = running_text.read(path=file)
    parts = [text.vocabulary.decode(getattr(text, split)) for split in ("train", "valid", "test")]
    assert "".join(parts) == TEXT
    assert len(parts[1]) in range(20, 40) and len(parts[2]) in range(20, 40)


def test_a_folder_keeps_its_splits(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name} " * 20 + "é", encoding="utf-8")
    text = running_text.read(path=tmp_path)
    assert len(text.train) == 121 and len(text.test) == 101
    # Characters that training text does not hold have no id.
    assert UNK in text.valid and UNK not in text.train
    unknown = sum(int((getattr(text, split) == UNK).sum()) for split in ("valid", "test"))
    assert text.description.endswith(f"different; {unknown} others become <unk>")


def test_pieces_of_a_file_join_to_its_text(tmp_path, monkeypatch):
    monkeypatch.setattr(running_text, "CHUNK", 7)
    monkeypatch.setattr(growing_ids, "IDS_IN_MEMORY", 50)
    file = tmp_path / "a.txt"
    file.write_bytes(codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode())
    text = running_text.read(path=file)
    assert isinstance(text.train, np.memmap)
    whole = "".join(text.vocabulary.decode(getattr(text, split)) for split in ("train", "valid", "test"))
    assert whole == TEXT


def test_bytes_of_any_file(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(range(256)) * 4)
    text = running_text.read(path=file, level="byte")
    assert len(text.vocabulary) == 260
    np.testing.assert_array_equal(text.train[:256], np.arange(4, 260))
    vocabulary = text.vocabulary
    assert vocabulary.decode(vocabulary.encode("né 中 😀")) == "né 中 😀"


def test_the_first_characters_alone(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("é" * 200, encoding="utf-8")
    text = running_text.read(path=file, limit=101)
    assert sum(len(getattr(text, split)) for split in ("train", "valid", "test")) == 101


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no text"),
        (b"abc" * 20 + b"\0", "binary data at byte 60"),
        (b"abc" * 20 + b"\xff" + b"abc" * 20, "byte 60 is not UTF-8"),
        (b"abc", "at least 40 are needed"),
    ],
)
def test_files_that_are_no_text(tmp_path, content, said):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=said):
        running_text.read(path=file)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        running_text.read(path=tmp_path / "b.txt")


def test_tasks_of_single_texts_are_not_running_text():
    assert tasks.running("pydocs") is None
