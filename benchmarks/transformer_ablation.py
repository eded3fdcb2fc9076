"""Ablations of transformer_vae.py: narrow models on some of the lines of Python.

python benchmarks/transformer_ablation.py [--epochs 3] [--limit 600000] [--units 96]
"""

import argparse
import time

import common

MODELS = {
    "default settings": [],
    "5 x 77 numbers": ["--preset", "tenth_5_tkn"],
    "9 x 16 numbers": ["-H", 16],
    "funnel 2_2_2": ["--preset", "funnel_small"],
    "no code read through noise": ["--noise-probability", 0],
    "beta 0.2": ["--beta", 0.2],
    "beta 1": ["--beta", 1],
    "KL and MMD, imq": ["--mmd", 100],
    "point, MMD imq": ["--code", "point", "--mmd", 100],
    "point, MMD rbf": ["--code", "point", "--mmd", 100, "--kernel", "rbf"],
    "point, the original's MMD": ["--code", "point", "--tanh", "--mmd", 100, "--kernel", "reference"],
    "point, no regularizer": ["--no-regularizer"],
}
SCORES = ("exact_match", "token_accuracy", "walk_valid", "walk_new", "sample_valid", "sample_unique", "nll", "kl")
SCORES = (*SCORES, "mmd", "mmd_threshold")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=600_000)
    parser.add_argument("--units", type=int, default=96)
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    args = parser.parse_args()
    started, rows, logdir = time.monotonic(), [], common.ROOT / "runs" / "benchmarks"
    for name in args.only:
        run = time.strftime("ablation-%H%M%S")
        sizes = ["-I", args.limit, "-e", args.epochs, "-L", args.units, "-b", 32, "-o", 0]
        common.run_script("transformer_vae.py", "-T", logdir, "--name", run, *sizes, *MODELS[name])
        directory = logdir / "transformer_vae" / run
        scores, minutes = common.scores_of(directory), common.training_seconds(directory) / 60
        rows.append({"model": name, **{score: scores.get(score, "") for score in SCORES}, "minutes": round(minutes, 1)})
        print(common.table(rows), flush=True)
    title = f"transformer_vae.py: ablations, {args.units} units, {args.epochs} epochs on {args.limit:,} characters"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
