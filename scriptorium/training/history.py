"""The history of a run as a table and a figure."""

import contextlib
import csv
import io
import math
import textwrap
import time

from scriptorium.pictures import PALETTE, figure_of, fonts_for, save
from scriptorium.training import storage
from scriptorium.training.main_scores import IN_TRAINING, higher_is_better, main_scores

# Curves with more points than this are drawn without markers.
MARKED_POINTS = 30
SMALL = 4  # panels side by side below the main ones
DRAW_SECONDS = 10  # drawing takes about half a second, which is long for small models
UNDRAWN = ("epoch", "step", "seconds", "tokens_per_second", "loss")  # columns that are left out of the figure


class History:
    """One row per epoch, in `history.csv` and drawn in `history.png`, at most `DRAW_SECONDS` later or by `finish`.

    Args:
        directory: Path of the run.
        epochs: rows after this epoch are dropped: a resumed run writes them again.
    """

    def __init__(self, directory, epochs=0):
        self.directory, self.rows = directory, []
        self.drawn, self.is_drawn = time.monotonic(), True  # when the figure was drawn, and whether it shows all rows
        self.best = None  # the epoch of the best weights; None: the one with the best main score
        # If the table cannot be read, start a new one: training must not fail because of it.
        with contextlib.suppress(OSError, ValueError, TypeError, csv.Error):
            text = (directory / "history.csv").read_text("utf-8") if (directory / "history.csv").is_file() else ""
            table = csv.DictReader(io.StringIO(text, newline=""))
            rows = [{name: _number(value) for name, value in row.items() if name and value} for row in table]
            self.rows = [row for row in rows if isinstance(row.get("epoch"), int) and row["epoch"] <= epochs]

    def add(self, row):
        """Adds a row, replacing that of the same epoch and later ones; writes the table, and now and then draws it."""
        # Scores are float32, which has seven digits.
        row = {name: float(f"{v:.7g}") if isinstance(v, float) else v for name, v in row.items()}
        self.rows = [r for r in self.rows if r["epoch"] < row["epoch"]] + [row]
        names = list(dict.fromkeys(name for r in self.rows for name in r))
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        storage.write_text(self.directory / "history.csv", text.getvalue())
        self.is_drawn = False
        if time.monotonic() - self.drawn >= DRAW_SECONDS:
            self.draw()

    def finish(self):
        """Draws the rows that are not drawn yet."""
        if not self.is_drawn:
            self.draw()

    def columns(self):
        """Returns the history as a dict of name -> list of values."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row[name] for row in self.rows if name in row] for name in names}

    def draw(self):
        """Writes `history.png`: the main scores large, with the best epoch marked, and the others below."""
        known = dict.fromkeys(name for row in self.rows for name in row)
        names = list(validated(self.rows))
        # Columns without validation: weights, rates, losses of two players.
        names += [name for name in known if not name.startswith("val_") and name not in (*names, *UNDRAWN)]
        large = main_scores(names, IN_TRAINING, 2) or names[:1]
        small = [name for name in names if name not in large]
        if not names:
            return
        lines = math.ceil(len(small) / SMALL)
        figure = figure_of(11, 3.8 + 1.9 * lines)
        title = f"{self.directory.resolve().parent.name}/{self.directory.resolve().name}"
        figure.suptitle(title, fontsize=12, fontfamily=fonts_for(title)[0], parse_math=False)
        grid = figure.add_gridspec(1 + lines, 12, height_ratios=[3.6] + [1.9] * lines)
        best = self.best or best_epoch(self.rows, large[0])
        for place, name in enumerate(large):
            width = 12 // len(large)
            self._panel(figure.add_subplot(grid[0, place * width : (place + 1) * width]), name, best, is_large=True)
        for place, name in enumerate(small):
            line, column = divmod(place, SMALL)
            width = 12 // SMALL
            self._panel(figure.add_subplot(grid[1 + line, column * width : (column + 1) * width]), name, best)
        with storage.replacing(self.directory / "history.png") as temporary:
            save(figure, temporary, dpi=110)
        self.drawn, self.is_drawn = time.monotonic(), True

    def _panel(self, axes, name, best, is_large=False):
        """Draws the curves of a score; `best` is the epoch to mark, or None."""
        validated = dict(points_of(self.rows, f"val_{name}"))
        for key, label, color in ((name, "training", PALETTE[0]), (f"val_{name}", "validation", PALETTE[1])):
            points = points_of(self.rows, key)
            if points:
                style = {"marker": "o" if len(points) <= MARKED_POINTS else None, "markersize": 4 if is_large else 2}
                width = 1.8 if is_large else 1.2
                axes.plot(*zip(*points, strict=True), label=label, color=color, linewidth=width, **style)
        title = textwrap.shorten(name, 40)
        if best is not None:
            axes.axvline(best, color="0.6", linewidth=1, linestyle=":", zorder=0)
            if is_large and best in validated:
                title += f": {validated[best]:.4g} in epoch {best}"
                axes.plot(
                    best, validated[best], marker="*", markersize=13, color="black", linestyle="none", label="best"
                )
        axes.set_title(title, fontsize=11 if is_large else 9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=8 if is_large else 7)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if is_large:
            axes.legend(fontsize=8, frameon=False)


def points_of(rows, key):
    """Returns the (epoch, value) of the rows that have a finite number in a column."""
    points = [(row["epoch"], row[key]) for row in rows if isinstance(row.get(key), (int, float))]
    return [(x, y) for x, y in points if math.isfinite(y)]


def validated(rows):
    """Returns the names of the scores that rows have of the validation split, a dict whose values are None."""
    return dict.fromkeys(name[4:] for row in rows for name in row if name.startswith("val_"))


def best_epoch(rows, name):
    """Returns the epoch of the best validation score with a name, or None if there is none."""
    choose = max if higher_is_better(name) else min
    points = points_of(rows, f"val_{name}")
    return choose(points, key=lambda point: point[1])[0] if points else None


def _number(text):
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() and "." not in text else value
