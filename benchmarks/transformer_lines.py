"""transformer_vae.py on lines of Python: its scores, and the likelihood of midpoints and samples under n-gram counts.

    python benchmarks/transformer_lines.py [--run RUN] [options of transformer_vae.py]

Trains and scores a run, or uses an existing one. The language model is a Kneser-Ney 5-gram model of the training lines.
Midpoints and samples are decoded at the run's noise level and without noise. A splice joins the beginning of one line
to the end of another, in tokens, cut at the same share of each.
"""

import argparse
import time
from pathlib import Path

import common
from scriptorium.scores import kneser_ney

SCORES = ("exact_match", "sequence_accuracy", "token_accuracy", "walk_valid", "walk_new", "sample_valid")
SCORES = (*SCORES, "sample_unique", "kl", "neg_elbo", "iw_nll", "mmd", "mmd_threshold")


def likelihoods(directory):
    """Returns the rows of the table for a run: shares that are valid Python, distinct and new, and nats per token."""
    from scriptorium.training import trained
    from scriptorium.transformer_vae import scores as code_scores
    from scriptorium.transformer_vae.experiments import is_python
    from scriptorium.vae import inference, paths

    import numpy as np

    import transformer_vae
    from util import load

    run = trained.load(directory, directory.parent.parent, ("transformer_vae",)).run
    args = transformer_vae.parse_args([])
    for name, value in run.options.items():
        setattr(args, name, value)
    corpus, vocabulary, splits = load(run, args)

    def letters(text):
        return kneser_ney.letters(vocabulary.encode(text))

    counts = kneser_ney.KneserNey([letters(text) for text in corpus.train], 5)
    test, known = splits["test"], set(corpus.train)
    texts = [vocabulary.decode(test[i]) for i in range(len(test))]
    random, z = np.random.default_rng(run.seed), inference.posteriors(run.model, test)[0]
    pairs = random.integers(len(texts), size=(code_scores.PAIRS * 5, 2))

    def written(codes, noise, beam):
        ids = code_scores.write(run.model, codes, run.options["positions"], noise, beam)
        return [vocabulary.decode(row) for row in ids]

    lines_of, splices = {"test lines": texts}, []
    for a, b in pairs:
        share, one, other = random.random(), vocabulary.encode(texts[a]), vocabulary.encode(texts[b])
        first, second = one[: round(share * len(one))], other[round(share * len(other)) :]
        splices.append(vocabulary.decode(np.concatenate([first, second])))
    lines_of["splices of test lines, in tokens"] = splices
    middle = [paths.slerp(z[a], z[b], [0.5])[0] for a, b in pairs]
    prior = random.standard_normal((code_scores.SAMPLES, *run.model.latent_shape))
    for noise in sorted({0.0, run.options["noise_level"]}):
        for beam in (1, code_scores.BEAM):
            how = f"noise {noise:g}, " + ("greedy" if beam == 1 else f"beam search of {beam}")
            ends = zip(written(middle, noise, beam), pairs, strict=True)
            lines_of[f"midpoints by slerp, {how}"] = [text for text, (a, b) in ends if text not in (texts[a], texts[b])]
            lines_of[f"samples from the prior, {how}"] = written(prior, noise, beam)
    rows = []
    for what, lines in lines_of.items():
        row = {"what": what, "lines": len(lines)}
        row |= {"valid Python": float(np.mean([is_python(text) for text in lines]))}
        row |= {"distinct": len(set(lines)) / len(lines), "new": float(np.mean([text not in known for text in lines]))}
        rows.append(row | {"nats per token": counts.nats_per_token([letters(text) for text in lines])})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", type=Path, help="directory of a run that has been scored with --eval")
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args, options = parser.parse_known_args()
    started, run = time.monotonic(), args.run
    if run is None:
        run = args.logdir.resolve() / "transformer_vae" / time.strftime("lines-%H%M%S")
        where = ["-T", args.logdir.resolve(), "--name", run.name]
        common.run_script("transformer_vae.py", *where, *options)
        common.run_script("transformer_vae.py", "-T", args.logdir.resolve(), "--eval", run.name)
    scores = common.scores_of(run)
    minutes = round(common.training_seconds(run) / 60, 1)
    row = {name: scores.get(name, "") for name in SCORES} | {"training minutes": minutes}
    body = common.table([row]) + "\n\n" + common.table(likelihoods(run.resolve()))
    common.append("transformer_vae.py on lines of Python, test split", body, time.monotonic() - started)


if __name__ == "__main__":
    main()
