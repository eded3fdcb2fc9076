"""Whatever the standard streams are, text passes through them, and what cannot be written ends nothing."""

import errno
import io
import logging
import os
import subprocess
import sys

from scriptorium import ROOT, streams
from scriptorium.training.console import Console

import pytest

TEXT = "naïve 日本 \ud800 😀"


class Broken(io.TextIOBase):
    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(encoding, monkeypatch):
    for prepared in (False, True):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        if prepared:
            monkeypatch.setenv("PYTHONIOENCODING", encoding)
            streams.prepare()
        Console().say(TEXT)
        written = stream.buffer.getvalue().decode(encoding)
        assert r"\ud800" in written and (("😀" in written) == (encoding == "utf-8"))


def test_files_and_pipes_get_utf_8_whatever_the_locale_says(monkeypatch):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    typed = io.TextIOWrapper(io.BytesIO("日\xff".encode("latin-1", "replace") + "本".encode()), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stdin", typed)
    streams.prepare()
    streams.write("日本")
    assert stream.buffer.getvalue() == "日本".encode()
    assert typed.read().endswith("本")


def test_a_stream_that_refuses_is_left_as_it_is(monkeypatch):
    class Refusing(io.TextIOWrapper):
        def reconfigure(self, **settings):
            raise OSError(errno.ESPIPE, "Illegal seek")

    stream = Refusing(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    streams.prepare()
    Console().say("日本")
    assert stream.buffer.getvalue() == rb"\u65e5\u672c" + b"\n"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), BrokenPipeError(), ValueError("closed")])
def test_output_that_fails_ends_nothing(error, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(error))
    console = Console()
    for _ in range(2):
        console.say("a line")
    assert ("cannot be written" in capsys.readouterr().err) == (not isinstance(error, BrokenPipeError))
    monkeypatch.setattr(sys, "stderr", Broken(error))
    streams.note("lost")


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors with a shell")
def test_closed_streams():
    # Without streams, an opened file would get their numbers, and what is printed would land in it.
    code = "import scriptorium, sys; f = open('README.md'); print(1); sys.exit(0 if f.fileno() > 2 else 1)"
    command = f'{sys.executable} -c "{code}" <&- >&- 2>&-'
    assert subprocess.run(command, shell=True, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("backend, reason", [("nonsense", ""), ("openvino", ""), ("numpy", "")])
def test_a_backend_that_is_not_there_is_one_line(backend, reason):
    done = subprocess.run(
        [sys.executable, "-c", "import scriptorium, keras"],
        cwd=ROOT, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and f"KERAS_BACKEND={backend}" in done.stderr


def test_tensorflow_stays_quiet_where_a_person_types_too():
    code = (
        "import sys; sys.ps1 = '>>> '; import scriptorium, keras, logging; print(logging.getLogger('tensorflow').level)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) >= logging.ERROR and done.stderr == ""
