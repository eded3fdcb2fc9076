"""chars.py on tinyshakespeare: nats per character on its last 111,540 characters, with the state carried throughout.

    python benchmarks/chars_shakespeare.py INPUT [--budget short] [-T LOGDIR]

INPUT is the text of 1,115,394 characters (Karpathy 2015); the first 1,003,854 are for training. There is no third part,
so the best epoch is chosen on the characters that are scored, as in the published results.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import common

TRAIN = 1_003_854
BUDGETS = {
    "short": ["-e", 5, "-l", 4e-3, "--dropout", 0.1],
    "long": ["-e", 16, "-l", 3e-3, "--dropout", 0.4, "-L", 512, "--num-layers", 2],
}
PUBLISHED = [
    {"model": "6-gram count model (Kneser-Ney)", "nats_per_char": 1.600},
    {"model": "transformer, nanoGPT's recipe for a CPU", "nats_per_char": 1.88, "training minutes": "about 3"},
    {"model": "transformer, nanoGPT's recipe for a GPU", "nats_per_char": 1.4697},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("--budget", choices=BUDGETS, default="short")
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started = time.monotonic()
    text = args.input.read_text(encoding="utf-8")
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "train.txt").write_text(text[:TRAIN], encoding="utf-8")
        for split in ("valid", "test"):
            (folder / f"{split}.txt").write_text(text[TRAIN:], encoding="utf-8")
        run = args.logdir.resolve() / "chars" / f"shakespeare-{args.budget}"
        where = ["-T", args.logdir.resolve(), "--name", run.name]
        common.run_script("chars.py", "-D", folder, *BUDGETS[args.budget], *where)
    finally:
        shutil.rmtree(folder)
    scores, minutes = common.scores_of(run), round(common.training_seconds(run) / 60, 1)
    options = " ".join(map(str, BUDGETS[args.budget]))
    ours = {"model": f"chars.py {options}", "nats_per_char": scores["nats_per_char"], "training minutes": minutes}
    title = f"chars.py on tinyshakespeare, {args.budget} training"
    common.append(title, common.table([ours, *PUBLISHED]), time.monotonic() - started)


if __name__ == "__main__":
    main()
