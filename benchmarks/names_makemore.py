"""names_vae.py on 32,033 English first names: likelihood, code and reconstruction, beside the decoder alone and counts.

    python benchmarks/names_makemore.py NAMES [--split deduplicated] [--epochs 100] [-T LOGDIR]

NAMES is the file of Karpathy's makemore. `lecture` is its split, of lines, 2,539 of which repeat a name, so that most
repeated ones are in two parts; `deduplicated` splits the 29,494 different names.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import common
import kneser_ney

VAE = []
SCORES = ("iw_nll", "nats_per_char", "neg_elbo", "kl", "mutual_information", "active_units", "exact_match")
SCORES = (*SCORES, "nll", "nll_from_prefix", "nll_from_prior")


def parts(names, split):
    """Returns the names to train on, to choose by and to score: 80, 10 and 10 %."""
    names = sorted(set(names)) if split == "deduplicated" else list(names)
    random.seed(42)
    random.shuffle(names)
    first, second = int(0.8 * len(names)), int(0.9 * len(names))
    return {"train": names[:first], "valid": names[first:second], "test": names[second:]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", type=Path)
    parser.add_argument("--split", choices=("deduplicated", "lecture"), default="deduplicated")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--iw-samples", type=int, default=100)
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started = time.monotonic()
    split = parts(args.names.read_text(encoding="utf-8").split(), args.split)
    counts = {order: kneser_ney.KneserNey(split["train"], order).nats_per_char(split["test"]) for order in (5, 6)}
    rows = [{"model": f"{n}-gram counts (Kneser-Ney)", "nats_per_char": value} for n, value in counts.items()]
    with tempfile.TemporaryDirectory() as folder:
        for name, names in split.items():
            (Path(folder) / f"{name}.txt").write_text("\n".join(names), encoding="utf-8")
        for name, options in (("vae", VAE), ("decoder alone", ["--no-latent"])):
            run = args.logdir.resolve() / "names_vae" / f"{args.split}-{name.split()[0]}-{args.epochs}"
            where = ["-T", args.logdir.resolve(), "-D", folder]
            common.run_script("names_vae.py", *where, "-e", args.epochs, *options, "--name", run.name, "-o", 20)
            common.run_script("names_vae.py", *where, "--eval", run.name, "--iw-samples", args.iw_samples)
            scores, minutes = common.scores_of(run), round(common.training_seconds(run) / 60, 1)
            found = {score: scores.get(score, "") for score in SCORES}
            rows.append({"model": f"names_vae.py, {name}", **found, "training minutes": minutes})
    for row in rows:
        row.update({name: row.get(name, "") for name in (*SCORES, "training minutes")})
    rows = [{name: row[name] for name in ("model", *SCORES, "training minutes")} for row in rows]
    title = f"names_vae.py on names.txt, {args.split} split, test, iw_nll with K = {args.iw_samples}"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
