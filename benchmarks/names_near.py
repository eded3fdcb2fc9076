"""Names near a name: are they in its alphabet, in its language, and how far away, for a run on the built-in names.

    python benchmarks/names_near.py [--run RUN] [-T LOGDIR] [--anchors 500]

Around each held-out name and at each radius, four names are written as `--sample --anchor NAME` writes them: their
label is the one that the supervisor reads from the anchor. "in its alphabet": all letters are of the anchor's alphabet.
A judge that is trained apart, one character n-gram model for each of the languages, reads the language of each name:
"true language" is the share in which it finds that of the anchor, "same language" the share in which it reads in the
name what it reads in the anchor. The first row judges the anchors themselves, the second one other held-out names of
the anchor's language: what names that have nothing but the language in common would reach.
"""

import argparse
import time

import common
from scriptorium.data import corpora
from scriptorium.data.alphabets import alphabets
from scriptorium.training import trained

import numpy as np
from names_languages import Judge
from rapidfuzz.distance import Levenshtein

import names_vae

RADII = (0.5, 1.0, 1.5, 2.0)
EACH = 4  # names around an anchor


def compare(anchors, names, judge):
    """Returns a row of the table.

    Args:
        anchors: list of (name, language).
        names: the names to compare with each anchor, list of lists of str.
        judge: returns the language of a name.
    """
    inside, mixed, right, same, distances = [], [], [], [], []
    for (anchor, language), others in zip(anchors, names, strict=True):
        read = judge(anchor)
        for name in others:
            found = judge(name)
            inside.append(bool(name) and alphabets(name) <= alphabets(anchor))
            mixed.append(len(alphabets(name)) > 1)
            right.append(found == language)
            same.append(found == read)
            distances.append(Levenshtein.distance(anchor, name))
    return {
        "in its alphabet": float(np.mean(inside)),
        "several alphabets": float(np.mean(mixed)),
        "true language": float(np.mean(right)),
        "same language": float(np.mean(same)),
        "median edit distance": float(np.median(distances)),
        "mean edit distance": float(np.mean(distances)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", default=str(common.ROOT / "pretrained" / "names_vae" / "names"))
    parser.add_argument("-T", "--logdir", default=None)
    parser.add_argument("--anchors", type=int, default=500)
    args = parser.parse_args()
    started, codec = time.monotonic(), trained.load(args.run, args.logdir, ("names_vae",))
    corpus = corpora.load("names", level="char", seed=1, labeled=True)
    judge = Judge(corpus.train, corpus.labels["train"])
    pairs = list(zip(corpus.test, corpus.labels["test"], strict=True))
    chosen = np.random.default_rng(1).permutation(len(pairs))[: args.anchors]
    anchors = [pairs[i] for i in chosen if len(pairs[i][0]) <= codec.run.options["max_length"]]
    real = np.mean([judge(name) == language for name, language in anchors])
    rows = [{"radius": "the anchor itself", "in its alphabet": 1.0, "several alphabets": 0.0}]
    rows[0] |= {"true language": float(real), "same language": 1.0}
    by_language, random = {}, np.random.default_rng(2)
    for name, language in pairs:
        by_language.setdefault(language, []).append(name)
    others = [random.choice(by_language[language], EACH) for _, language in anchors]
    rows.append({"radius": "other names of its language"} | compare(anchors, others, judge))
    print(rows[-1], flush=True)
    for radius in RADII:
        near = [
            codec.sample(EACH, seed, anchor=anchor, radius=radius, temperature=names_vae.TEMPERATURE)
            for seed, (anchor, _) in enumerate(anchors, 1)
        ]
        rows.append({"radius": radius} | compare(anchors, near, judge))
        print(rows[-1], flush=True)
    rows[0] |= dict.fromkeys(("median edit distance", "mean edit distance"), "")
    common.append(f"Names near {len(anchors)} held-out names", common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
