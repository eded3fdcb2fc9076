"""The history of a run as a table and a figure."""

import contextlib
import csv
import io
import math
import textwrap

from scriptorium.pictures import figure_of
from scriptorium.training import storage

# Curves with more points than this are drawn without markers.
MARKED_POINTS = 30
UNDRAWN = ("epoch", "step", "seconds", "tokens_per_second", "loss")  # columns that are left out of the figure


class History:
    """One row per epoch, in `history.csv` and drawn in `history.png`.

    Args:
        directory: Path of the run.
        epochs: rows after this epoch are dropped: a resumed run writes them again.
    """

    def __init__(self, directory, epochs=0):
        self.directory, self.rows = directory, []
        # If the table cannot be read, start a new one: training must not fail because of it.
        with contextlib.suppress(OSError, ValueError, TypeError, csv.Error):
            with open(directory / "history.csv", newline="", encoding="utf-8") as file:
                rows = [{name: _number(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row.get("epoch", math.inf) <= epochs]

    def add(self, row):
        """Adds a row, replacing that of the same epoch and later ones, and writes both files."""
        # Scores are float32, which has seven digits.
        row = {name: float(f"{v:.7g}") if isinstance(v, float) else v for name, v in row.items()}
        self.rows = [r for r in self.rows if r["epoch"] < row["epoch"]] + [row]
        names = list(dict.fromkeys(name for r in self.rows for name in r))
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        storage.write_text(self.directory / "history.csv", text.getvalue())
        self.draw()

    def columns(self):
        """Returns the history as a dict of name -> list of values."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row[name] for row in self.rows if name in row] for name in names}

    def draw(self):
        """Writes `history.png`: one panel per score, with training and validation."""
        known = dict.fromkeys(name for row in self.rows for name in row)
        names = [name.removeprefix("val_") for name in known if name.startswith("val_")]
        # Columns without validation: weights, rates, losses of two players.
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
        with storage.replacing(self.directory / "history.png") as temporary:
            figure.savefig(temporary, dpi=110, format="png")


def _number(text):
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() and "." not in text else value
