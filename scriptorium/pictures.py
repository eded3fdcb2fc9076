"""Figures of points in a latent space, labeled with texts that never overlap."""

import textwrap
import unicodedata
import warnings
from pathlib import Path

from scriptorium import UserError

import numpy as np

MAX_LABELS = 40  # labeled points
MAX_COLUMNS, MAX_LINES = 58, 2  # of a label
FONT_SIZE, LABEL_HEIGHT = 9, 0.42  # in points, in inches
MARKERS = ("o", "s", "^", "D")
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A900")


def check_path(path):
    """Raises `UserError` if no picture can be written to this path."""
    from matplotlib.backend_bases import FigureCanvasBase

    path, formats = Path(path), FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise UserError(f"{path}: a picture must be named {', '.join(f'*.{name}' for name in sorted(formats))}.")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist.")


def principal_plane(cloud):
    """Returns the mean of points (n, d), two principal directions (2, d) and their shares of the variance (2,)."""
    mean = cloud.mean(axis=0)
    _, lengths, directions = np.linalg.svd(cloud - mean, full_matrices=False)
    shares = lengths**2 / max(float(np.sum(lengths**2)), 1e-12)
    # One point, or one dimension, spans no plane: pad with 0.
    return mean, np.pad(directions, ((0, 2), (0, 0)))[:2], np.pad(shares, (0, 2))[:2]


def fonts_for(text):
    """Finds installed fonts for the characters of a text.

    Returns:
        list of font families to draw it with, and a str of the characters that no font has.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    def characters_of(path):
        return set(map(chr, FT2Font(path).get_charmap()))

    families, missing = ["DejaVu Sans"], {character for character in text if character.isprintable()}
    missing -= characters_of(font_manager.findfont(families[0]))
    styles = ("bold", "black", "light", "thin", "medium", "italic", "oblique", "mono")
    # The upright regular faces first.
    others = sorted(font_manager.findSystemFonts(), key=lambda path: (any(s in path.lower() for s in styles), path))
    for path in others if missing else ():
        try:
            covered = missing & characters_of(path)
            if covered:
                FT2Font(path).set_text("".join(covered))  # fails for bitmap fonts, which cannot be drawn
                font_manager.fontManager.addfont(path)
                families.append(font_manager.FontProperties(fname=path).get_name())
                missing -= covered
        except (OSError, RuntimeError):
            continue
    return families, "".join(sorted(missing))


def wrapped(text):
    """Returns a text in at most MAX_LINES lines of MAX_COLUMNS columns; a Chinese character takes two columns."""
    wide = any(unicodedata.east_asian_width(character) in "WF" for character in text)
    width = MAX_COLUMNS // 2 if wide else MAX_COLUMNS
    return "\n".join(textwrap.wrap(text, width, max_lines=MAX_LINES, placeholder=" …")) or "(empty)"


def walk(cloud, points, labels, title):
    """Draws a walk: on the left over the two principal components of a cloud of points, on the right its texts.

    A point has the same color on both sides, from dark to light.

    Args:
        cloud: float (n, d).
        points: float (steps, d), the walk.
        labels: list of (step, text), in order: a text stands for all steps until the next one. At most MAX_LABELS of
            them are drawn, evenly spaced, with the first and the last.
        title: str.

    Returns:
        `matplotlib.figure.Figure`, and a str of the characters that no installed font has.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    mean, directions, shares = principal_plane(cloud)
    cloud, points = (cloud - mean) @ directions.T, (points - mean) @ directions.T  # (n, 2), (steps, 2)
    chosen = np.unique(np.linspace(0, len(labels) - 1, min(MAX_LABELS, len(labels))).astype(int))
    ends = [step - 1 for step, _ in labels[1:]] + [len(points) - 1]
    families, missing = fonts_for("".join(text for _, text in labels) + title)
    colors = colormaps["plasma"](np.linspace(0, 0.85, len(points)))
    letters = {"fontfamily": families, "parse_math": False}

    figure = Figure((12, max(4.5, 1.2 + LABEL_HEIGHT * len(chosen))), dpi=120)
    margin = 0.65 / figure.get_figheight()
    axes = figure.add_axes((0.06, margin, 0.36, 1 - 1.7 * margin))
    axes.scatter(*cloud.T, s=9, color="0.8", linewidths=0)
    axes.plot(*points.T, color="0.4", linewidth=1, zorder=2)
    axes.scatter(*points.T, s=36, c=colors, zorder=3)
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left", **letters)
    axes.set_xlabel(f"principal component 1 ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"principal component 2 ({shares[1]:.0%})")
    strip = figure.add_axes((0.44, margin, 0.55, 1 - 1.7 * margin), xlim=(0, 1), ylim=(len(chosen) - 0.5, -0.5))
    strip.set_axis_off()
    strip.plot([0.08, 0.08], [0, len(chosen) - 1], color="0.4", linewidth=1, zorder=2)
    for row, i in enumerate(chosen):
        (step, text), end = labels[i], ends[i]
        strip.scatter(0.08, row, s=48, color=colors[step], zorder=3)
        number = f"{step}" if end <= step else f"{step}-{end}"
        strip.text(0.055, row, number, ha="right", va="center", fontsize=FONT_SIZE - 1, color="0.4")
        strip.text(0.11, row, wrapped(text), va="center", fontsize=FONT_SIZE, **letters)
    return figure, missing


def classes(points, labels, title):
    """Draws points colored by class, over the two directions in which the class means differ most.

    Args:
        points: float (n, d).
        labels: list of n str.
        title: str.

    Returns:
        `matplotlib.figure.Figure`.
    """
    names, labels = sorted(set(labels)), np.array(labels)
    means = np.stack([points[labels == name].mean(axis=0) for name in names])
    center, directions, shares = principal_plane(means)
    figure = figure_of(9, 7)
    axes = figure.add_subplot(title=title)
    families, _ = fonts_for("".join(names) + title)
    # Colors repeat with other markers: no palette has more colors that everybody can tell apart.
    styles = [(color, marker) for marker in MARKERS for color in PALETTE]
    for i, (name, mean) in enumerate(zip(names, (means - center) @ directions.T, strict=True)):
        color, marker = styles[i % len(styles)]
        drawn = ((points[labels == name] - center) @ directions.T).T
        axes.scatter(*drawn, s=9, color=color, marker=marker, alpha=0.4, linewidths=0)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": color, "alpha": 0.85}
        leader = {"arrowstyle": "-", "color": color, "linewidth": 0.8}
        style = {"ha": "center", "va": "center", "fontsize": FONT_SIZE, "fontfamily": families}
        axes.annotate(name, mean, (0, 0), textcoords="offset pixels", bbox=box, arrowprops=leader, **style)
    move_apart(figure, axes.texts)
    axes.set_xlabel(f"first direction of the class means ({shares[0]:.0%} of their variance)")
    axes.set_ylabel(f"second direction ({shares[1]:.0%})")
    return figure


def move_apart(figure, labels):
    """Moves annotations up and down until none lies on another, as far as they can; their offsets are in pixels."""
    figure.canvas.draw()
    # Left, bottom, right and top of each, with a pixel between them.
    boxes = np.array([label.get_bbox_patch().get_window_extent().padded(0.5).extents for label in labels])
    shifts = np.zeros(len(boxes))
    for _ in range(500):
        low, high = boxes[:, 1] + shifts, boxes[:, 3] + shifts
        beside = (boxes[:, None, 0] < boxes[None, :, 2]) & (boxes[None, :, 0] < boxes[:, None, 2])
        overlap = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
        overlap[~beside | np.eye(len(boxes), dtype=bool)] = 0
        if overlap.max(initial=0) <= 0:
            break
        middle, order = (low + high) / 2, np.arange(len(boxes))
        above = (middle[:, None] > middle[None]) | ((middle[:, None] == middle[None]) & (order[:, None] > order[None]))
        shifts += (np.maximum(overlap, 0) * np.where(above, 0.5, -0.5)).sum(axis=1).clip(-10, 10)
    for label, shift in zip(labels, shifts, strict=True):
        label.set_position((0, shift))


def save(figure, path, **settings):
    """Writes a figure to a path, whose suffix sets the format; further settings as for matplotlib's `savefig`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # `walk` returned the missing characters
        figure.savefig(path, **settings)


def figure_of(width=7.0, height=4.0):
    """Returns a matplotlib figure that needs no display; the size is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def distinct_colors(count):
    """Returns `count` colors that the color-blind can tell apart (Okabe and Ito 2008); from the ninth on, a scale."""
    from matplotlib import colormaps

    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return [colormaps["viridis"](share) for share in np.linspace(0, 0.95, count)]


def bars(title, values, xlabel, ylabel):
    """Returns a figure with one bar for each of `values` (n,), numbered from 0."""
    figure = figure_of()
    axes = figure.add_subplot(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.bar(range(len(values)), values)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure
