"""Score: how good are generated texts? Compares samples of any origin with real texts, score by score.

A model that samples well writes texts that are like real ones (quality) and as varied as they are (variety). Two
divergences measure both, in nats per token. Each is the difference of two scores under count models:

    kl_samples = nll_samples - entropy_samples          samples that do not look like real texts
    kl_reference = nll_reference - entropy_reference    real texts that do not look like samples

A low temperature improves one and harms the other. In addition, a classifier tries to tell the two sides apart, and
BLEU, self-BLEU, divergences of n-grams, copies and repetitions are counted. The last column has the same scores of
other real texts: no model can be expected to do better, and a score far from it on either side is a bad sign. The
brackets hold 95% of 1,000 bootstrap draws.

Try:
    python score.py samples.txt --reference test.txt --train train.txt
    python score.py cold.txt warm.txt hot.txt --reference test.txt --plot frontier.png
    python score.py samples.txt --reference scenes         a corpus whose true probabilities are known

A file holds one text per line, or is a .csv or .jsonl table. Details are in docs/score.md.
"""

import hashlib
import importlib.metadata
import json
import os
import random
from pathlib import Path

from scriptorium import UserError, pictures
from scriptorium.command_line import Parser, bounded, command, seed
from scriptorium.data import corpora, files, sources
from scriptorium.data.scenes import scores as scenes_scores
from scriptorium.data.tasks import TASKS
from scriptorium.data.textfiles import LAYOUTS, lines_of
from scriptorium.data.tokens import tokens_of
from scriptorium.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from scriptorium.scores import comparison
from scriptorium.scores.comparison import FOLDS, LEAST, ORDER, Yardstick
from scriptorium.scores.intervals import Term, mean
from scriptorium.streams import note

import numpy as np

VERSION = 1  # goes up when the scores of the same files change
LEVELS = ("word", "space", "char")
FEW, MOST = 1000, 10_000  # texts on each side: enough for narrow intervals, and as many as are scored by default
REAL = "real texts"


# Reading --------------------------------------------------------------------------------------------------------------


def read(args):
    """Reads the texts of a command line.

    Returns:
        The reference, the training texts or None, and those of each file of samples, lists of str; the level of the
        tokens, None if it is to be detected.
    """
    train, level = None, args.level
    if is_task(args.reference):
        corpus = corpora.load(args.reference)
        reference, train, level = list(corpus.test), list(corpus.train), level or corpus.level
    else:
        reference = texts_of(args.reference, "test", args.layout)
    if args.train:
        train = texts_of(args.train, "train", args.layout)
    return reference, train, [texts_of(path, "test", args.layout) for path in args.samples], level


def texts_of(name, split, layout):
    """Returns the texts of a file, or of a split of a folder, list of str, and notes what was left out.

    Args:
        name: path.
        split: "train" or "test", of a folder whose files are named after splits.
        layout: key of LAYOUTS; None for one text per line.
    """
    path = files.path_of(name)
    is_table = path.is_dir() or path.suffix.lower() in sources.TABLES
    source = sources.read_source(path, None, float("inf"), False, layout or ("auto" if is_table else "lines"))
    if len(source.texts) > 1 and split not in source.texts:
        raise UserError(f"{name}: this folder has no {split} texts, only {' and '.join(source.texts)}.")
    for text in source.notes:
        note(f"{name}: {text}")
    empty = 0 if is_table or layout else sum(not line.strip() for line in lines_of(path, empty=True))
    if empty:
        note(f"{name}: {empty:,} empty lines left out")
    return list(source.texts.get(split, source.texts["train"]))


def is_task(name):
    """Whether a name is that of a task and not of a file."""
    return name in TASKS and not Path(name).exists()


def choose(reference, train, samples, count, draw):
    """Chooses the same number of texts of each kind, so that count models, classifier and self-BLEU are fair.

    Without training texts, half of the reference takes the place of other real texts.

    Args:
        reference, train: see `read`.
        samples: dict of path -> list of str.
        count: int, the texts wanted of each kind, if there are so many.
        draw: `random.Random`.

    Returns:
        The reference, other real texts and all samples, lists of str of the same length.
    """
    reference = draw.sample(reference, len(reference))
    half = len(reference) // 2
    reference, real = (reference, train) if train is not None else (reference[:half], reference[half:])
    kinds = {"the reference": reference, "other real texts": real} | samples
    least = min(kinds, key=lambda name: len(kinds[name]))
    n = min(len(kinds[least]), count)
    if n < LEAST:
        halves = "" if train else " (half of the reference are the other real texts, unless there is a --train)"
        raise UserError(f"{least}: {n} texts; at least {LEAST} are needed{halves}.")
    if n < FEW:
        note(f"{n:,} texts of each kind: the intervals are wide; {FEW:,} or more are better")
    reference, real, *samples = (draw.sample(texts, n) for texts in kinds.values())
    return reference, real, samples


def split_into_tokens(reference, others, level):
    """Splits texts into tokens: characters in Chinese and Japanese, unless another level is asked for.

    Args:
        reference: list of str.
        others: lists of str.
        level: one of LEVELS; None detects it from the reference.

    Returns:
        A list of lists of tokens for the reference and for each of the others, and the level.
    """
    wanted = level or ("char" if is_east_asian(reference) else None)
    given, found, language = tokens_of({"train": reference} | dict(enumerate(others)), wanted)
    everything = list(given.values())
    if found == "char" and language != "en":
        everything = [["".join(text.split()) for text in texts] for texts in everything]
    if level is None and found in ("word", "space"):
        levels = {tokens_of({"train": texts}, None)[1] for texts in everything if texts}
        if len(levels) > 1:
            note("some texts have spaces before punctuation and others do not: --level word reads both alike")
    vocabulary = Vocabulary(SPECIAL_TOKENS, found, language)
    return [[vocabulary.split(text) for text in texts] for texts in everything], found


def is_east_asian(texts):
    """Whether texts are Chinese or Japanese."""
    return tokens_of({"train": texts}, "char")[2] != "en"


# Scoring --------------------------------------------------------------------------------------------------------------


def compare(args):
    """Scores the samples of a command line, and other real texts.

    Returns:
        dict of column, a path of samples or REAL -> dict of name -> (value, lowest, highest), and the signature.
    """
    references, train, samples, level = read(args)
    samples = dict(zip(args.samples, samples, strict=True))
    reference, real, chosen = choose(references, train, samples, args.count, random.Random(args.seed))
    columns = dict(zip([*samples, REAL], [*chosen, real], strict=True))
    # Without training texts, the other half of the reference is among the samples.
    references = references[:MOST] if train else reference
    tokens, level = split_into_tokens(reference, [references, *columns.values()], level)
    join = ("" if level == "char" else " ").join
    lines = [list(map(join, texts)) for texts in tokens]
    own_reference, references, *tokens = tokens
    settings = {"references": references, "longest": 4 if level == "char" else 2, "seed": args.seed}
    yardstick = Yardstick(own_reference, lines[0], tokens, **settings)
    on_scenes, table = args.reference == "scenes" and is_task(args.reference), {}
    for (column, texts), own, own_lines in zip(columns.items(), tokens, lines[2:], strict=True):
        note(f"scoring {column}")
        scores = yardstick.scores(own, own_lines)
        if train:
            # The other real texts are training texts themselves: what counts is how many of the reference are, too.
            side, own = ("reference", reference) if column == REAL else ("samples", texts)
            scores["copies"] = mean(side, comparison.copies(own, train))
        table[column] = scores | (scores_on_scenes(texts) if on_scenes else {})
    if args.lstm:
        note("training an LSTM on each side")
        add_lstm(table, yardstick, tokens)
    found = {column: comparison.with_intervals(scores, args.seed) for column, scores in table.items()}
    return found, signature(args, reference, train, level, len(yardstick.ids))


def signature(args, reference, train, level, vocab_size):
    """Returns what was compared and how, as one line; see `compare`."""

    def digest(texts):
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]

    facts = {"score.py": VERSION, "texts": len(reference), "tokens": level, "order": ORDER, "folds": FOLDS}
    facts |= {"vocabulary": vocab_size, "seed": args.seed, "reference": digest(reference)}
    facts |= {"train": digest(train)} if train else {}
    packages = ("numpy", "scikit-learn", "nltk", *(["keras"] if args.lstm else []))
    facts |= {name: importlib.metadata.version(name) for name in packages}
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def scores_on_scenes(samples):
    """Returns what only a corpus of known probabilities allows, see scenes/scores.py, as a dict of name -> terms.

    Args:
        samples: list of str.
    """
    nll, preferences = scenes_scores.rule_preferences(samples)
    correct = np.isfinite(nll)
    found = {"grammatical": mean("samples", correct)}
    if correct.any():
        for name, values in (("true_nll", nll), ("rules_kl", preferences)):
            found[name] = [Term("samples", np.where(correct, values, 0.0), correct.astype("float64"))]
    return found


def add_lstm(table, yardstick, columns):
    """Adds lstm_samples and lstm_reference to each column of a table: nats under LSTMs of real texts, of samples.

    Args:
        table: dict of column -> scores, the real texts last.
        yardstick: `Yardstick`.
        columns: the texts of each column, lists of lists of tokens.
    """
    from scriptorium.scores import lstm  # loads Keras

    def ids(texts):
        return [[yardstick.ids[token] for token in text] for text in texts]

    def lengths(texts):
        return np.minimum([len(text) + 1 for text in texts], lstm.LONGEST)

    *samples, real = map(ids, columns)
    reference, size = ids(yardstick.reference), len(yardstick.ids)
    of_samples = lstm.nats(real, [*samples, reference], size, yardstick.seed)
    for scores, texts, nats in zip(table.values(), [*samples, reference], of_samples, strict=True):
        side = "reference" if texts is reference else "samples"
        scores["lstm_samples"] = [Term(side, nats, lengths(texts))]
        if texts is not reference:
            nats = lstm.nats(texts, [reference], size, yardstick.seed)[0]
        scores["lstm_reference"] = [Term("reference", nats, lengths(reference))]


# Showing --------------------------------------------------------------------------------------------------------------


def show(found, signature, as_json):
    """Prints the scores of all columns as a table, or as one JSON object."""
    if as_json:
        columns = {
            column: {name: dict(zip(("value", "low", "high"), three, strict=True)) for name, three in scores.items()}
            for column, scores in found.items()
        }
        print(json.dumps({"signature": signature, "scores": columns}, ensure_ascii=False, indent=2))
        return
    heads = heads_of(found)
    print(*comparison.table({heads[column]: scores for column, scores in found.items()}), signature, sep="\n")


def heads_of(found):
    """Returns the head of each column: the name of the file, or its path if two files have one name."""
    clear = len({Path(column).name for column in found}) == len(found)
    return {column: Path(column).name if clear else column for column in found}


def draw_frontier(found, path):
    """Draws quality against variety, and the two divergences, with a point for each file."""
    figure = pictures.figure_of(11, 4.6)
    halves, both = figure.subplots(1, 2)
    heads = heads_of(found)
    planes = [(halves, "entropy_samples", "nll_samples"), (both, "kl_samples", "kl_reference")]
    for axes, across, up in planes:
        for column, scores in found.items():
            x, y = scores[across], scores[up]
            bars = {name: np.maximum(0, [[v - low], [high - v]]) for name, (v, low, high) in (("xerr", x), ("yerr", y))}
            style = {"marker": "*", "markersize": 12, "color": "black"} if column == REAL else {"marker": "o"}
            axes.errorbar(x[0], y[0], **bars, **style, linestyle="none", label=heads[column])
        axes.grid(alpha=0.3)
    ends = [f(scores["entropy_samples"][0] for scores in found.values()) for f in (min, max)]
    halves.plot(ends, ends, color="gray", linewidth=1)
    halves.set(xlabel="entropy_samples: variety (nats per token)", ylabel="nll_samples (nats per token)")
    halves.set_title("Height above the line: kl_samples")
    both.set(xlabel="kl_samples: unlike real texts", ylabel="kl_reference: real texts missed")
    both.set_title("Both divergences: lower is better")
    both.legend(frameon=False, fontsize=8)
    pictures.save(figure, path)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    parser = Parser("score", __doc__)
    parser.add_argument("samples", nargs="+", metavar="SAMPLES", help="files of generated texts")
    add = parser.group("texts")
    about = "real texts that no model was trained on: a file, a folder (its test split), or the name of a task"
    add("--reference", required=True, metavar="FILE", help=about)
    about = "the texts that the model was trained on, to count copies and to compare with; a task has its own"
    add("--train", metavar="FILE", help=about)
    about = "what a token is; default: detected from the reference"
    add("--level", choices=LEVELS, help=about)
    about = "what a text file holds; default: lines. " + "; ".join(f"{name}: {text}" for name, text in LAYOUTS.items())
    add("--format", dest="layout", choices=LAYOUTS, help=about)
    about = "texts to score of each kind, at most"
    add("--count", type=bounded(int, LEAST), default=MOST, metavar="N", help=about)
    add = parser.group("scores")
    add("--lstm", action="store_true", help="also train a small LSTM on each side as a judge; takes minutes")
    add("-r", "--seed", type=seed, default=1, help="random seed for the choice of texts, folds and intervals")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    add("--plot", metavar="FILE", help="draw quality against variety: .png, .svg, .pdf, ...")
    args = parser.parse(argv)
    paths = [*args.samples, args.reference, *([args.train] if args.train else [])]
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        parser.error("the same file is given twice; samples, reference and training texts have to be different files")
    if REAL in args.samples:
        parser.error(f"{REAL!r} is the head of the last column; rename the file")
    if args.seed < 0:
        parser.error("--seed is negative; the same texts get the same scores with the same seed")
    return args


def main(args):
    if args.plot:
        pictures.check_path(args.plot)
    found, signature = compare(args)
    show(found, signature, args.json)
    if args.plot:
        draw_frontier(found, args.plot)
        note(f"drew {args.plot}")


if __name__ == "__main__":
    command(main, parse_args)
