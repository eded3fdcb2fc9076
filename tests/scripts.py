"""Runs a script as its user does, for tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_script(name, *argv, text="", status=0):
    """Runs a script by its file's name and returns the finished process, whose exit status must be `status`."""
    command = [sys.executable, ROOT / name, *map(str, argv)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stderr
    return done
