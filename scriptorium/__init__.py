"""What the scripts of Scriptorium share; `load("sentences")` opens a trained run.

Import this package before Keras: it keeps TensorFlow quiet while TensorFlow loads.
"""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the folder that holds the scripts, runs/ and pretrained/
BACKENDS = ("tensorflow", "jax", "torch")


class UserError(Exception):
    """An error that the user can fix: shown as one line, with exit status 2."""


def _open_standard_streams():
    """Connects standard streams that are closed to nothing, or else the next opened file would take their place."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


@contextlib.contextmanager
def _stderr_withheld():
    """Withholds what native code writes to stderr, unless the block fails."""
    try:
        stderr = os.dup(2)
    except OSError:
        # There is no stderr to write to.
        yield
        return
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _fail_to_load(error):
    """Ends the process with one line that says why Keras cannot be loaded."""
    backend = os.environ.get("KERAS_BACKEND")
    chosen = f"KERAS_BACKEND={backend}" if backend else "the backend in ~/.keras/keras.json, or TensorFlow,"
    reason = " ".join(str(error).split())
    print(f"{Path(sys.argv[0]).name}: error: Keras cannot use {chosen} here: {reason}", file=sys.stderr)
    raise SystemExit(2)


def _silence_logs():
    """Silences what TensorFlow logs while it computes; its errors reach Python as exceptions anyway.

    Where a person types, as in a notebook, TensorFlow raises the level again when it loads.
    """
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _QuietKeras(importlib.abc.MetaPathFinder):
    """Loads Keras, once, with stderr withheld.

    While it loads, TensorFlow writes notes about the processor to the console, and no setting stops it.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                try:
                    with _stderr_withheld():
                        execute(module)
                    _silence_logs()
                    if module.backend.backend() not in BACKENDS:
                        raise ValueError(f"it cannot train; use {', '.join(BACKENDS)}")
                except Exception as error:
                    if hasattr(sys, "ps1") or "IPython" in sys.modules:
                        raise
                    _fail_to_load(error)

            spec.loader.exec_module = exec_module
        return spec


_open_standard_streams()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_silence_logs()
if "keras" not in sys.modules:
    sys.meta_path.insert(0, _QuietKeras())


def load(which, logdir=None):
    """Opens a trained run for use from Python: see `scriptorium.training.trained.load`, and docs/python.md.

    Args:
        which: the name of a script, such as "sentences", for its newest run, or the bundled one if there is none;
            or the name or path of a run.
        logdir: folder of the runs; None for `runs/` of the project.

    Returns:
        `Codec`, `LanguageModel` or `Sampler`, whose `run` holds the options, the vocabulary and the model.

    Raises:
        UserError: there is no such run, or it is damaged.
    """
    from scriptorium.training import trained

    return trained.load(which, logdir)
