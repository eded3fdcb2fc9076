"""What a code knows at each rate: Sentence VAEs that aim for different KLs, beside their decoder without a code.

    python benchmarks/rate.py DATA [--rates 3 6 12 24 48] [--epochs 10] [--others] [--plot FILE] [options]

DATA is a file, a folder, or the name of a task such as scenes; the options are those of sentences.py. `--others` adds
other ways to a KL: normalized posterior means, a smaller weight, free bits. A finished run is neither trained nor
scored again, so a stopped benchmark can be continued. Columns:

    waste        neg_elbo minus the nll of the language model: nats that the code costs and nobody gets back
    good         share of the points of 200 greedy walks that are new (neither end, nor what the end is decoded to),
                 distinct (not written before on this walk) and likely (at most 0.5 nats per token above the median of
                 held-out texts); the next columns have each share alone
    walks, samples   nats per token of walk points, and of samples at temperature 1, under a Kneser-Ney 5-gram model
    reverse      nats per token of held-out texts under such a model of 20,000 samples

On scenes, also what docs/scenes.md explains.
"""

import argparse
import time
from pathlib import Path

import common
from scriptorium import pictures
from scriptorium.data.vocabulary import strip_special
from scriptorium.scores import kneser_ney

import numpy as np

PAIRS, POINTS, SAMPLES = 200, 9, 20_000
OTHERS = {
    "32 normalized means": ["--posterior-norm", 0.6],
    "128 normalized means": ["--posterior-norm", 0.6, "-H", 128],
    "weight 0.3": ["--beta", 0.3, "-H", 64],
    "20 free nats": ["--free-bits", 20],
}
COLUMNS = ("neg_elbo", "kl", "nll", "bleu_4", "exact_match")
SCENES = ("excess_nll", "kept", "reconstruction_grammatical", "walk_grammatical", "sample_grammatical")


def train(name, data, epochs, logdir, options):
    """Trains a run unless it is finished; returns its directory."""
    run = logdir.resolve() / "sentences" / name.replace(" ", "-")
    if not (run / "eval.json").exists():
        source = ["-D", Path(data).resolve()] if Path(data).exists() else ["-t", data]
        where = ["-T", logdir.resolve(), "--name", run.name, "-o", epochs]
        common.run_script("sentences.py", *source, "-e", epochs, *where, *options)
    return run


def good_points(walks, known, nats, nats_of_test):
    """Returns the shares of the points of walks that are good, new, distinct and likely: see the top of this file.

    Args:
        walks: lists of points, as many in each.
        known: for each walk, the set of its ends and what they are decoded to.
        nats: nats per token of all points, in order, float (points,).
        nats_of_test: the same of held-out texts.
    """
    new = np.array([point not in ends for walk, ends in zip(walks, known, strict=True) for point in walk])
    distinct = np.array([point not in walk[:place] for walk in walks for place, point in enumerate(walk)])
    likely = nats <= np.median(nats_of_test) + 0.5
    flags = {"good": new & distinct & likely, "new": new, "distinct": distinct, "likely": likely}
    return {name: float(np.mean(flag)) for name, flag in flags.items()}


def likelihoods(directory, logdir):
    """Returns the scores of a run's walks and samples, a dict of column -> number."""
    from scriptorium.data import corpora
    from scriptorium.data.batches import encode_texts
    from scriptorium.training import trained
    from scriptorium.vae import inference, paths

    codec = trained.load(str(directory), str(logdir), ("sentences",))
    run, options = codec.run, codec.run.options
    corpus = corpora.reload_or_none(options, run.config["corpus"]["fingerprint"])
    splits = [
        encode_texts(texts, run.vocabulary, options["max_length"], options["clip_length"])
        for texts in (corpus.train, corpus.test)
    ]
    train, test = ([strip_special(split[i]) for i in range(len(split))] for split in splits)
    counts = kneser_ney.KneserNey([kneser_ney.letters(ids) for ids in train], 5)

    def nats_per_token(texts):
        return np.array([counts.nll(kneser_ney.letters(ids)) / (len(ids) + 1) for ids in texts])

    def write(z, **settings):
        return [strip_special(ids) for ids in inference.write(run.model, z, options["gen_length"], **settings)[0]]

    samples = write(codec.sample_prior(SAMPLES), temperature=1.0)
    reverse = kneser_ney.KneserNey([kneser_ney.letters(ids) for ids in samples], 5)
    scores = {
        "samples": float(nats_per_token(samples[:2000]).mean()),
        "reverse": reverse.nats_per_token([kneser_ney.letters(ids) for ids in test]),
    }
    if not codec.has_latent:
        return scores
    z = inference.posteriors(run.model, splits[1])[0]
    pairs = np.random.default_rng(1).integers(len(test), size=(PAIRS, 2))
    shares = np.linspace(0, 1, POINTS + 2)[1:-1]
    points = write(np.concatenate([paths.lerp(z[a], z[b], shares) for a, b in pairs]))
    ends = write(z[pairs.reshape(-1)])
    walks = [[tuple(ids) for ids in points[i : i + POINTS]] for i in range(0, len(points), POINTS)]
    known = [{tuple(ids) for ids in (test[a], test[b], *ends[2 * i : 2 * i + 2])} for i, (a, b) in enumerate(pairs)]
    nats = nats_per_token(points)
    return good_points(walks, known, nats, nats_per_token(test)) | {"walks": float(nats.mean())} | scores


def plot(rows, corpus, path):
    """Draws what a code knows, and what it costs, over the rate."""
    shown = {
        "bleu_4": "BLEU-4 of reconstructions",
        "exact_match": "reconstructed exactly",
        "kept": "facts kept by reconstructions",
        "good": "walk points: new, distinct, likely",
    }
    rows = [row for row in rows if row["model"].startswith("rate ")]
    rates = [float(row["model"].split()[1]) for row in rows]
    figure = pictures.figure_of(9, 3.6)
    known, cost = figure.subplots(1, 2)
    for column, label in shown.items():
        if column in rows[0]:
            known.plot(rates, [row[column] for row in rows], marker="o", label=label)
    known.set(title=f"What the code knows: {corpus}", ylabel="share", ylim=(0, 1))
    known.legend(fontsize=8)
    cost.plot(rates, [row["waste"] for row in rows], marker="o", color="tab:red")
    cost.set(title="What it costs", ylabel="neg_elbo above an LM (nats)")
    for axes in (known, cost):
        axes.set_xscale("log", base=2)
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.set_xlabel("rate: KL of the code (nats per sentence)")
        axes.grid(alpha=0.3)
    pictures.save(figure, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data")
    parser.add_argument("--rates", type=float, nargs="*", default=[3, 6, 12, 24, 48])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the curve")
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args, options = parser.parse_known_args()
    started, rows, base = time.monotonic(), [], 0.0
    models = {"language model": ["--no-latent"]} | {f"rate {rate:g}": ["--rate", rate] for rate in args.rates}
    models |= OTHERS if args.others else {}
    corpus = Path(args.data).stem
    for name, settings in models.items():
        run = train(f"{corpus} {name}", args.data, args.epochs, args.logdir, [*settings, *options])
        scores = common.scores_of(run)
        base = scores["nll"] if not rows else base
        row = {"model": name} | {column: scores.get(column, "") for column in COLUMNS}
        row |= {column: scores.get(column, "") for column in SCENES} if args.data == "scenes" else {}
        row |= {"waste": scores["neg_elbo"] - base if "kl" in scores else ""}
        rows.append(row | likelihoods(run, args.logdir) | {"minutes": round(common.training_seconds(run) / 60, 1)})
        print(rows[-1])
    if args.plot:
        plot(rows, corpus, args.plot)
    columns = {name: "" for name in rows[-1]}
    title = f"sentences.py at several rates: {corpus}, {args.epochs} epochs, test split"
    common.append(title, common.table([columns | row for row in rows]), time.monotonic() - started)


if __name__ == "__main__":
    main()
