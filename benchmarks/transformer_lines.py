"""transformer_vae.py on lines of Python: its scores, and how likely what lies between and beside lines is by counts.

    python benchmarks/transformer_lines.py [--run RUN] [options of transformer_vae.py]

Trains and scores a run, or takes one. The language model is Kneser-Ney's of 5 tokens, counted on the training lines; it
has seen none of the others. Middles and draws are written at the run's level of noise and at none. A splice is the
beginning of one line and the end of another, in tokens, at a place of each drawn alike.
"""

import argparse
import time
from pathlib import Path

import common
from scriptorium.scores import kneser_ney

SCORES = ("exact_match", "sequence_accuracy", "token_accuracy", "walk_valid", "walk_new", "sample_valid")
SCORES = (*SCORES, "sample_unique", "kl", "neg_elbo", "iw_nll", "mmd", "mmd_threshold")


def likelihoods(directory):
    """Returns rows of (what, lines, share that is Python, share that is new, nats a token) of a run."""
    from scriptorium.training import trained
    from scriptorium.transformer_vae import scores as code_scores
    from scriptorium.transformer_vae.experiments import is_python
    from scriptorium.vae import inference, latent

    import numpy as np

    from util import load

    run, script = trained.opened(str(directory), directory.parent.parent, ("transformer_vae",))
    args = script.parse_args([])
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

    found, splices = {"test lines": texts}, []
    for a, b in pairs:
        share, one, other = random.random(), vocabulary.encode(texts[a]), vocabulary.encode(texts[b])
        first, second = one[: round(share * len(one))], other[round(share * len(other)) :]
        splices.append(vocabulary.decode(np.concatenate([first, second])))
    found["their splices"] = splices
    middle = [latent.slerp(z[a], z[b], [0.5])[0] for a, b in pairs]
    prior = random.standard_normal((code_scores.SAMPLES, *run.model.latent_shape))
    for noise in sorted({0.0, run.options["noise"]}):
        for beam in (1, code_scores.BEAM):
            how = f"noise {noise:g}, " + ("greedily" if beam == 1 else f"beam of {beam}")
            ends = zip(written(middle, noise, beam), pairs, strict=True)
            found[f"middles by slerp, {how}"] = [text for text, (a, b) in ends if text not in (texts[a], texts[b])]
            found[f"draws from the prior, {how}"] = written(prior, noise, beam)
    rows = []
    for what, lines in found.items():
        row = {"what": what, "lines": len(lines)}
        row |= {"Python": float(np.mean([is_python(text) for text in lines]))}
        row |= {"different": len(set(lines)) / len(lines), "new": float(np.mean([text not in known for text in lines]))}
        rows.append(row | {"nats a token": counts.nats_a_token([letters(text) for text in lines])})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", type=Path, help="directory of a run that has been scored by --eval")
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
