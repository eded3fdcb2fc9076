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
from scriptorium.data import corpora, scenes
from scriptorium.scores import kneser_ney
from scriptorium.training import finding, trained
from scriptorium.transformer_vae.experiments import is_python

import keras
import numpy as np

PAIRS, POINTS = 200, 5


def shares_of(directory):
    """Returns the shares of the points of a run's walks, a dict of column -> number."""
    codec = trained.load(str(directory))
    run, options = codec.run, codec.run.options
    corpus = corpora.reload(options, labeled=run.script == "names_vae")

    def tokens(text):
        return kneser_ney.letters(run.vocabulary.encode(text))

    def nats_per_token(texts):
        return np.array([counts.nll(tokens(text)) / (len(tokens(text)) + 1) for text in texts])

    longest = min(options["max_length"], options.get("positions", 1 + options["max_length"]) - 1)
    test = [text for text in corpus.test if 0 < len(run.vocabulary.encode(text)) <= longest]
    counts = kneser_ney.KneserNey([tokens(text) for text in corpus.train], 5)
    search = {"beam": options["beam"]} if options.get("beam", 1) > 1 else {}
    points, new, distinct = [], [], []
    for pair in np.random.default_rng(1).integers(len(test), size=(PAIRS, 2)):
        ends = [test[i] for i in pair]
        walk = codec.walk(*ends, points=POINTS, **search)[1:-1]
        known = {*ends, *codec.decode(codec.encode(ends)[0], **search)}
        points += walk
        new += [text not in known for text in walk]
        distinct += [text not in walk[:place] for place, text in enumerate(walk)]
    likely = nats_per_token(points) <= np.median(nats_per_token(test)) + 0.5
    good = np.array(new) & np.array(distinct) & likely
    row = {"good": good, "new": new, "distinct": distinct, "likely": likely}
    check = {"scenes": scenes.grammar().is_grammatical, "pylines": is_python}.get(corpus.name)
    row |= {"correct": [check(text) for text in points]} if check else {}
    keras.backend.clear_session()
    return {name: f"{np.mean(flags):.3f}" for name, flags in row.items()}


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
