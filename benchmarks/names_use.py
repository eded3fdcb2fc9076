"""What a trained run of names_vae.py does with an anchor, how far a radius goes, and how fast names come.

    python benchmarks/names_use.py RUN [-T LOGDIR]

For 500 names of the training split and 500 of the test split: how many are given back at radius 0, and the median edit
distance of names drawn at other radii. The time is that of 1,000 names from the prior once the run is loaded, with the
compilation of the loop that writes them.
"""

import argparse
import sys
import time

import common
from scriptorium.data import corpora
from scriptorium.names_vae import codec
from scriptorium.names_vae import scores as name_scores
from scriptorium.training import trained
from scriptorium.vae import inference

sys.path.insert(0, str(common.ROOT))

import numpy as np
from rapidfuzz.distance import Levenshtein

import names_vae

RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def near(run, anchors, labels, radius, seed=1):
    """Returns a name near each anchor."""
    texts = [f"{label}\t{name}" for label, name in zip(labels, anchors, strict=True)]
    z = codec.around(run, texts, radius, seed)
    given = {"z": z, "labels": codec.read_names(run, texts).labels, "forced": np.zeros(z.shape[:2], "int32")}
    return [run.vocabulary.decode(ids) for ids in inference.write(run.model, given, z.shape[1])[0]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run")
    parser.add_argument("-T", "--logdir", default=str(common.ROOT / "runs"))
    args = parser.parse_args()
    started = time.monotonic()
    run, _ = trained.opened(args.run, args.logdir, ("names_vae",))
    o = run.options
    corpus = corpora.load(o["task"], o["data"], limit=o["limit"], level=o["level"], seed=1, labelled=True)
    known = name_scores.Known(corpus.train)
    begun = time.monotonic()
    names_vae.draw(run, 1000, temperature=names_vae.TEMPERATURE)
    first = time.monotonic() - begun
    begun = time.monotonic()
    found = known.describe(names_vae.draw(run, 1000, temperature=names_vae.TEMPERATURE, seed=2))
    second = time.monotonic() - begun
    rows = []
    for split in ("train", "test"):
        names, labels = getattr(corpus, split), (corpus.labels or {}).get(split)
        chosen = np.random.default_rng(1).choice(len(names), min(500, len(names)), replace=False)
        anchors = [names[i] for i in chosen if len(names[i]) <= o["max_length"]]
        of = [labels[i] if labels else "" for i in chosen if len(names[i]) <= o["max_length"]]
        distances = {
            radius: [Levenshtein.distance(*pair) for pair in zip(anchors, near(run, anchors, of, radius), strict=True)]
            for radius in RADII
        }
        row = {"anchors": split, "given back at radius 0": float(np.mean(np.equal(distances[0.0], 0)))}
        rows.append(row | {f"distance at {radius:g}": float(np.median(d)) for radius, d in distances.items()})
        rows[-1] |= {f"mean at {radius:g}": float(np.mean(d)) for radius, d in distances.items()}
    body = f"1,000 names: {first:.2f} s the first time; {len(found):,} with their nearest names: {second:.2f} s"
    common.append("names_vae.py: anchors and time", f"{common.table(rows)}\n\n{body}", time.monotonic() - started)


if __name__ == "__main__":
    main()
