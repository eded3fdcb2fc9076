"""Pictures of walks: texts that do not lie on one another, and signs that no font has."""

import itertools

from scriptorium import pictures
from scriptorium.pictures import figure_of
from scriptorium.training import history

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


@pytest.mark.parametrize("steps", [2, 7, 60])
def test_no_text_lies_on_another_or_outside(steps):
    random = np.random.default_rng(1)
    cloud = random.normal(size=(50, 6))
    points = np.linspace(0, 1, steps)[:, None] * np.array([[0.01, 0.02, 0, 0, 0, 0]])  # all but in one place
    labels = [(step, f"text {step} " + "of many long words $x_1$ " * 8) for step in range(steps)]
    figure, missing = pictures.walk(cloud, points, labels, "a walk")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # An annotation's own box holds its leader too: compare the boxes of the letters.
    numbers, written = figure.axes[1].texts[::2], figure.axes[1].texts[1::2]
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in written]
    assert len(boxes) == min(steps, pictures.MAX_LABELS) and missing == ""
    assert numbers[0].get_text() in ("0", "0-1") and numbers[-1].get_text() == str(steps - 1)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    width, height = figure.get_size_inches() * figure.dpi
    axes = figure.axes[0].get_window_extent()
    assert all(axes.x1 < box.x0 and box.x1 < width and box.y0 > 0 and box.y1 < height for box in boxes)
    texts = [text.get_text() for text in written]
    assert texts[0].startswith("text 0 ") and texts[-1].startswith(f"text {steps - 1} ")  # read from top to bottom
    assert all(text.count("\n") == 1 and text.endswith("…") for text in texts)


def test_principal_plane_of_a_known_cloud():
    random = np.random.default_rng(1)
    cloud = random.normal(size=(4000, 3)) * [1.0, 3.0, 2.0] + [5, 0, 0]
    mean, directions, shares = pictures.principal_plane(cloud)
    np.testing.assert_allclose(mean, [5, 0, 0], atol=0.2)
    np.testing.assert_allclose(np.abs(directions), [[0, 1, 0], [0, 0, 1]], atol=0.1)
    np.testing.assert_allclose(shares, [9 / 14, 4 / 14], atol=0.03)


@pytest.mark.parametrize("shape", [(1, 5), (20, 1)])
def test_a_cloud_that_spans_no_plane(shape, tmp_path):
    cloud = np.random.default_rng(1).normal(size=shape)
    figure, _ = pictures.walk(cloud, cloud[:1] * np.ones((3, 1)), [(0, "a"), (2, "")], "a walk")
    assert [text.get_text() for text in figure.axes[1].texts] == ["0-1", "a", "2", "(empty)"]
    pictures.save(figure, tmp_path / "walk.png")
    assert (tmp_path / "walk.png").stat().st_size > 1000


def test_signs_without_a_font_are_named():
    private = "\ue123"  # of nobody's alphabet
    families, missing = pictures.fonts_for(f"word {private}")
    assert families[0] == "DejaVu Sans"
    assert missing in ("", private)
    assert pictures.fonts_for("a word, ein Wörtchen, слово, λέξη") == (["DejaVu Sans"], "")


def test_missing_signs_come_from_another_font(monkeypatch):
    """A file of fonts that has the sign is taken, one that cannot be read is passed over."""
    from matplotlib import font_manager

    serif = font_manager.findfont("STIXGeneral")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["nothing.ttf", serif])
    from matplotlib.ft2font import FT2Font

    held = set(FT2Font(serif).get_charmap()) - set(FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())
    sign = next(chr(code) for code in sorted(held) if chr(code).isprintable())
    assert pictures.fonts_for(f"a{sign}") == (["DejaVu Sans", "STIXGeneral"], "")


def test_chinese_lines_are_half_as_long():
    assert max(map(len, pictures.wrapped("这" * 100).split("\n"))) <= pictures.MAX_COLUMNS // 2
    assert max(map(len, pictures.wrapped("word " * 100).split("\n"))) <= pictures.MAX_COLUMNS


def test_classes_have_their_names_and_colors_that_everybody_can_tell_apart():
    points = np.repeat(np.arange(10.0), 5)[:, None] * [0.01, 0.02] + [[0, 0], [0, 9], [9, 0], [9, 9], [4, 4]] * 10
    labels = [f"language {i}" for i in range(10) for _ in range(5)]
    axes = pictures.classes(points, labels, "codes").axes[0]
    assert [text.get_text() for text in axes.texts] == sorted(set(labels))
    axes.figure.canvas.draw()
    boxes = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    styles = [(tuple(drawn.get_facecolor()[0]), drawn.get_paths()[0].vertices.shape) for drawn in axes.collections]
    assert len(set(styles)) == 10 and len({color for color, _ in styles}) == len(pictures.PALETTE)
    assert len(pictures.distinct_colors(3)) == 3 and len(set(pictures.distinct_colors(20))) == 20


def test_the_history_is_drawn_with_its_best_epoch(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(history, "figure_of", lambda *size: drawn.append(figure_of(*size)) or drawn[-1])
    (tmp_path / "tiny" / "mine").mkdir(parents=True)
    table = history.History(tmp_path / "tiny" / "mine")
    for epoch, (elbo, kl) in enumerate([(9.0, 1.0), (7.0, 2.0), (8.0, 3.0)], 1):
        validated = {"val_neg_elbo": elbo, "val_kl": kl, "val_bleu": 0.1}
        table.add({"epoch": epoch, "step": epoch, "neg_elbo": elbo - 1, "kl": kl, "learning_rate": 1} | validated)
    assert not drawn  # the epochs were quick
    table.finish()
    table.finish()
    (figure,) = drawn
    assert figure.get_suptitle() == "tiny/mine"
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["neg_elbo: 7 in epoch 2", "kl: 2 in epoch 2", "bleu", "learning_rate"]
    sizes = [axes.get_position().width * axes.get_position().height for axes in figure.axes]
    assert min(sizes[:2]) > 2 * max(sizes[2:])
