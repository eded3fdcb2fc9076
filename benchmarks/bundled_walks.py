"""Which bundled run's walks read best: `python homotopy.py` takes that one as long as there is no run of your own.

    python benchmarks/bundled_walks.py [RUN ...]

A walk goes between two texts of the test split, with five points between them, as homotopy.py writes it. Columns:

    good         share of the points of 200 walks that are all three of the next columns
    new          neither an end nor what an end is decoded to
    distinct     not written before on this walk
    likely       at most 0.5 nats per token above the median of the test split under a Kneser-Ney 5-gram model of the
                 training split
    correct      where it is known: grammatical (scenes), or parses (lines of code)
"""

import argparse
import time
from pathlib import Path

import common
from scriptorium.data import scenes
from scriptorium.scores import kneser_ney
from scriptorium.training import finding, trained
from scriptorium.transformer_vae.experiments import is_python

import keras
import numpy as np
import rate

PAIRS, POINTS = 200, 5


def shares_of(directory):
    """Returns the shares of the points of a run's walks, a dict of column -> number."""
    codec = trained.load(str(directory))
    run, options = codec.run, codec.run.options
    corpus, test = common.corpus_of(codec)

    def letters(text):
        return kneser_ney.letters(run.vocabulary.encode(text))

    counts = kneser_ney.KneserNey([letters(text) for text in corpus.train], 5)

    def nats_per_token(texts):
        return np.array([counts.nll(ids) / (len(ids) + 1) for ids in map(letters, texts)])

    search = {"beam": options["beam"]} if options.get("beam", 1) > 1 else {}
    walks, known = [], []
    for pair in np.random.default_rng(1).integers(len(test), size=(PAIRS, 2)):
        ends = [test[i] for i in pair]
        walks.append(codec.walk(*ends, points=POINTS, **search)[1:-1])
        known.append({*ends, *codec.decode(codec.encode(ends)[0], **search)})
    points = [text for walk in walks for text in walk]
    shares = rate.good_points(walks, known, nats_per_token(points), nats_per_token(test))
    check = {"scenes": scenes.grammar().is_grammatical, "pylines": is_python}.get(corpus.name)
    shares |= {"correct": np.mean([check(text) for text in points])} if check else {}
    keras.backend.clear_session()
    return {name: f"{share:.3f}" for name, share in shares.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="directories; default: all bundled VAEs")
    args = parser.parse_args()
    started, rows = time.monotonic(), []
    for directory in args.runs or finding.bundled(trained.VAES):
        rows.append({"run": f"{directory.parent.name}/{directory.name}", **shares_of(directory)})
        print(rows[-1])
    columns = dict.fromkeys(("run", "good", "new", "distinct", "likely", "correct"), "")
    title = "Walks of the bundled runs: points of 200 walks between texts of the test split"
    common.append(title, common.table([columns | row for row in rows]), time.monotonic() - started)


if __name__ == "__main__":
    main()
