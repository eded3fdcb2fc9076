"""Compare: which runs are there, how do they differ, and which is best?

Without arguments, all runs are listed, the newest first: what they were trained on, what differs from the defaults, how
far they were trained, and their scores. Named runs are set side by side, with the options that differ.

Try:
    python compare.py
    python compare.py --script sentences --sort neg_elbo       the best one first
    python compare.py tall wide --plot curves.png              two runs by name, and a picture of their curves

Nothing is loaded but what training wrote, so the answer comes at once, also while training goes on. To delete a run or
to rename it, delete or rename its folder: `rm -r runs/sentences/NAME`, `mv runs/sentences/NAME runs/sentences/OTHER`.
"""

import itertools
import json
import math
import os
import shutil
import sys
import textwrap

from scriptorium import UserError, pictures
from scriptorium.command_line import Parser, command, one_line
from scriptorium.streams import note
from scriptorium.training import finding, overview
from scriptorium.training.console import readable
from scriptorium.training.main_scores import IN_TRAINING, ON_TEST, higher_is_better, main_scores

SCRIPTS = ("chars", "words", "sentences", "names_vae", "transformer_vae", "text_gan")
TEST_SCORES = 4  # shown in the list
MOST_CURVES, MOST_PANELS = 10, 6
IGNORED = (  # options that say nothing about what was trained
    *("name", "logdir", "resume", "eval", "sample", "interactive", "text", "save", "dry_run", "output_every", "score"),
    *("temperature", "top_k", "top_p", "beam", "num_samples", "gen_length", "iw_samples", "save_minutes"),
)
GAP, INDENT, NARROWEST = "  ", "    ", 40


# Reading --------------------------------------------------------------------------------------------------------------


def all_runs(logdir, script):
    """Returns an `Overview` of each run, the newest first; those that are damaged are reported and left out."""
    scripts = [script] if script else SCRIPTS
    directories = finding.newest_first(logdir, scripts)
    if not directories:
        directories = finding.bundled(scripts)
        note(f"There is no run of your own in {readable(logdir)} yet; these are the bundled ones.")
    runs = []
    for directory in directories:
        try:
            runs.append(overview.read(directory))
        except UserError as error:
            note(f"left out: {error}")
    return runs


def named_runs(names, logdir, script):
    """Returns an `Overview` of each run asked for, by name or path."""
    scripts = [script] if script else SCRIPTS
    return [overview.read(finding.find(name, logdir, scripts, to_use=True)) for name in names]


def sort(runs, score):
    """Returns runs sorted by a score, the best first and those without it last.

    Raises:
        UserError: no run has this score.
    """
    if not any(run.score(score) is not None for run in runs):
        known = dict.fromkeys(name for run in runs for name in (*run.test, *run.best))
        raise UserError(f"no run has a score {score}; there are {', '.join(sorted(known)) or 'none'}")
    sign = -1 if higher_is_better(score) else 1
    return sorted(runs, key=lambda run: math.inf if run.score(score) is None else sign * run.score(score))


# Showing --------------------------------------------------------------------------------------------------------------


def number(value):
    """Returns a score with four digits, or any other value, as text."""
    if isinstance(value, float):
        return f"{value:#,.4g}".rstrip(".") if abs(value) < 10_000 else f"{value:,.0f}"
    return one_line(value)


def size(count):
    """Returns a count of parameters: 950, 13k, 2.5M."""
    if count is None:
        return ""
    return f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count / 1e3:.0f}k" if count >= 1e3 else str(count)


def epochs(run):
    """Returns how many epochs are done of those asked for."""
    return f"{run.done}/{run.asked}" + " now" * run.is_training


def validation(run):
    """Returns the main validation scores of the best epoch, as one line."""
    return ", ".join(f"{name} {number(value)}" for name, (value, _) in run.best.items())


def test(run, first=None):
    """Returns the main test scores, as one line; `first` is the name of one that is always among them."""
    names = main_scores(run.test, ON_TEST, TEST_SCORES)
    names = [*([first] if first in run.test and first not in names else []), *names]
    return ", ".join(f"{name} {number(run.test[name])}" for name in names)


def listed(runs, width, first=None):
    """Returns the list of runs as lines: a row for each, or a row and indented lines where the width is too small.

    Args:
        runs: list of `Overview`.
        width: of the terminal, in columns; None for no limit.
        first: name of a score that is shown where a run has it.
    """
    heads = ("script", "name", "corpus", "epochs", "minutes", "parameters")
    rows = [(run.script, run.name, run.corpus, epochs(run), f"{run.minutes:.1f}", size(run.parameters)) for run in runs]
    details = {
        "best validation": [validation(run) for run in runs],
        "test": [test(run, first) for run in runs],
        "options": [run.described_options for run in runs],
    }
    more = zip(*details.values(), strict=True)
    wide = columns([(*heads, *details), *(row + texts for row, texts in zip(rows, more, strict=True))])
    if width is None or max(map(len, wide)) <= width:
        return wide
    lines = columns([heads, *rows])
    if max(map(len, lines)) > width:
        lines = columns([heads[:5], *(row[:5] for row in rows)])
    if max(map(len, lines)) > width:
        lines = [" ".join(row[:4]) for row in [heads, *rows]]
    shown, wrap = lines[:1], {"width": max(width, NARROWEST), "initial_indent": INDENT, "subsequent_indent": INDENT * 2}
    wrap["break_on_hyphens"] = False
    for i, line in enumerate(lines[1:]):
        shown.append(line)
        for label, texts in details.items():
            shown += textwrap.wrap(f"{label}: {texts[i]}", **wrap) if texts[i] else []
    return shown


def columns(rows):
    """Returns rows of texts as lines whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [GAP.join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def side_by_side(runs, width):
    """Returns named runs as columns, with the options that differ and all scores, as lines."""
    heads = [run.name if len({run.name for run in runs}) == len(runs) else readable(run.directory) for run in runs]
    facts = {
        "script": [run.script for run in runs],
        "corpus": [run.corpus for run in runs],
        "epochs": [epochs(run) for run in runs],
        "minutes": [f"{run.minutes:.1f}" for run in runs],
        "parameters": ["" if run.parameters is None else f"{run.parameters:,}" for run in runs],
    }
    blocks = {"": facts, "options that differ": differing_options(runs)}
    names = dict.fromkeys(itertools.chain.from_iterable(run.best for run in runs))
    blocks["validation, best epoch"] = {
        name: [f"{number(run.best[name][0])} ({run.best[name][1]})" if name in run.best else "" for run in runs]
        for name in names
    }
    names = dict.fromkeys(itertools.chain.from_iterable(run.test for run in runs))
    blocks["test"] = {name: [number(run.test[name]) if name in run.test else "" for run in runs] for name in names}
    rows = [("", *heads)]
    for title, block in blocks.items():
        if block:
            rows += [(title, *[""] * len(runs))] if title else []
            rows += [(f"{GAP if title else ''}{name}", *map(str, values)) for name, values in block.items()]
    # A value too long for its column, such as a path, is cut.
    first = max(len(row[0]) for row in rows)
    most = max(8, (width - first) // len(runs) - len(GAP)) if width else math.inf
    return columns([(name, *(t if len(t) <= most else t[: most - 1] + "…" for t in texts)) for name, *texts in rows])


def differing_options(runs):
    """Returns the options in which runs differ, of those that all have: a dict of name -> list of a text for each."""
    names = [name for name in runs[0].options if name not in IGNORED and all(name in run.options for run in runs)]
    values = {name: [one_line(run.options[name]) for run in runs] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def as_json(runs):
    """Returns runs as plain values."""
    plain = (*("script", "name", "corpus", "changed", "options", "parameters", "minutes", "is_training", "test"),)
    return [
        {name: getattr(run, name) for name in plain}
        | {"directory": str(run.directory), "epochs_done": run.done, "epochs": run.asked}
        | {"best_validation": {name: {"value": value, "epoch": epoch} for name, (value, epoch) in run.best.items()}}
        for run in runs
    ]


def plot(runs, path):
    """Draws the validation curves of runs: a panel for each of the main scores, a line for each run."""
    scores = dict.fromkeys(
        name for run in runs for name in main_scores({key[4:] for row in run.rows for key in row}, IN_TRAINING, 2)
    )
    scores = list(scores)[:MOST_PANELS]
    if not scores:
        raise UserError("none of these runs has a curve yet: a curve begins with the first validation")
    across = min(len(scores), 3)
    down = math.ceil(len(scores) / across)
    figure = pictures.figure_of(5 * across, 3.6 * down)
    for place, name in enumerate(scores, 1):
        axes = figure.add_subplot(down, across, place, title=name, xlabel="epoch", ylabel="validation")
        for run, color in zip(runs, pictures.distinct_colors(len(runs)), strict=True):
            points = [(row["epoch"], row[f"val_{name}"]) for row in run.rows if f"val_{name}" in row]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, label=f"{run.script}/{run.name}", marker=".")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8, frameon=False)
    pictures.save(figure, path)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    parser = Parser("compare", __doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names or paths of runs to set side by side")
    add = parser.group("runs")
    add("-T", "--logdir", metavar="DIR", default=finding.RUNS, help="folder of the runs", older=["--tb-directory"])
    add("--script", choices=SCRIPTS, help="only the runs of this script")
    add("--sort", metavar="SCORE", help="sort by a score, such as neg_elbo: the best first")
    add = parser.group("output")
    add("--plot", metavar="FILE", help="also draw the validation curves: .png, .svg or .pdf")
    add("--json", action="store_true", help="print JSON")
    return parser.parse(argv)


def main(args):
    if args.plot:
        pictures.check_path(args.plot)
    runs = named_runs(args.runs, args.logdir, args.script) if args.runs else all_runs(args.logdir, args.script)
    if args.sort:
        runs = sort(runs, args.sort)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None
    if args.json:
        print(json.dumps(as_json(runs), ensure_ascii=False, indent=2))
    elif len(args.runs) > 1:
        print(*side_by_side(runs, width), sep="\n")
    else:
        print(*listed(runs, width, args.sort), sep="\n")
    if args.plot:
        if len(runs) > MOST_CURVES:
            note(f"drawing the first {MOST_CURVES} of {len(runs)} runs; name those that you want to see")
        plot(runs[:MOST_CURVES], args.plot)


if __name__ == "__main__":
    command(main, parse_args)
