"""names_vae.py on 32,033 English first names, compared with the decoder alone and with n-gram counts.

    python benchmarks/names_makemore.py NAMES [--split deduplicated] [--epochs 50] [-T LOGDIR]
    python benchmarks/names_makemore.py NAMES --ablate --epochs 15
    python benchmarks/names_makemore.py NAMES --split makemore      (needs torch, for its permutation)

NAMES is the file of Karpathy's makemore. `lecture` splits its lines as his lecture does; 2,539 of them repeat a name,
so that most repeated names are in two splits. `deduplicated` splits the 29,494 distinct names. `makemore` tests on the
1,000 lines that makemore.py tests on by default (torch's permutation with seed 3407); the 1,000 before them choose the
best epoch.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import common
from scriptorium.scores import kneser_ney

LARGER = ["--num-layers", 3, "--dropout", 0.15]
MODELS = {"vae": [*LARGER, "--free-bits", 10], "decoder alone": [*LARGER, "--no-latent"]}
ABLATION = {
    "default": [],
    "one sample in training": ["--train-samples", 1],
    "prior N(0, 1)": ["--prior", "normal"],
    "no free bits": ["--free-bits", 0],
    "6 free bits": ["--free-bits", 6],
    "latents of the reference": ["-H", 64, "--prior-units", 512],
    "decoder alone": ["--no-latent"],
}
SCORES = ("iw_nll", "nats_per_char", "neg_elbo", "kl", "mutual_information", "active_units")
SCORES = (*SCORES, "exact_match", "exact_match_beam", "nll", "nll_from_prefix", "nll_from_prior")


def parts(names, split):
    """Splits names into train, valid and test: 80, 10 and 10%, or as makemore.py does."""
    if split == "makemore":
        import torch

        torch.manual_seed(3407)
        names = [names[i] for i in torch.randperm(len(names)).tolist()]
        return {"train": names[:-2000], "valid": names[-2000:-1000], "test": names[-1000:]}
    names = sorted(set(names)) if split == "deduplicated" else list(names)
    random.seed(42)
    random.shuffle(names)
    first, second = int(0.8 * len(names)), int(0.9 * len(names))
    return {"train": names[:first], "valid": names[first:second], "test": names[second:]}


def row(name, options, folder, args):
    """Trains and scores a model; returns a row of the table."""
    where = ["-T", args.logdir.resolve(), "-D", folder]
    run = args.logdir.resolve() / "names_vae" / f"{args.split}-{args.epochs}-{name.replace(' ', '-')}"
    common.run_script(
        "names_vae.py", *where, "-e", args.epochs, *options, "--name", run.name, "-b", 128, "-o", args.epochs
    )
    common.run_script("names_vae.py", *where, "--eval", run.name, "--iw-samples", args.iw_samples)
    scores, minutes = common.scores_of(run), round(common.training_seconds(run) / 60, 1)
    return {"model": name, **{score: scores.get(score, "") for score in SCORES}, "training minutes": minutes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", type=Path)
    parser.add_argument("--split", choices=("deduplicated", "lecture", "makemore"), default="deduplicated")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--iw-samples", type=int, default=100)
    parser.add_argument("--ablate", action="store_true", help="leave out parts of the model, one at a time")
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started = time.monotonic()
    split = parts(args.names.read_text(encoding="utf-8").split(), args.split)
    with tempfile.TemporaryDirectory() as folder:
        for name, names in split.items():
            (Path(folder) / f"{name}.txt").write_text("\n".join(names), encoding="utf-8")
        models = ABLATION if args.ablate else MODELS
        rows = [row(name, options, folder, args) for name, options in models.items()]
    for order in (5, 6):
        counts = kneser_ney.KneserNey(split["train"], order).nats_per_token(split["test"])
        title = f"{order}-gram counts (Kneser-Ney)"
        rows.append(dict.fromkeys(rows[0], "") | {"model": title, "nats_per_char": counts})
    title = f"names_vae.py on names.txt, {args.split} split, test, iw_nll with K = {args.iw_samples}"
    title += ", ablations" * args.ablate
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
