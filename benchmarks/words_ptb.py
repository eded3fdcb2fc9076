"""words.py on the Penn Treebank: test perplexity, with the state carried from sentence to sentence.

    python benchmarks/words_ptb.py FOLDER [--recipe long] [--epochs N] [-T LOGDIR]

FOLDER holds train.txt, valid.txt and test.txt of Mikolov's split (82,430 test tokens, including `<eos>`).
"""

import argparse
import time
from pathlib import Path

import common

RECIPES = {
    "short": ["-e", 8, "-L", 512, "-E", 512, "--dropout", 0.5, "--input-dropout", 0.5, "-d", 0, "-l", 3e-3],
    "long": [
        "-e", 18, "-L", 650, "-E", 650, "--num-layers", 2, "--optimizer", "sgd", "-l", 30, "--ema", 0.999, "-b", 20,
        "--dropout", 0.5, "--hidden-dropout", 0.4, "--input-dropout", 0.4, "-d", 0,
    ],
}  # fmt: skip
CACHE = ["--cache", 500, "--cache-share", 0.1, "--cache-sharpness", 0.3]
PUBLISHED = [
    {"model": "5-gram count model (Kneser-Ney)", "perplexity": 146.7},
    {"model": "LSTM 2 x 200, Zaremba et al. 2014", "perplexity": 115.9},
    {"model": "LSTM 2 x 650, Zaremba et al. 2014", "perplexity": 82.1},
    {"model": "LSTM 2 x 1500, Zaremba et al. 2014", "perplexity": 78.3},
    {"model": "AWD-LSTM 3 x 1150, Merity et al. 2018", "perplexity": 56.5, "with cache": 52.5},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", choices=RECIPES, default="short")
    parser.add_argument("--epochs", type=int, help="instead of those of the recipe")
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started = time.monotonic()
    options = ["--stream", *RECIPES[args.recipe], *(["-e", args.epochs] if args.epochs else [])]
    run = args.logdir.resolve() / "words" / f"ptb-{args.recipe}-{args.epochs or 'usual'}"
    where = ["-D", args.folder.resolve(), "-T", args.logdir.resolve()]
    common.run_script("words.py", *where, *options, "--name", run.name, "-o", 0)
    common.run_script("words.py", *where, "--eval", run.name, *CACHE)
    scores, minutes = common.scores_of(run), round(common.training_seconds(run) / 60, 1)
    ours = {
        "model": f"words.py {' '.join(map(str, options))}",
        "perplexity": scores["perplexity"],
        "with cache": scores["perplexity_with_cache"],
        "training minutes": minutes,
    }
    title = "words.py on PTB, state carried, test perplexity"
    common.append(title, common.table([ours, *PUBLISHED]), time.monotonic() - started)


if __name__ == "__main__":
    main()
