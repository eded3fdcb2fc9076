"""The kinds of text that transformer_vae.py is evaluated on (Python, JSON, headlines, drawn digits), and its presets.

An experiment is a set of options with scores for the codes of such texts.
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
from scriptorium.vae import inference, paths

import numpy as np

SHARES = {"full": 1, "half": 2, "quarter": 4, "eighth": 8, "tenth": 10, "sixteenth": 16}  # divisors of a width of 768
PRESETS = {
    "funnel_tiny": {"funnel": "1_1_1"},
    "funnel_small": {"funnel": "2_2_2"},
    "funnel_medium": {"funnel": "3_3_3"},
    "grad_check_pnt": {"recompute": 3, "dropout": 0.0},
    "batch_small": {"batch_size": 16},
    "batch_medium": {"batch_size": 64},
    "batch_large": {"batch_size": 128},
    "eval": {},  # every run is scored at its end
}
SIZES = {  # of T5
    "small": {"units": 512, "num_heads": 8, "decoder_layers": 6},
    "base": {"units": 768, "num_heads": 12, "decoder_layers": 12},
}
EXPERIMENTS = {
    "syntax": {"task": "pylines"},
    "semantics": {"task": "headlines"},
    "mnist": {"task": "digits", "level": "char"},
}
LABELED = ("semantics", "mnist")  # experiments in which each text needs a label
SURE = 0.9  # probability above which a picture counts as a digit


def preset(name):
    """Returns the options of a preset, or None if there is no such preset."""
    experiment, _, size = name.partition("_")
    if experiment in EXPERIMENTS and (not size or size in SIZES):
        return {"experiment": experiment} | SIZES.get(size, {})
    if match := re.fullmatch(rf"({'|'.join(SHARES)})_(\d+)_tkn", name):
        return {"latent_dim": round(768 / SHARES[match[1]] + 0.01), "latent_tokens": int(match[2])}
    if match := re.fullmatch(r"window(?:\d+-)?(\d+)", name):
        return {"attention_window": int(match[1])}
    if match := re.fullmatch(r"(\d+)Seq", name):
        return {"max_length": int(match[1])}
    return (PRESETS | SIZES).get(name)


def presets(text):
    """Checks names of presets, separated by commas or spaces; returns them separated by commas."""
    names = text.replace(",", " ").split()
    for name in names:
        if preset(name) is None:
            known = ["full_30_tkn (half, quarter, ...; any number)", "window60", "30Seq", *EXPERIMENTS]
            known += ["mnist_base", "mnist_small", *PRESETS, *SIZES]
            raise argparse.ArgumentTypeError(f"unknown preset {name!r}; the presets are: {', '.join(known)}")
    return ",".join(names)


def settle(parser, args):
    """Sets the options that follow from others, and rejects options that contradict each other; returns the options."""
    _use_presets(args)
    if not args.max_length:
        parser.error("--max-length is required, because each position has its own embedding")
    if args.units % args.num_heads:
        parser.error(f"--num-heads {args.num_heads} does not divide --units {args.units}")
    if args.recompute and args.dropout:
        parser.error("--recompute needs --dropout 0, because recomputing would draw other dropout masks")
    if args.attention_window == 1:
        parser.error("--attention-window 1 leaves nothing to attend to; use 0 or at least 2")
    if args.no_regularizer:
        args.beta, args.mmd, args.code = 0.0, 0.0, "point"
    if args.code == "point" and "noise_probability" not in args.given:
        args.noise_probability = 0.0
    if args.temperature and "beam" not in args.given:
        args.beam = 1  # a temperature means sampling
    args.positions = args.max_length + 1
    args.gen_length = min(args.gen_length, args.positions) if "gen_length" in args.given else args.positions
    return args


def _use_presets(args):
    """Sets the options of --preset and --experiment, unless given explicitly, and --check."""
    from_presets = {}
    for name in filter(None, [*(args.preset or "").split(","), *args.presets]):
        from_presets |= preset(name)
    args.experiment = args.experiment or from_presets.pop("experiment", None)
    chosen = dict(EXPERIMENTS.get(args.experiment, {}))
    if args.experiment == "mnist":
        length = chosen["max_length"] = args.rows * (args.rows + 2)
        chosen |= {"latent_tokens": 1 + math.ceil((length + 1) / FUNNEL), "latent_dim": 16, "batch_size": 16}
    for name, value in (chosen | from_presets).items():
        if name not in args.given:
            setattr(args, name, value)
            args.given.add(name)
    python = args.experiment == "syntax" or (args.task == "pylines" and not args.data)
    args.check = args.check or ("python" if python else "none")


class Texts:
    """Texts without labels, perhaps with a validity check."""

    def __init__(self, check):
        self.check = check and (lambda texts: [check(text) for text in texts])

    def scores(self, run, splits):
        """Returns additional scores of a trained model: dict of name -> float."""
        return {}

    def show(self, run, texts, epoch):
        """Shows walks between validation texts as figures, if the texts are pictures."""


class Labeled(Texts):
    """Texts with a label, such as headlines and their topics: a classifier predicts it from the code."""

    def __init__(self, classes, names, check):
        super().__init__(check)
        self.classes, self.names = classes, names

    def labels_of(self, split):
        """Returns the labels of a split, list of str, "" for a text without one."""
        return [self.names[label] for label in self.classes[split]]

    def scores(self, run, splits):
        texts, z = (
            {split: read(splits[split]) for split in ("train", "test")}
            for read in (
                run.vocabulary.decode_all,
                lambda sequences: inference.posteriors(run.model, sequences)[0].reshape(len(sequences), -1),
            )
        )
        return probes.accuracies(z, texts, {split: self.labels_of(split) for split in texts})


class Digits(Labeled):
    """Drawn digits: a convolutional network decides whether a generated text is one."""

    def __init__(self, classes, names, run, train):
        super().__init__(classes, names, None)
        texts = run.vocabulary.decode_all(train)
        run.console.say("Training a small network that classifies digits ...")
        self.judge = Classifier(texts, self.labels_of("train"), run.seed)
        self.check = lambda texts: (self.judge.classify(texts)[1] >= SURE).tolist()

    def scores(self, run, splits):
        test, test_labels = splits["test"], self.labels_of("test")
        texts = run.vocabulary.decode_all(test)
        z = inference.posteriors(run.model, test)[0]
        again = [run.vocabulary.decode(ids) for ids in code_scores.write(run.model, z, run.options["positions"])]
        both = {"digit_accuracy_real": texts, "digit_accuracy_reconstructed": again}
        predicted = {name: self.judge.classify(pictures) for name, pictures in both.items()}
        scores = {name: float(np.mean(np.array(guesses) == test_labels)) for name, (guesses, _) in predicted.items()}
        scores["confident_real"] = float(np.mean(predicted["digit_accuracy_real"][1] >= SURE))
        pairs = [(digits.from_text(a), digits.from_text(b)) for a, b in zip(texts, again, strict=True)]
        errors = [np.abs(a - b).mean() for a, b in pairs if b is not None and b.shape == a.shape]
        well = code_scores.share("well_formed", [b is not None and b.shape == a.shape for a, b in pairs])
        return scores | well | {"pixel_error": float(np.mean(errors)) if errors else 1.0}

    def show(self, run, texts, epoch):
        z = inference.posteriors(run.model, texts)[0]
        walks, shares = [], np.linspace(0, 1, 11)
        for a, b in zip(range(0, len(z) - 1, 2), range(1, len(z), 2), strict=True):
            noise = code_scores.walk_noise(shares, run.options["noise_level"])
            ids = code_scores.write(run.model, paths.slerp(z[a], z[b], shares), run.options["positions"], noise)
            written = [run.vocabulary.decode(row) for row in ids]
            titles = [f"{label} {sure:.0%}" for label, sure in zip(*self.judge.classify(written), strict=True)]
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
        raise UserError(f"{corpus.name} has no labels; --experiment {experiment} needs one for each text")
    kinds = labels.Labels.of(corpus.labels["train"])
    splits = ("train", "valid", "test")
    return {s: kinds.encode_all(corpus.labels.get(s), len(getattr(corpus, s)))[:, :1] for s in splits}


def kind_of(run, args, corpus, vocabulary, splits):
    """Returns the kind of texts of a run, `Texts` or a subclass; removes the labels from `splits`.

    Args:
        run: `Run`.
        args: options.
        corpus, vocabulary, splits: the result of `util.load`, with `classes_of` if the experiment is in `LABELED`.
    """
    check = CHECKS[run.options["check"]]
    if args.experiment not in LABELED:
        return Texts(check)
    names = ["", *next(iter(labels.Labels.of(corpus.labels["train"]).kinds.values()))]
    # The model reads only the texts.
    classes = {split: sequences.labels[:, 0] for split, sequences in splits.items()}
    for sequences in splits.values():
        sequences.labels = None
    if args.experiment == "mnist":
        run.vocabulary = vocabulary
        return Digits(classes, names, run, splits["train"])
    return Labeled(classes, names, check)


def is_python(text):
    """Whether a text parses as a nonempty Python module; `if x:` alone does not."""
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
