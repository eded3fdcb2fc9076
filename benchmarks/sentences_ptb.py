"""Remedies for posterior collapse on one budget: Sentence VAEs on the Penn Treebank.

    python benchmarks/sentences_ptb.py FOLDER [--epochs 8] [--only NAME ...] [--iw-samples 100]
    python benchmarks/sentences_ptb.py FOLDER --best --epochs 18 --iw-samples 500

FOLDER holds train.txt, valid.txt and test.txt of Mikolov's split. Every model has the published sizes (embedding and
LSTM 256, z 32, untied softmax, dropout 0.5; He et al. 2019, Li et al. 2019) and sees the text equally often, including
pre-training. Only the language model, the reference point, sees it twice as often, in smaller batches: it has no
encoder and takes about the same time. `--best` instead trains the configuration with the best score within an hour, and
its decoder alone as a language model. An existing run is neither trained nor scored again, so a stopped benchmark can
be continued.
"""

import argparse
import time
from pathlib import Path

import common

PUBLISHED = ["-E", 256, "-L", 256, "--encoder-units", 256, "-H", 32, "--untied", "--dropout", 0.5]
PLAIN = [*PUBLISHED, "--posterior-norm", 0]
# "half" and "quarter" are shares of the epochs.
REMEDIES = {
    "language model": [*PUBLISHED, "--no-latent", "-b", 32, "-l", 2e-3],
    "no remedy": [*PLAIN, "--kl-schedule", "none"],
    "linear annealing": [*PLAIN, "--annealing-epochs", "half"],
    "cyclical annealing": [*PLAIN, "--kl-schedule", "cyclical"],
    "free bits": [*PLAIN, "--free-bits", 8, "--annealing-epochs", 2],
    "posterior norm": [*PUBLISHED, "--posterior-norm", 0.6, "--annealing-epochs", 2],
    "pre-training + free bits": [*PLAIN, "--free-bits", 8, "--annealing-epochs", 2, "--pretrain-epochs", "quarter"],
}
LARGE = ["-L", 512, "-l", 3e-3]
BEST = {
    "large language model": [*LARGE, "--no-latent"],
    "large posterior norm": [*LARGE, "--encoder-units", 256, "--posterior-norm", 0.65],
}
COLUMNS = ("iw_nll", "neg_elbo", "kl", "mutual_information", "active_units", "perplexity")


def train(name, options, folder, logdir, budget):
    """Trains a model for `budget` epochs unless the run exists; returns the run's directory."""
    quarter = budget // 4
    options = [{"half": budget / 2, "quarter": quarter}.get(option, option) for option in options]
    epochs = 2 * budget if name == "language model" else budget
    epochs -= quarter if "--pretrain-epochs" in options else 0
    run = logdir.resolve() / "sentences" / f"{name.replace(' + ', '-').replace(' ', '-')}-{budget}"
    if not (run / "eval.json").exists():
        where = ["-T", logdir.resolve(), "--name", run.name]
        common.run_script("sentences.py", "-D", folder.resolve(), "-e", epochs, *options, *where, "-o", budget)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=REMEDIES | BEST, help="run only these")
    parser.add_argument("--best", action="store_true", help="the best configuration instead of the remedies")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the text per model")
    parser.add_argument("--iw-samples", type=int, default=100)
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started, rows, models = time.monotonic(), [], BEST if args.best else REMEDIES
    for name in args.only or models:
        run = train(name, models[name], args.folder, args.logdir, args.epochs)
        scores = common.scores_of(run)
        if "kl" in scores and scores.get("iw_samples") != args.iw_samples:
            how = ["--iw-samples", args.iw_samples]
            common.run_script("sentences.py", "--eval", run.name, "-T", args.logdir.resolve(), *how)
            scores = common.scores_of(run)
        scores.setdefault("iw_nll", scores["nll"])
        minutes = round(common.training_seconds(run) / 60, 1)
        rows.append({"model": name} | {key: scores.get(key, "") for key in COLUMNS} | {"minutes": minutes})
    what = "the best configuration" if args.best else "remedies"
    title = f"sentences.py on PTB: {what}, {args.epochs} epochs each, test split, iw_nll with K = {args.iw_samples}"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
