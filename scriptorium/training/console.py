"""Prints the output of a run: lines, and on a terminal one live line."""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from scriptorium.streams import write


class Console:
    """Prints lines, and on a terminal one live line that the next line replaces."""

    def __init__(self):
        self.shown = 0
        self.last = 0.0

    def say(self, *lines):
        """Prints lines."""
        self._clear()
        write("\n".join([*lines, ""]))

    def live(self, text):
        """Updates the live line; only on a terminal, and at most five times per second."""
        now = time.monotonic()
        if not sys.stdout.isatty() or now - self.last < 0.2:
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        write("\r" + text.ljust(self.shown))
        self.shown, self.last = len(text), now

    def _clear(self):
        if self.shown:
            write("\r" + " " * self.shown + "\r")
            self.shown = 0


def duration(seconds):
    """Returns a readable duration: 45s, 12m, 3h05m."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02}m"


def _short(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def readable(path):
    """Returns a path relative to the current folder, if it lies inside it."""
    with contextlib.suppress(ValueError):
        return str(Path(os.path.realpath(path)).relative_to(Path.cwd()))
    return str(path)


def epoch_line(scores, now):
    """Returns the scores of an epoch in one line: training/validation, then kl_weight and speed.

    Args:
        scores: dict of name -> number; validation scores start with "val_".
        now: dict that may hold kl_weight and tokens_per_second.
    """
    parts = []
    for name, value in scores.items():
        # Show the loss only without other scores: a model with several scores minimizes a mixture of them.
        if name.startswith("val_") or (name == "loss" and len(scores) > 2):
            continue
        parts.append(
            f"{name} {_short(value)}" + (f"/{_short(scores['val_' + name])}" if f"val_{name}" in scores else "")
        )
    if "kl_weight" in now:
        parts.append(f"kl_weight {now['kl_weight']:.3g}")
    if "tokens_per_second" in now:
        parts.append(f"{now['tokens_per_second']:,.0f} tokens/s")
    return "  ".join(parts)
