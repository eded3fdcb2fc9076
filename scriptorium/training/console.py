"""Prints the output of a run: lines, a table of epochs, and on a terminal one live line with a bar."""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from scriptorium.streams import write
from scriptorium.training.main_scores import IN_TRAINING, main_scores

PIPED = 100  # columns of a table that is not printed on a terminal
LONGEST_BAR, SHORTEST_BAR = 30, 5


class Console:
    """Prints lines, rows of a table, and on a terminal one live line that the next line replaces."""

    def __init__(self):
        self.shown = 0  # columns of the live line
        self.last = 0.0  # time of the live line
        self.heads = None  # of the table whose row was printed last
        self.phase_name, self.phase_began = None, 0.0

    def say(self, *lines):
        """Prints lines."""
        self._print(lines)
        self.heads = self.phase_name = None

    def _print(self, lines):
        self._clear()
        write("\n".join([*lines, ""]))

    def row(self, cells):
        """Prints a row of a table, under its heads unless the last row had the same.

        Args:
            cells: dict of head -> text. From the last one on, columns that are too many for the terminal are left out.
        """
        widths = {head: max(len(head), len(text), 6) for head, text in cells.items()}
        room = width() + 2
        shown = []
        for head, columns in widths.items():
            room -= columns + 2
            if room < 0:
                break
            shown.append(head)
        lines = ["  ".join(head.rjust(widths[head]) for head in shown)] if self.heads != shown else []
        self._print([*lines, "  ".join(cells[head].rjust(widths[head]) for head in shown)])
        self.heads = shown

    def live(self, text):
        """Updates the live line; only on a terminal, and at most five times per second."""
        now = time.monotonic()
        if not sys.stdout.isatty() or now - self.last < 0.2:
            return
        text = text[: width() - 1]
        write("\r" + text.ljust(self.shown))
        self.shown, self.last = len(text), now

    def phase(self, name, share=None):
        """Shows what is being computed after training; where there is no terminal, one line for each phase.

        Args:
            name: what is computed, such as "iw_nll".
            share: how much of it is done, from 0 to 1; None if that is unknown.
        """
        if name != self.phase_name:
            self.phase_name, self.phase_began, self.last = name, time.monotonic(), 0.0
            if not sys.stdout.isatty():
                write(f"computing {name} ...\n")
        seconds = time.monotonic() - self.phase_began
        left = f"  {duration(seconds * (1 - share) / share)} left" if share and seconds > 1 else ""
        done = "" if share is None else f" {bar(share, 20)} {share:.0%}{left}"
        self.live(f"computing {name}{done}" if done else f"computing {name} ...")

    def _clear(self):
        if self.shown:
            write("\r" + " " * self.shown + "\r")
            self.shown = 0


def width():
    """Returns how many columns there are."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return max(20, shutil.get_terminal_size().columns) if known else PIPED


def bar(share, columns):
    """Returns a bar of `columns` characters within brackets, of which a share is filled."""
    filled = round(min(max(share, 0.0), 1.0) * columns)
    return f"[{'#' * filled}{'-' * (columns - filled)}]"


def duration(seconds):
    """Returns a readable duration: 45s, 12m, 3h05m."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02}m"


def short(value):
    """Returns a number with four digits, or all of a large one: 0.4821, 48.21, 4,821."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def readable(path):
    """Returns a path relative to the current folder, if it lies inside it."""
    with contextlib.suppress(ValueError):
        return str(Path(os.path.realpath(path)).relative_to(Path.cwd()))
    return str(path)


def progress_line(columns, place, share, scores, speed, left):
    """Returns the live line of an epoch: the richest that fits.

    Args:
        columns: width of the line.
        place: (epoch, epochs), from 1.
        share: of the epoch that is done.
        scores: list of (name, value in training, last value in validation or None), the main one first.
        speed: tokens per second.
        left: seconds until training ends.
    """
    counted = f"{place[0]}/{place[1]}"

    def named(score, word):
        name, value, validated = score
        return f"{name} {short(value)}" + (f" {word} {short(validated)}" if validated is not None else "")

    ends = [f"{speed:,.0f} tokens/s", f"{duration(left)} left"]
    few = [f"{speed / 1000:.1f}k/s" if speed >= 1000 else f"{speed:.0f}/s", ends[1]]
    layouts = [
        (f"epoch {counted}", [*(named(score, "validation") for score in scores[:2]), *ends], "  "),
        (f"epoch {counted}", [*(named(score, "validation") for score in scores[:1]), *ends], "  "),
        (f"epoch {counted}", [*(named(score, "valid") for score in scores[:1]), *few], "  "),
        (counted, [*(named(score, "valid") for score in scores[:1]), *few], " "),
        (counted, [*(named(score, "valid") for score in scores[:1]), ends[1]], " "),
        (counted, [*(named(("train", *score[1:]), "valid") for score in scores[:1]), *few], " "),
        (counted, [ends[1]], " "),
    ]
    for head, parts, gap in layouts:
        rest = gap.join([head, f"[] {share:.0%}", *parts])
        if len(rest) + SHORTEST_BAR <= columns:
            break
    size = min(LONGEST_BAR, max(SHORTEST_BAR, columns - len(rest)))
    return gap.join([head, f"{bar(share, size)} {share:.0%}", *parts])[:columns]


def epoch_row(place, scores, now, left, is_best):
    """Returns the row of an epoch in the table that training prints: head -> text, the most important first.

    Args:
        place: (epoch, epochs), from 1.
        scores: dict of name -> number; validation scores start with "val_".
        now: dict that may hold kl_weight and tokens_per_second.
        left: seconds until training ends; None if unknown.
        is_best: whether it is the best epoch so far.
    """
    cells = {"epoch": f"{place[0]}/{place[1]}"}
    names = list(dict.fromkeys(name.removeprefix("val_") for name in scores))
    first = main_scores(names, IN_TRAINING, 2)
    # Show the loss only without other scores: a model with several scores minimizes a mixture of them.
    others = [name for name in names if name not in first and (name != "loss" or len(names) == 1)]

    def add(name):
        cells.update({key: short(scores[key]) for key in (name, f"val_{name}") if key in scores})

    for name in first[:1] or others[:1]:
        add(name)
    cells["best"] = "*" if is_best else ""
    if left is not None:
        cells["left"] = duration(left)
    if "tokens_per_second" in now:
        cells["tokens/s"] = f"{now['tokens_per_second']:,.0f}"
    for name in [*first[1:], *others]:
        add(name)
    if "kl_weight" in now:
        cells["kl_weight"] = f"{now['kl_weight']:.3g}"
    return cells
