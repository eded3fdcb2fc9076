"""Names near an anchor at several radii, and the speed of sampling, for a trained run of names_vae.py.

    python benchmarks/names_use.py RUN [-T LOGDIR]

For 500 names of the training split and 500 of the test split: how many are reconstructed at radius 0, and the median
edit distance of names sampled at other radii. The time is for 1,000 names from the prior once the run is loaded,
including the compilation of the decoding loop.
"""

import argparse
import sys
import time

import common
from scriptorium.data import corpora
from scriptorium.names_vae import scores as name_scores
from scriptorium.training import trained
from scriptorium.vae import inference

sys.path.insert(0, str(common.ROOT))

import numpy as np
from rapidfuzz.distance import Levenshtein

import names_vae

RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def near(codec, anchors, labels, radius, seed=1):
    """Samples a name near each anchor."""
    texts = [f"{label}\t{name}" for label, name in zip(labels, anchors, strict=True)]
    z = codec.sample_near(texts, radius, seed)
    given = {"z": z, "labels": codec.read(texts).labels, "forced": np.zeros(z.shape[:2], "int32")}
    ids = inference.write(codec.run.model, given, z.shape[1])[0]
    return [codec.run.vocabulary.decode(row) for row in ids]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run")
    parser.add_argument("-T", "--logdir", default=str(common.ROOT / "runs"))
    args = parser.parse_args()
    started = time.monotonic()
    codec = trained.load(args.run, args.logdir, ("names_vae",))
    run = codec.run
    o = run.options
    corpus = corpora.load(o["task"], o["data"], limit=o["limit"], level=o["level"], seed=1, labeled=True)
    known = name_scores.TrainingNames(corpus.train)
    begun = time.monotonic()
    codec.sample(1000, temperature=names_vae.TEMPERATURE)
    first = time.monotonic() - begun
    begun = time.monotonic()
    described = known.describe(codec.sample(1000, 2, temperature=names_vae.TEMPERATURE))
    second = time.monotonic() - begun
    rows = []
    for split in ("train", "test"):
        names, labels = getattr(corpus, split), (corpus.labels or {}).get(split)
        chosen = np.random.default_rng(1).choice(len(names), min(500, len(names)), replace=False)
        anchors = [names[i] for i in chosen if len(names[i]) <= o["max_length"]]
        of = [labels[i] if labels else "" for i in chosen if len(names[i]) <= o["max_length"]]
        distances = {
            radius: [
                Levenshtein.distance(*pair) for pair in zip(anchors, near(codec, anchors, of, radius), strict=True)
            ]
            for radius in RADII
        }
        row = {"anchors": split, "reconstructed at radius 0": float(np.mean(np.equal(distances[0.0], 0)))}
        rows.append(row | {f"distance at {radius:g}": float(np.median(d)) for radius, d in distances.items()})
        rows[-1] |= {f"mean at {radius:g}": float(np.mean(d)) for radius, d in distances.items()}
    body = f"1,000 names: {first:.2f} s the first time; {len(described):,} with their nearest names: {second:.2f} s"
    common.append("names_vae.py: anchors and time", f"{common.table(rows)}\n\n{body}", time.monotonic() - started)


if __name__ == "__main__":
    main()
