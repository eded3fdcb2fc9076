"""Compare: which runs are there, how do they differ, and which is best?

Without arguments, all runs are listed, the newest first: what they were trained on, what differs from the defaults, how
far they were trained, and their scores. Named runs are set side by side, with the options that differ.

Try:
    python compare.py
    python compare.py --script sentences --sort neg_elbo       the best one first
    python compare.py tall wide --plot curves.png              two runs by name, and a picture of their curves

It reads only what training wrote, so it answers at once, even while a run is training. To delete a run or to rename it,
delete or rename its folder: `rm -r runs/sentences/NAME`, `mv runs/sentences/NAME runs/sentences/OTHER`.
"""

import itertools
import json
import math
import os
import shutil
import sys
import textwrap
import unicodedata
from pathlib import Path

from scriptorium import UserError, pictures
from scriptorium.command_line import Parser, command, one_line
from scriptorium.streams import note
from scriptorium.training import finding, overview, trained
from scriptorium.training.console import readable, short
from scriptorium.training.history import points_of, validated
from scriptorium.training.main_scores import IN_TRAINING, ON_TEST, higher_is_better, main_scores

TEST_SCORES = 4  # shown in the list
MOST_CURVES, MOST_PANELS = 10, 6
IGNORED = (  # options that say nothing about what was trained
    *("name", "logdir", "resume", "eval", "sample", "interactive", "text", "save", "dry_run", "output_every", "score"),
    *("temperature", "top_k", "top_p", "beam", "num_samples", "gen_length", "iw_samples", "save_minutes"),
    *("noise_level", "guidance", "prior_scale", "radius", "label", "anchor", "prefix", "style_seed", "eval_samples"),
    *("eval_window", "cache", "cache_share", "cache_sharpness", "check", "labeled", "labels", "label_counts"),
    "prepared",
)
GAP, INDENT, NARROWEST = "  ", "    ", 40


# Reading --------------------------------------------------------------------------------------------------------------


def all_runs(logdir, script):
    """Returns an `Overview` of each run, the newest first; those that are damaged are reported and left out."""
    if logdir != finding.RUNS and not Path(logdir).is_dir():
        raise UserError(f"there is no folder {readable(logdir)}")
    scripts = [script] if script else trained.SCRIPTS
    directories = finding.newest_first(logdir, scripts)
    if not directories:
        directories = finding.bundled(scripts)
        whose = f" of {script}.py" if script else " of your own"
        note(f"There is no run{whose} in {readable(logdir)} yet; these are the bundled ones.")
    runs = []
    for directory in directories:
        try:
            runs.append(overview.read(directory))
        except UserError as error:
            note(f"left out: {error}")
    return runs


def named_runs(names, logdir, script):
    """Returns an `Overview` of each run asked for, by name or path."""
    scripts = [script] if script else trained.SCRIPTS
    runs = [overview.read(finding.find(name, logdir, scripts, to_use=True)) for name in names]
    other = next((run for run in runs if run.script not in scripts), None)
    if other:
        raise UserError(f"{readable(other.directory)} is a run of {other.script}.py, not of {' or '.join(scripts)}")
    return runs


def sort(runs, score):
    """Returns runs sorted by a score, the best first and those without it last.

    Raises:
        UserError: no run has this score.
    """
    if not any(run.score(score) is not None for run in runs):
        known = sorted({name for run in runs for name in run.scores})
        raise UserError(f"no run has a score {score}; there are {', '.join(known) or 'none'}")
    sign = -1 if higher_is_better(score) else 1
    return sorted(runs, key=lambda run: math.inf if run.score(score) is None else sign * run.score(score))


# Showing --------------------------------------------------------------------------------------------------------------


def number(value):
    """Returns a score or an option as text, a float with four digits."""
    return short(value) if isinstance(value, float) and math.isfinite(value) else one_line(value)


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
    return ", ".join(f"{name} {number(value)}" for name, value in run.main_validation.items())


def test(run, sorted_by=None):
    """Returns the main test scores, as one line, among them the one that the runs are sorted by."""
    names = main_scores(run.test, ON_TEST, TEST_SCORES)
    names = [*([sorted_by] if sorted_by in run.test and sorted_by not in names else []), *names]
    return ", ".join(f"{name} {number(run.test[name])}" for name in names)


def listed(runs, width, sorted_by=None):
    """Returns the list of runs as lines: a row for each, or where the width is too small a paragraph for each.

    Args:
        runs: list of `Overview`.
        width: of the terminal, in columns; None for no limit.
        sorted_by: name of a score that is shown where a run has it.
    """
    heads = ("script", "name", "corpus", "epochs", "minutes", "parameters", "best validation", "test", "options")
    rows = [
        (
            *(run.script, run.name, run.corpus, epochs(run), f"{run.minutes:.1f}", size(run.parameters)),
            *(validation(run), test(run, sorted_by), run.described_options),
        )
        for run in runs
    ]
    lines = columns([heads, *rows])
    if width is None or max(map(columns_of, lines)) <= width:
        return lines
    wrap = {"width": max(width, NARROWEST), "subsequent_indent": INDENT * 2, "break_on_hyphens": False}
    lines = []
    for script, name, *cells in rows:
        lines += textwrap.wrap(f"{script}/{name}", **wrap)
        facts = ", ".join(f"{head} {cell}" for head, cell in zip(heads[2:6], cells[:4], strict=True) if cell)
        details = [facts, *(f"{head}: {cell}" for head, cell in zip(heads[6:], cells[4:], strict=True) if cell)]
        lines += [line for text in details for line in textwrap.wrap(text, initial_indent=INDENT, **wrap)]
    return lines


def columns_of(text):
    """Returns how many columns of a terminal a text takes: a Chinese character takes two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def columns(rows):
    """Returns rows of texts as lines whose columns are aligned."""
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]

    def padded(text, width):
        return text + " " * (width - columns_of(text))

    return [GAP.join(padded(*cell) for cell in zip(row, widths, strict=True)).rstrip() for row in rows]


def side_by_side(runs, width):
    """Returns named runs as columns, with the options that differ and all scores, as lines."""
    facts = {
        "script": [run.script for run in runs],
        "corpus": [run.corpus for run in runs],
        "epochs": [epochs(run) for run in runs],
        "best epoch": [number(run.best_epoch) if run.best_epoch else "" for run in runs],
        "minutes": [f"{run.minutes:.1f}" for run in runs],
        "parameters": ["" if run.parameters is None else f"{run.parameters:,}" for run in runs],
    }
    blocks = {"": facts, "options that differ": differing_options(runs)}
    for title, kind in (("validation, best epoch", "main_validation"), ("test", "test")):
        values = [getattr(run, kind) for run in runs]
        names = dict.fromkeys(itertools.chain.from_iterable(values))
        blocks[title] = {name: [number(v[name]) if name in v else "" for v in values] for name in names}
    # The runs are numbered, and their names stand above the table: they may be longer than any column.
    lines = [f"[{place}] {run.script}/{run.name}" for place, run in enumerate(runs, 1)]
    if len({(run.script, run.name) for run in runs}) < len(runs):
        lines = [f"[{place}] {readable(run.directory)}" for place, run in enumerate(runs, 1)]
    rows = [("", *(f"[{place}]" for place in range(1, len(runs) + 1)))]
    for title, block in blocks.items():
        if block:
            rows += [(title, *[""] * len(runs))] if title else []
            rows += [(f"{GAP if title else ''}{name}", *map(str, values)) for name, values in block.items()]
    # A value too long for its column, such as a path, is cut in its middle.
    first = max(len(row[0]) for row in rows)
    most = max(8, (width - first) // len(runs) - len(GAP)) if width else math.inf
    return [*lines, *columns([(name, *(shortened(text, most) for text in texts)) for name, *texts in rows])]


def shortened(text, most):
    """Returns a text of at most `most` characters; what is too long loses its middle."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"


def differing_options(runs):
    """Returns the options in which runs differ: a dict of name -> list of a text for each run.

    Of runs of several scripts, only the options that all have; else one that a run lacks, as older ones may, is "-".
    """
    names = dict.fromkeys(name for run in runs for name in run.options if name not in IGNORED)
    if len({run.script for run in runs}) > 1:
        names = [name for name in names if all(name in run.options for run in runs)]
    values = {name: [one_line(run.options.get(name, "-")) for run in runs] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def as_json(runs):
    """Returns runs as plain values."""
    plain = ("script", "name", "corpus", "changed", "options", "parameters", "minutes", "is_training", "best_epoch")
    return [
        {name: getattr(run, name) for name in plain}
        | {"directory": str(run.directory), "epochs_done": run.done, "epochs": run.asked}
        # A number that is not finite is a text, since JSON has no such numbers.
        | {"validation": run.validation}
        | {"test": {name: value if run.score(name) is not None else str(value) for name, value in run.test.items()}}
        for run in runs
    ]


def plot(runs, path):
    """Draws the validation curves of runs: a panel for each of the main scores, a line for each run."""
    scores = dict.fromkeys(name for run in runs for name in main_scores(validated(run.rows), IN_TRAINING, 2))
    scores = list(scores)[:MOST_PANELS]
    if not scores:
        raise UserError("none of these runs has a curve yet: a curve begins with the first validation")
    across = min(len(scores), 3)
    down = math.ceil(len(scores) / across)
    families, _ = pictures.fonts_for("".join(run.name for run in runs))
    figure = pictures.figure_of(5 * across, 3.6 * down)
    for place, name in enumerate(scores, 1):
        axes = figure.add_subplot(down, across, place, title=name, xlabel="epoch", ylabel="validation")
        for run, color in zip(runs, pictures.distinct_colors(len(runs)), strict=True):
            points = points_of(run.rows, f"val_{name}")
            if points:
                axes.plot(*zip(*points, strict=True), color=color, label=f"{run.script}/{run.name}", marker=".")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend = axes.legend(fontsize=8, frameon=False)
        for text in legend.get_texts() if legend else ():
            text.set(fontfamily=families, parse_math=False)
    pictures.save(figure, path)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    parser = Parser("compare", __doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names or paths of runs to set side by side")
    add = parser.group("runs")
    add("-T", "--logdir", metavar="DIR", default=finding.RUNS, help="folder of the runs", older=["--tb-directory"])
    add("--script", choices=trained.SCRIPTS, help="only the runs of this script")
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
