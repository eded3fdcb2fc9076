"""The leaderboard: how many minutes of training it takes to reach a score that others have published.

    python benchmarks/board.py RUN [RUN ...]

RUN is the folder of a finished run whose scores are in eval.json. For each target that its best weights reach on the
test split, LEADERBOARD.md gets a row with the minutes of training until the end of the epoch that these weights are
from, the command, the commit and the machine. These two are those of now, so add a row where and when you have trained
the run. Anybody can.
"""

import argparse
import dataclasses
import datetime
import json
import shlex
import subprocess
from pathlib import Path

import common

BOARD = Path(__file__).with_name("LEADERBOARD.md")
COLUMNS = ("minutes", "score", "command", "seed", "commit", "machine", "date")
MONITORS = {
    "chars": ("val_nats_per_char",),
    "words": ("val_perplexity",),
    "sentences": ("val_neg_elbo", "val_nll"),
    "names_vae": ("val_neg_elbo", "val_nll"),
    "transformer_vae": ("val_neg_elbo",),
}
HIDDEN = {"-T", "--logdir", "--name", "-o", "--output-every", "-D", "--data", "-r", "--seed"}  # not in a command


@dataclasses.dataclass
class Task:
    """A score that others have published.

    Attributes:
        title: what is measured on which text.
        script: the script of the runs that count.
        score: its name in eval.json.
        targets: values to reach.
        count, sizes: the entry of eval.json that tells the test split, and the values it may have; () for any.
        higher: whether more is better.
    """

    title: str
    script: str
    score: str
    targets: tuple
    count: str
    sizes: tuple
    higher: bool = False

    def headings(self):
        """Returns the heading of the table of each target, dict of heading -> target."""
        return {f"{self.title}: {target:g} or {'more' if self.higher else 'less'}": target for target in self.targets}


TASKS = (
    Task("tinyshakespeare, nats per character", "chars", "nats_per_char", (1.4697,), "characters", (111_540,)),
    Task("Penn Treebank, perplexity", "words", "perplexity", (100, 82.1, 78.3), "tokens", (82_430,)),
    Task("Penn Treebank, iw_nll per sentence", "sentences", "iw_nll", (101, 99.5), "texts", (3_761,)),
    Task("names.txt, split of makemore, nats per character", "names_vae", "nats_per_char", (1.92,), "texts", (1_000,)),
    Task(
        "names.txt, split of the lecture, nats per character", "names_vae", "nats_per_char", (1.98,), "texts", (3_204,)
    ),
    Task("lines of Python, share reconstructed exactly", "transformer_vae", "exact_match", (0.9,), "texts", (), True),
)
INTRO = (
    "# Leaderboard\n\nMinutes of training until a published score is reached, by command, commit and machine. A run"
    " reaches a target if its best weights do, on the test split; its time is that of training until the end of the"
    " epoch that these weights are from. Each row is one run with one seed. To add a row, train a run, score it with"
    " `--eval`, and add it:\n\n    python benchmarks/board.py RUN\n"
)


def command_of(config):
    """Returns the command of a run, without folders, names and what does not matter."""
    kept, words = [], iter(config["argv"])
    for word in words:
        if word.split("=")[0] in HIDDEN:
            if "=" not in word:
                next(words, None)
            continue
        kept.append(word)
    return f"`{shlex.join([config['script'] + '.py', *kept])}`"


def commit():
    """Returns the commit of the project, with a plus if files were changed since."""
    run = {"cwd": common.ROOT, "capture_output": True, "text": True, "check": True}
    name = subprocess.run(["git", "rev-parse", "--short", "HEAD"], **run).stdout.strip()
    return name + ("+" if subprocess.run(["git", "status", "--porcelain", "-uno"], **run).stdout.strip() else "")


def rows_of(run):
    """Returns the rows that a run earns: list of (heading of a table, dict)."""
    config = json.loads((run / "config.json").read_text("utf-8"))
    scores, earned = common.scores_of(run), []
    for task in TASKS:
        value = scores.get(task.score)
        right_split = not task.sizes or scores.get(task.count) in task.sizes
        if config["script"] != task.script or value is None or not right_split:
            continue
        for heading, target in task.headings().items():
            if value >= target if task.higher else value <= target:
                row = {"minutes": f"{common.minutes_of_best(run, MONITORS[task.script]):.1f}", "score": f"{value:.5g}"}
                row |= {"command": command_of(config), "seed": str(config["seed"]), "commit": commit()}
                row |= {"machine": f"{common.processor()}; {config['device']}", "date": str(datetime.date.today())}
                earned.append((heading, row))
    return earned


def read_board():
    """Returns the rows of LEADERBOARD.md: dict of heading -> list of dicts."""
    found, rows = {heading: [] for task in TASKS for heading in task.headings()}, None
    for line in BOARD.read_text("utf-8").splitlines() if BOARD.exists() else ():
        if line.startswith("## "):
            rows = found.setdefault(line[3:], [])
        elif rows is not None and line.startswith("| ") and not line.startswith(("| minutes", "| ---")):
            rows.append(dict(zip(COLUMNS, (cell.strip() for cell in line.strip("| \n").split(" | ")), strict=True)))
    return found


def write_board(board):
    """Writes LEADERBOARD.md, the fastest runs first."""
    text = INTRO
    for title, rows in board.items():
        text += f"\n## {title}\n\n"
        ordered = sorted(rows, key=lambda row: float(row["minutes"]))
        text += common.table(ordered) + "\n" if rows else "No run has been entered yet.\n"
    BOARD.write_text(text, "utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    args = parser.parse_args()
    board = read_board()
    for run in args.runs:
        earned = rows_of(run)
        for title, row in earned:
            board[title].append(row)
        print(f"{run}: " + ("; ".join(title for title, _ in earned) or "no target reached"))
    write_board(board)


if __name__ == "__main__":
    main()
