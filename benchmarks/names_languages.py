"""names_vae.py on surnames of 18 languages: are names asked for in a language of that language, and are they names?

    python benchmarks/names_languages.py FOLDER [--epochs 40] [-T LOGDIR]

FOLDER has a file for each language, the data of PyTorch's tutorial on names; repeated names are left out. The judge
is a count model of characters for each language (modified Kneser-Ney, 5-grams), trained on the training names: it
finds a language by Bayes's rule with all languages equally likely. Scores are means over the languages.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import common
import kneser_ney

sys.path.insert(0, str(common.ROOT))

import trained  # isort: skip (before Keras)
import numpy as np

import corpora
import name_scores
import names_vae

EACH = 400  # names drawn of each language


class Judge:
    """Finds the language of a name by count models of its characters."""

    def __init__(self, names, languages):
        self.languages = sorted(set(languages))
        pairs = list(zip(names, languages, strict=True))
        self.models = {
            one: kneser_ney.KneserNey([name for name, language in pairs if language == one], 5)
            for one in self.languages
        }
        # A character that a language has never seen is as unlikely in each of them.
        characters = set().union(*(model.characters for model in self.models.values()))
        for model in self.models.values():
            model.characters = characters

    def __call__(self, name):
        return min(self.languages, key=lambda one: self.models[one].nll(name))

    def accuracy(self, names, languages):
        """Returns the mean over the languages of the share of their names that are found to be theirs."""
        right = {one: [] for one in self.languages}
        for name, language in zip(names, languages, strict=True):
            right[language].append(self(name) == language)
        return {one: float(np.mean(found)) for one, found in right.items() if found}


def well_formed(name, characters):
    """Whether a name is two characters or more, all of them known, and none of them three times in a row."""
    return len(name) > 1 and set(name) <= characters and not re.search(r"(.)\1\1", name.lower())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started, name = time.monotonic(), f"languages-{args.epochs}"
    where = ["-T", args.logdir.resolve(), "-D", args.folder.resolve()]
    common.run_script("names_vae.py", *where, "-e", args.epochs, "--name", name, "-o", 10)
    common.run_script("names_vae.py", *where, "--eval", name)
    run, _ = trained.opened(name, args.logdir, ("names_vae",))
    corpus = corpora.load(path=args.folder, level="char", seed=1, labelled=True)
    longest = run.options["max_length"]
    real = [(n, label) for n, label in zip(corpus.test, corpus.labels["test"], strict=True) if len(n) <= longest]
    judge = Judge(corpus.train, corpus.labels["train"])
    drawn, languages = [], []
    for seed, language in enumerate(judge.languages, 1):
        drawn += names_vae.draw(run, EACH, style=language, seed=seed, temperature=1.0)
        languages += [language] * EACH
    accuracy = {"real": judge.accuracy(*zip(*real, strict=True)), "drawn": judge.accuracy(drawn, languages)}
    free = names_vae.draw(run, 10_000, seed=99, temperature=1.0)
    known, characters = name_scores.Known(corpus.train), {c for n in corpus.train for c in n}
    counts = kneser_ney.KneserNey(corpus.train)
    held_out = [n for n, _ in real]
    means = {kind: float(np.mean(list(found.values()))) for kind, found in accuracy.items()}
    rows = {
        "language found, names asked for": means["drawn"],
        "language found, real held-out names": means["real"],
        "the one as a share of the other": means["drawn"] / means["real"],
        "10,000 names without a label: well-formed": np.mean([well_formed(n, characters) for n in free]),
        "real held-out names: well-formed": np.mean([well_formed(n, characters) for n in held_out]),
        **{f"10,000 names: {share}": value for share, value in known.shares(free).items()},
        "10,000 names: nats a character by counts": counts.nats_per_char(free),
        "real held-out names: nats a character by counts": counts.nats_per_char(held_out),
    }
    scores = common.scores_of(run.directory)
    rows |= {key: scores[key] for key in ("nats_per_char", "iw_nll", "kl", "exact_match", "active_units")}
    rows["training minutes"] = round(common.training_seconds(run.directory) / 60, 1)
    body = common.table([{"score": key, "value": float(value)} for key, value in rows.items()])
    each = [{"language": k, "asked for": accuracy["drawn"][k], "real": v} for k, v in accuracy["real"].items()]
    title = f"names_vae.py on surnames of 18 languages, {args.epochs} epochs"
    common.append(title, f"{body}\n\n{common.table(each)}", time.monotonic() - started)


if __name__ == "__main__":
    main()
