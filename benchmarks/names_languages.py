"""names_vae.py on surnames of 18 languages: do sampled names look like names, and like their language?

    python benchmarks/names_languages.py FOLDER [--epochs 40] [-T LOGDIR]

FOLDER has one file per language, the data of PyTorch's tutorial on names; repeated names are left out. The judge is a
character n-gram model for each language (modified Kneser-Ney, 5-grams), trained on the training names. It recognizes a
language by Bayes's rule with equal priors.

"Language recognized" is for names sampled in a language, a mean over the languages; the other scores are for 10,000
names with languages as frequent as in training. "Full width": samples with prior scale 1, temperature 1, guidance 0.
An existing run of this name is not trained again.
"""

import argparse
import re
import time
from pathlib import Path

import common
from scriptorium.data import corpora
from scriptorium.names_vae import codec
from scriptorium.names_vae import scores as name_scores
from scriptorium.scores import kneser_ney
from scriptorium.training import trained

import numpy as np

import names_vae

EACH = 400  # names sampled per language
DEFAULTS = {"prior_scale": codec.PRIOR_SCALE, "temperature": names_vae.TEMPERATURE, "guidance": codec.GUIDANCE}
SETTINGS = {
    "default": DEFAULTS,
    "guidance 0": DEFAULTS | {"guidance": 0.0},
    "full width": {"prior_scale": 1.0, "temperature": 1.0, "guidance": 0.0},
}


class Judge:
    """Recognizes the language of a name with n-gram models of characters."""

    def __init__(self, names, languages):
        self.languages = sorted(set(languages))
        pairs = list(zip(names, languages, strict=True))
        # A character that a language has never seen is equally unlikely in all of them.
        size = len(set().union(*names)) + 1
        self.models = {
            one: kneser_ney.KneserNey([name for name, language in pairs if language == one], 5, size)
            for one in self.languages
        }

    def __call__(self, name):
        return min(self.languages, key=lambda one: self.models[one].nll(name))

    def accuracy(self, names, languages):
        """Returns the share of names whose language is recognized, a dict of language -> float."""
        right = {one: [] for one in self.languages}
        for name, language in zip(names, languages, strict=True):
            right[language].append(self(name) == language)
        return {one: float(np.mean(flags)) for one, flags in right.items() if flags}


def well_formed(name, characters):
    """Whether a name has at least two characters, all of them known, and none three times in a row."""
    return len(name) > 1 and set(name) <= characters and not re.search(r"(.)\1\1", name.lower())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started, name = time.monotonic(), f"languages-{args.epochs}"
    where = ["-T", args.logdir.resolve(), "-D", args.folder.resolve()]
    directory = args.logdir / "names_vae" / name
    if not (directory / "eval.json").exists():
        common.run_script("names_vae.py", *where, "-e", args.epochs, "--name", name, "-o", 10)
    if "iw_nll" not in common.scores_of(directory):
        common.run_script("names_vae.py", *where, "--eval", name)
    names = trained.load(name, args.logdir, ("names_vae",))
    run = names.run
    corpus = corpora.load(path=args.folder, level="char", seed=1, labeled=True)
    longest = run.options["max_length"]
    real = [(n, label) for n, label in zip(corpus.test, corpus.labels["test"], strict=True) if len(n) <= longest]
    judge, counts = Judge(corpus.train, corpus.labels["train"]), kneser_ney.KneserNey(corpus.train)
    known, characters = name_scores.TrainingNames(corpus.train), {c for n in corpus.train for c in n}

    def scored(names, languages, free):
        """Scores names sampled in a language, and names sampled in any language."""
        each = judge.accuracy(names, languages)
        return each, {
            "language recognized": np.mean(list(each.values())),
            "well-formed": np.mean([well_formed(n, characters) for n in free]),
            **known.novelty(free),
            "nats per character by counts": counts.nats_per_token(free),
        }

    columns = {"real": scored(*zip(*real, strict=True), [n for n, _ in real])}
    languages = [language for language in judge.languages for _ in range(EACH)]
    for title, how in SETTINGS.items():
        sampled = [
            name
            for seed, language in enumerate(judge.languages, 1)
            for name in names.sample(EACH, seed, label=language, **how)
        ]
        free = names.sample(10_000, 99, **how)
        columns[title] = scored(sampled, languages, free)
    rows = [
        {"score": key, **{column: float(values[key]) for column, (_, values) in columns.items()}}
        for key in columns["real"][1]
    ]
    each = [
        {"language": one, **{column: shares[one] for column, (shares, _) in columns.items()}} for one in judge.languages
    ]
    scores = common.scores_of(run.directory)
    summary = {key: scores[key] for key in ("nats_per_char", "iw_nll", "kl", "exact_match", "active_units")}
    summary["training minutes"] = round(common.training_seconds(run.directory) / 60, 1)
    title = f"names_vae.py on surnames of 18 languages, {args.epochs} epochs"
    tables = common.table(rows), common.table([summary]), "Language recognized:", common.table(each)
    common.append(title, "\n\n".join(tables), time.monotonic() - started)


if __name__ == "__main__":
    main()
