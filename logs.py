"""What a run shows: its lines on the console, its pages in TensorBoard, and its history as a table and a picture."""

import contextlib
import csv
import io
import math
import os
import shutil
import sys
import textwrap
import time

import numpy as np

import files

# Lines of more points than these get no marks in the picture.
MARKED_POINTS = 30
UNDRAWN = ("epoch", "step", "seconds", "tokens_per_second", "loss")  # columns of the history that say little


class Console:
    """Lines, and on a terminal one live line that the next line takes the place of."""

    def __init__(self):
        self.shown = 0
        self.last = 0.0

    def say(self, *lines):
        """Prints lines."""
        self._clear()
        print(*lines, sep="\n", flush=True)

    def live(self, text):
        """Shows a line that moves; only on a terminal, and no more than five times a second."""
        now = time.monotonic()
        if not sys.stdout.isatty() or now - self.last < 0.2:
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        print("\r" + text.ljust(self.shown), end="", flush=True)
        self.shown, self.last = len(text), now

    def _clear(self):
        if self.shown:
            print("\r" + " " * self.shown + "\r", end="")
            self.shown = 0


def duration(seconds):
    """Returns a time in words: 45s, 12m, 3h05m."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02}m"


def _short(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def epoch_line(scores, now):
    """Returns the scores of an epoch in one line: training/validation, then what was set and how fast it went.

    Args:
        scores: dict of name -> number; validation scores start with "val_".
        now: dict that may hold kl_weight and tokens_per_second.
    """
    said = []
    for name, value in scores.items():
        # The loss is shown where there is nothing better: a model with scores of its own minimises a mixture of them.
        if name.startswith("val_") or (name == "loss" and len(scores) > 2):
            continue
        said.append(
            f"{name} {_short(value)}" + (f"/{_short(scores['val_' + name])}" if f"val_{name}" in scores else "")
        )
    if "kl_weight" in now:
        said.append(f"kl_weight {now['kl_weight']:.3g}")
    if "tokens_per_second" in now:
        said.append(f"{now['tokens_per_second']:,.0f} tokens/s")
    return "  ".join(said)


def figure_of(width=7.0, height=4.0):
    """Returns a matplotlib figure that needs no screen; its size is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bars(title, values):
    """Returns a figure with one bar for each of `values` (n,)."""
    figure = figure_of()
    axes = figure.add_subplot(title=title, xlabel="dimension")
    axes.bar(range(len(values)), values)
    return figure


class Board:
    """The TensorBoard of a run: one event file a directory (`train`, `validation`), opened at its first use.

    Events are written by the calling thread, and `flush` returns when they are in the file. A disk that is full costs
    events, not the training.

    Args:
        directory: Path of the run.
        console: `Console` for the one line that says that events are lost.
        first_epoch: what was written for this epoch (from 1) and later ones, before an interruption, is hidden.
        first_step: the same for what is written under "steps", whose numbers are those of the training's steps.
    """

    def __init__(self, directory, console, first_epoch=None, first_step=None):
        self.directory, self.console, self.first_epoch, self.first_step = directory, console, first_epoch, first_step
        self.writers, self.opened, self.failed = {}, 0, False

    def _open(self, split):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self.directory / split
        folder.mkdir(exist_ok=True)
        self.opened += 1
        # Files are named by the second: two of one second need names of their own.
        writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{self.opened}")
        first = self.first_step if split == "steps" else self.first_epoch
        if first is not None:
            writer.write_event(Event(step=first, session_log=SessionLog(status=SessionLog.START)))
        return writer

    def add(self, split, summary, step):
        """Writes a TensorBoard summary."""
        from tensorboardX.proto.event_pb2 import Event

        try:
            if split not in self.writers:
                self.writers[split] = self._open(split)
            self.writers[split].write_event(Event(wall_time=time.time(), step=int(step), summary=summary))
        except OSError as error:
            self._lost(split, error)

    def _lost(self, split, error):
        # What follows half a record cannot be read: the next event starts a new file.
        self.writers.pop(split, None)
        if not self.failed:
            self.console.say(f"TensorBoard: events could not be written ({error}); the training goes on.")
        self.failed = True

    def scalar(self, split, tag, value, step):
        from tensorboardX import summary

        self.add(split, summary.scalar(tag, float(value)), step)

    def text(self, split, tag, text, step):
        from tensorboardX import summary

        written = summary.text(tag, text)
        # tensorboardX adds a word to the tag.
        written.value[0].tag = tag
        self.add(split, written, step)

    def histogram(self, split, tag, values, step):
        from tensorboardX import summary

        values = np.asarray(values, "float32").ravel()
        values = values[np.isfinite(values)]
        if len(values):
            self.add(split, summary.histogram(tag, values, bins=40), step)

    def figure(self, split, tag, figure, step):
        """Writes a matplotlib figure made by `figure_of`."""
        from tensorboardX import summary

        figure.canvas.draw()
        picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        self.add(split, summary.image(tag, picture, dataformats="HWC"), step)

    def hparams(self, options, scores):
        """Writes the options of the run and its final scores, for TensorBoard's table of runs."""
        from tensorboardX import summary

        plain = {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in options.items()}
        numbers = {name: value for name, value in scores.items() if not isinstance(value, str)}
        named = {f"score/{name}": float(value) for name, value in numbers.items()}
        for part in summary.hparams(plain, named):
            self.add("train", part, 0)
        for tag, value in named.items():
            self.scalar("train", tag, value, 0)

    def projector(self, vectors, labels, classes=None):
        """Writes points (n, dimensions), labels and classes, which TensorBoard reads when it first sees the run."""
        folder = self.directory / "train"
        folder.mkdir(exist_ok=True)
        rows = ("\t".join(f"{value:.6g}" for value in row) for row in np.asarray(vectors, "float32"))
        files.write_text(folder / "vectors.tsv", "\n".join(rows) + "\n")
        lines = [" ".join(label.split()) or "-" for label in labels]
        if classes is not None:
            # With two columns, the first line names them.
            lines = [
                "text\tclass",
                *(f"{line}\t{' '.join(c.split()) or '-'}" for line, c in zip(lines, classes, strict=True)),
            ]
        files.write_text(folder / "labels.tsv", "\n".join(lines) + "\n")
        # The paths are inside the directory of the event file: TensorBoard follows no others.
        files.write_text(
            folder / "projector_config.pbtxt",
            'embeddings {\n  tensor_name: "z_mean"\n  tensor_path: "vectors.tsv"\n  metadata_path: "labels.tsv"\n}\n',
        )

    def flush(self):
        for split, writer in list(self.writers.items()):
            try:
                writer.flush()
            except OSError as error:
                self._lost(split, error)

    def close(self):
        self.flush()
        for writer in self.writers.values():
            writer.close()
        self.writers = {}


class History:
    """One row an epoch, in `history.csv` and as a picture in `history.png`.

    Args:
        directory: Path of the run.
        epochs: rows of more than this many epochs are dropped: a resumed training writes them again.
    """

    def __init__(self, directory, epochs=0):
        self.directory, self.rows = directory, []
        # A table that cannot be read is written anew: it is no reason not to go on.
        with contextlib.suppress(OSError, ValueError, TypeError, csv.Error):
            with open(directory / "history.csv", newline="", encoding="utf-8") as file:
                rows = [{name: _number(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row.get("epoch", math.inf) <= epochs]

    def add(self, row):
        """Puts a row in the place of the one of its epoch, or at the end, and writes both files."""
        # Scores are float32: they have seven digits.
        row = {name: float(f"{v:.7g}") if isinstance(v, float) else v for name, v in row.items()}
        self.rows = [r for r in self.rows if r["epoch"] < row["epoch"]] + [row]
        names = list(dict.fromkeys(name for r in self.rows for name in r))
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        files.write_text(self.directory / "history.csv", text.getvalue())
        self.draw()

    def columns(self):
        """Returns the history as a dict of name -> list of values."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row[name] for row in self.rows if name in row] for name in names}

    def draw(self):
        """Writes `history.png`: a panel a score, training and validation over each other."""
        known = dict.fromkeys(name for row in self.rows for name in row)
        names = [name.removeprefix("val_") for name in known if name.startswith("val_")]
        # What a training alone has: weights, rates, losses of two players.
        names += [name for name in known if not name.startswith("val_") and name not in (*names, *UNDRAWN)]
        columns = min(3, len(names))
        lines = math.ceil(len(names) / columns) if names else 0
        if not lines:
            return
        figure = figure_of(4.2 * columns, 2.9 * lines)
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(lines, columns, place)
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                points = [(r["epoch"], r[key]) for r in self.rows if isinstance(r.get(key), (int, float))]
                points = [(x, y) for x, y in points if math.isfinite(y)]
                if points:
                    mark = "o" if len(points) <= MARKED_POINTS else None
                    axes.plot(*zip(*points, strict=True), label=label, marker=mark, markersize=3, linewidth=1.4)
            axes.set_title(textwrap.shorten(name, 30), fontsize=10)
            axes.set_xlabel("epoch", fontsize=8)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.xaxis.get_major_locator().set_params(integer=True)
            if f"val_{name}" in known and name in known:
                axes.legend(fontsize=8, frameon=False)
        with files.replacing(self.directory / "history.png") as temporary:
            figure.savefig(temporary, dpi=110, format="png")


def _number(text):
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() and "." not in text else value
