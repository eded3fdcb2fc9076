"""docs/tour.ipynb: every cell runs, and gives as many lines and figures as the notebook shows."""

import ast
import contextlib
import io
import json
import re

from scriptorium import ROOT

import matplotlib.pyplot as plt
import numpy as np
import pytest

NOTEBOOK = json.loads((ROOT / "docs" / "tour.ipynb").read_text("utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(source, names):
    """Runs a cell as a notebook does; returns what it prints and the value of its last line, if it has one."""
    parts = ast.parse(source)
    last = parts.body.pop() if isinstance(parts.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(parts, "tour", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "tour", "eval"), names) if last else None
    return printed.getvalue(), value


@pytest.fixture(scope="module")
def outcomes():
    """What all cells print and return, and how many figures each draws."""
    names, found = {}, []
    with pytest.MonkeyPatch.context() as patch:
        figures = []
        patch.setattr(plt, "show", lambda: figures.append(plt.close("all")))
        for cell in CELLS:
            before = len(figures)
            found.append((*run("".join(cell["source"]), names), len(figures) - before))
    return found


def test_every_cell_gives_as_many_lines_and_figures_as_the_notebook_shows(outcomes):
    for cell, (printed, value, figures) in zip(CELLS, outcomes, strict=True):
        streams = ["".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream"]
        pictures = sum("image/png" in one.get("data", {}) for one in cell["outputs"])
        shown = any(one["output_type"] == "execute_result" for one in cell["outputs"])
        assert "".join(streams).count("\n") == printed.count("\n"), cell["source"]
        assert pictures == figures and shown == (value is not None), cell["source"]


def test_a_direction_moves_sentences_to_the_past(outcomes):
    text = "".join(printed for printed, _, _ in outcomes)
    assert "1 ['the children played football.', 'the old man was happy.']" in text


def test_no_model_needs_fewer_nats_than_the_truth(outcomes):
    text = "".join(printed for printed, _, _ in outcomes)
    truth, model = map(float, re.search(r"truth ([\d.]+) nats per sentence, model ([\d.]+)", text).groups())
    assert truth < model < truth + 1.5
    assert np.isfinite([truth, model]).all()
