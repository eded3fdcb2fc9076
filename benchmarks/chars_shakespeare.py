"""chars.py on tinyshakespeare: nats per character on its last 111,540 characters.

    python benchmarks/chars_shakespeare.py INPUT [--budget short] [-T LOGDIR] [--seed 1]

INPUT is the text of 1,115,394 characters (Karpathy 2015); the first 1,003,854 are for training. With
`--budget held-out`, 50,000 of these are cut out to choose the best epoch, and nothing is chosen on the characters that
are scored. They are the end of a play (Measure for Measure). The text after them begins the play that the scored text
continues; without it, no model would know the names of its speakers. The other budgets have no third part, as in the
published results, which choose on the scored text.

Two scores: with the whole past carried, and in windows of 256 characters that begin without a past, like those that
nanoGPT is scored in.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import common

TRAIN, WINDOW = 1_003_854, 256
HELD_OUT = slice(TRAIN - 88_000, TRAIN - 38_000)
LONG = ["-e", 11, "-l", 4e-3, "--dropout", 0.4, "--weight-drop", 0.2, "--reset-probability", 0.02, "--ema", 0.99]
LONG += ["-L", 512, "--num-layers", 2]
BUDGETS = {
    "short": ["-e", 5, "-b", 64, "-l", 4e-3, "--dropout", 0.1],
    "long": ["-e", 16, "-l", 3e-3, "--dropout", 0.4, "-L", 512, "--num-layers", 2],
    "held-out": LONG,
}
PUBLISHED = [
    {"model": "6-gram count model (Kneser-Ney)", "nats_per_char": 1.600},
    {"model": "transformer, nanoGPT's recipe for a CPU", "in windows": "1.88 (64 characters)", "minutes": "about 3"},
    {"model": "transformer, nanoGPT's recipe for a GPU", "in windows": 1.4697},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("--budget", choices=BUDGETS, default="short")
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    text = args.input.read_text(encoding="utf-8")
    train, chosen_on = text[:TRAIN], text[TRAIN:]
    if args.budget == "held-out":
        train, chosen_on = text[: HELD_OUT.start] + text[HELD_OUT.stop : TRAIN], text[HELD_OUT]
    folder = Path(tempfile.mkdtemp())
    try:
        for split, part in (("train", train), ("valid", chosen_on), ("test", text[TRAIN:])):
            (folder / f"{split}.txt").write_text(part, encoding="utf-8")
        run = args.logdir.resolve() / "chars" / f"shakespeare-{args.budget}-{args.seed}"
        where = ["-T", args.logdir.resolve()]
        common.run_script("chars.py", "-D", folder, *BUDGETS[args.budget], *where, "--name", run.name, "-r", args.seed)
        common.run_script("chars.py", "-D", folder, "--eval", run.name, "--eval-window", WINDOW, *where)
    finally:
        shutil.rmtree(folder)
    scores, best = common.scores_of(run), common.minutes_of_best(run, ["val_nats_per_char"])
    ours = {
        "model": f"chars.py {' '.join(map(str, BUDGETS[args.budget]))}",
        "nats_per_char": scores["nats_per_char"],
        "in windows": scores["nats_per_char_in_windows"],
        "minutes": round(common.training_seconds(run) / 60, 1),
        "minutes until the best epoch": round(best, 1),
    }
    title = f"chars.py on tinyshakespeare, {args.budget} training"
    rows = [ours, *({name: row.get(name, "") for name in ours} for row in PUBLISHED)]
    common.append(title, common.table(rows), time.monotonic() - started, args.seed)


if __name__ == "__main__":
    main()
