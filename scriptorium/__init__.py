"""What the scripts of Scriptorium share. Import it before Keras: TensorFlow is kept quiet while it is loaded."""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the folder of the scripts, of runs/ and of pretrained/


class UserError(Exception):
    """Something that the user can put right: shown as one line, with exit status 2."""


@contextlib.contextmanager
def _stderr_held_back():
    """Holds back what native code writes to stderr, unless the block fails."""
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


class _QuietKeras(importlib.abc.MetaPathFinder):
    """Loads Keras, once, with stderr held back.

    TensorFlow writes notes about the processor to the console while it is loaded, past every setting.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                with _stderr_held_back():
                    execute(module)

            spec.loader.exec_module = exec_module
        return spec


# For what TensorFlow writes later; its errors reach Python as exceptions anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for _name in ("absl", "tensorflow"):
    logging.getLogger(_name).setLevel(logging.ERROR)
if "keras" not in sys.modules:
    sys.meta_path.insert(0, _QuietKeras())
