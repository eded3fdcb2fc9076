"""What texts can be for a transformer autoencoder: Python, JSON, headlines with a topic, drawn digits; and its presets.

An experiment is a name for options and for the scores that tell whether codes of such texts are any good.
"""

import argparse
import ast
import json
import math
import re
import warnings

from scriptorium import UserError
from scriptorium.data import digits, labels
from scriptorium.nn.transformer import FUNNEL
from scriptorium.transformer_vae import probes
from scriptorium.transformer_vae import scores as code_scores
from scriptorium.transformer_vae.digit_judge import Classifier, strip
from scriptorium.vae import inference, latent

import numpy as np

SHARES = {"full": 1, "half": 2, "quarter": 4, "eighth": 8, "tenth": 10, "sixteenth": 16}  # of a width of 768
PRESETS = {
    "funnel_tiny": {"funnel": "1_1_1"},
    "funnel_small": {"funnel": "2_2_2"},
    "funnel_medium": {"funnel": "3_3_3"},
    "grad_check_pnt": {"recompute": 3, "dropout": 0.0},
    "batch_small": {"batch_size": 16},
    "batch_medium": {"batch_size": 64},
    "batch_large": {"batch_size": 128},
}
EXPERIMENTS = {
    "syntax": {"task": "pylines"},
    "semantics": {"task": "headlines"},
    "mnist": {"task": "digits", "level": "char"},
}
LABELED = ("semantics", "mnist")  # experiments whose texts need a label each
SURE = 0.9  # probability from which a picture is a digit


def preset(name):
    """Returns the options that a preset stands for, None for one that is none."""
    if found := re.fullmatch(rf"({'|'.join(SHARES)})_(\d+)_tkn", name):
        return {"latent_dim": round(768 / SHARES[found[1]] + 0.01), "latent_tokens": int(found[2])}
    if found := re.fullmatch(r"window(\d+)", name):
        return {"window": int(found[1])}
    if found := re.fullmatch(r"(\d+)Seq", name):
        return {"max_length": int(found[1])}
    return PRESETS.get(name)


def presets(text):
    """Parses names of presets with commas between."""
    found = {}
    for name in text.split(","):
        options = preset(name)
        if options is None:
            known = ["full_30_tkn (half, quarter, ...; any number)", "window60", "30Seq", *PRESETS]
            raise argparse.ArgumentTypeError(f"there is no preset {name!r}; there are {', '.join(known)}")
        found |= options
    return found


def settle(args):
    """Sets the options that --preset and --experiment stand for, except those that are given, and --check."""
    chosen = dict(EXPERIMENTS.get(args.experiment, {}))
    if args.experiment == "mnist":
        length = chosen["max_length"] = args.rows * (args.rows + 2)
        chosen |= {"latent_tokens": 1 + math.ceil((length + 1) / FUNNEL), "latent_dim": 16, "batch_size": 16}
    for name, value in (chosen | (args.preset or {})).items():
        if name not in args.given:
            setattr(args, name, value)
            args.given.add(name)
    python = args.experiment == "syntax" or (args.task == "pylines" and not args.data)
    args.check = args.check or ("python" if python else "none")


class Texts:
    """Texts that are checked one by one, or not at all."""

    def __init__(self, check):
        self.valid = check and (lambda texts: [check(text) for text in texts])

    def scores(self, run, splits):
        """Returns scores of a trained model besides those that any has: dict of name -> float."""
        return {}

    def show(self, run, texts, epoch):
        """Shows what texts cannot show of walks between validation texts."""


class Labelled(Texts):
    """Texts with a label, headlines and their topics: a support vector machine tells it from the code."""

    def __init__(self, classes, names, check):
        super().__init__(check)
        self.classes, self.names = classes, names

    def of(self, split):
        """Returns the labels of a split, list of str, "" where there is none."""
        return [self.names[label] for label in self.classes[split]]

    def scores(self, run, splits):
        texts, z = (
            {split: read(splits[split]) for split in ("train", "test")}
            for read in (
                lambda sequences: [run.vocabulary.decode(sequences[i]) for i in range(len(sequences))],
                lambda sequences: inference.posteriors(run.model, sequences)[0].reshape(len(sequences), -1),
            )
        )
        return probes.of_codes(z, texts, {split: self.of(split) for split in texts})


class Digits(Labelled):
    """Drawn digits: a convolutional network says whether what is written is one."""

    def __init__(self, classes, names, run, train):
        super().__init__(classes, names, None)
        texts = [run.vocabulary.decode(train[i]) for i in range(len(train))]
        run.console.say("A small network learns to tell the digits.")
        self.judge = Classifier(texts, self.of("train"), run.seed)
        self.valid = lambda texts: (self.judge.tell(texts)[1] >= SURE).tolist()

    def scores(self, run, splits):
        test, wanted = splits["test"], self.of("test")
        texts = [run.vocabulary.decode(test[i]) for i in range(len(test))]
        z = inference.posteriors(run.model, test)[0]
        again = [run.vocabulary.decode(ids) for ids in code_scores.write(run.model, z, run.options["positions"])]
        told = {"digit_real": self.judge.tell(texts), "digit_again": self.judge.tell(again)}
        scores = {name: float(np.mean(np.array(found) == wanted)) for name, (found, _) in told.items()}
        scores["sure_real"] = float(np.mean(told["digit_real"][1] >= SURE))
        pairs = [(digits.from_text(a), digits.from_text(b)) for a, b in zip(texts, again, strict=True)]
        errors = [np.abs(a - b).mean() for a, b in pairs if b is not None and b.shape == a.shape]
        well = code_scores.share("well_formed", [b is not None and b.shape == a.shape for a, b in pairs])
        return scores | well | {"pixel_error": float(np.mean(errors)) if errors else 1.0}

    def show(self, run, texts, epoch):
        z = inference.posteriors(run.model, texts)[0]
        walks, shares = [], np.linspace(0, 1, 11)
        for a, b in zip(range(0, len(z) - 1, 2), range(1, len(z), 2), strict=True):
            noise = code_scores.on_the_way(shares, run.options["noise"])
            ids = code_scores.write(run.model, latent.slerp(z[a], z[b], shares), run.options["positions"], noise)
            written = [run.vocabulary.decode(row) for row in ids]
            titles = [f"{label} {sure:.0%}" for label, sure in zip(*self.judge.tell(written), strict=True)]
            ends = [(run.vocabulary.decode(texts[i]), "given") for i in (a, b)]
            walks.append([ends[0], *zip(written, titles, strict=True), ends[1]])
        if walks:
            run.figure("walk_strip", strip(walks), epoch)


def classes_of(corpus, experiment):
    """Returns the classes of every text by its first kind of label, a dict of split -> int32 (texts, 1).

    Raises:
        UserError: texts without labels.
    """
    if not corpus.labels:
        raise UserError(f"{corpus.name} has no labels: --experiment {experiment} needs one for each text")
    kinds = labels.Labels.of(corpus.labels["train"])
    splits = ("train", "valid", "test")
    return {s: kinds.encode_all(corpus.labels.get(s), len(getattr(corpus, s)))[:, :1] for s in splits}


def kind_of(run, args, corpus, vocabulary, splits):
    """Returns what the texts of a run are, `Texts` or one of its kinds; `splits` keep their ids alone.

    Args:
        run: `Run`.
        args: options.
        corpus, vocabulary, splits: what `util.load` returned, with `classes_of` where the experiment is in `LABELED`.
    """
    check = CHECKS[run.options["check"]]
    if args.experiment not in LABELED:
        return Texts(check)
    names = ["", *next(iter(labels.Labels.of(corpus.labels["train"]).kinds.values()))]
    # The model reads texts alone.
    found = {split: sequences.labels[:, 0] for split, sequences in splits.items()}
    for sequences in splits.values():
        sequences.labels = None
    if args.experiment == "mnist":
        run.vocabulary = vocabulary
        return Digits(found, names, run, splits["train"])
    return Labelled(found, names, check)


def is_python(text):
    """Whether a text is a Python module that is not empty, as `ast.parse` has it; `if x:` alone is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escapes
            return bool(ast.parse(text.strip()).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def is_json(text):
    """Whether a text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


CHECKS = {"python": is_python, "json": is_json, "none": None}
