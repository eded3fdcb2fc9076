"""Remedies against posterior collapse, side by side on one budget: Sentence VAEs on the Penn Treebank.

    python benchmarks/sentences_ptb.py FOLDER [--only NAME ...] [--epochs 12] [--iw-samples 100]
    python benchmarks/sentences_ptb.py FOLDER --best --epochs 22 --iw-samples 500

FOLDER holds train.txt, valid.txt and test.txt of Mikolov's split. Every model has the published sizes (embedding and
LSTM 256, z 32, softmax apart from the embedding, dropout 0.5; He et al. 2019, Li et al. 2019) and sees the text equally
often; pre-training counts. `--best` trains the configuration with the best score within an hour instead. A run that is
there already is scored again, not trained again.
"""

import argparse
import time
from pathlib import Path

import common

PUBLISHED = ["-E", 256, "-L", 256, "-H", 32, "--untied", "--dropout", 0.5]
PLAIN = ["--posterior-norm", 0]
REMEDIES = {
    "language model": ["--no-latent"],
    "linear annealing": [*PLAIN, "--annealing-epochs", "half"],
    "cyclical annealing": [*PLAIN, "--kl-schedule", "cyclical"],
    "free bits": [*PLAIN, "--free-bits", 8, "--annealing-epochs", 2],
    "posterior norm": ["--posterior-norm", 0.6, "--annealing-epochs", 2],
    "pre-training + free bits": [*PLAIN, "--free-bits", 8, "--annealing-epochs", 2, "--pretrain-epochs", "quarter"],
}
BEST = ["-L", 512, "--encoder-units", 256, "--posterior-norm", 0.65, "-l", 3e-3]
COLUMNS = ("iw_nll", "neg_elbo", "kl", "mutual_information", "active_units", "perplexity")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=REMEDIES, help="these alone")
    parser.add_argument("--best", action="store_true", help="the best configuration instead of the remedies")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the text of each model")
    parser.add_argument("--iw-samples", type=int, default=100)
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started, rows = time.monotonic(), []
    models = {"best": BEST} if args.best else {name: [*PUBLISHED, *REMEDIES[name]] for name in args.only or REMEDIES}
    for name, options in models.items():
        run = args.logdir / "sentences" / f"{name.replace(' + ', '-').replace(' ', '-')}-{args.epochs}"
        quarter = args.epochs // 4
        share = {"half": args.epochs / 2, "quarter": quarter}
        options = [share.get(option, option) for option in options]
        epochs = args.epochs - quarter if "--pretrain-epochs" in options else args.epochs
        if not (run / "eval.json").exists():
            common.run_script(
                "sentences.py", "-D", args.folder.resolve(), "-e", epochs, *options,
                "-T", args.logdir.resolve(), "--name", run.name, "-o", args.epochs,
            )  # fmt: skip
        samples = ["--iw-samples", args.iw_samples]
        common.run_script("sentences.py", "--eval", run.name, "-T", args.logdir.resolve(), *samples)
        scores = common.scores_of(run)
        scores.setdefault("iw_nll", scores["nll"])
        minutes = round(common.training_seconds(run) / 60, 1)
        rows.append({"model": name} | {key: scores.get(key, "") for key in COLUMNS} | {"minutes": minutes})
    what = "the best configuration" if args.best else "remedies"
    title = f"sentences.py on PTB: {what}, {args.epochs} epochs each, test split, iw_nll with K = {args.iw_samples}"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
