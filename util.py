"""Options and data loading that the scripts share."""

import collections

from scriptorium import UserError, command_line
from scriptorium.command_line import bounded
from scriptorium.data import corpora
from scriptorium.data.batches import Batches, encode_texts
from scriptorium.data.tasks import TASKS
from scriptorium.data.textfiles import LAYOUTS
from scriptorium.data.vocabulary import EOS, LEVELS, UNK, Vocabulary
from scriptorium.training import prepared
from scriptorium.training.fit import epochs_for_max_steps, suit_batch_size
from scriptorium.training.matching import check_text, text_may_be_missing

import numpy as np

SPLITS_KEPT = "In a folder, files named train, valid and test stay these splits"
MANY_UNKNOWN = 0.2  # share of a test text; a perplexity with more unknown words means little


def add_data_options(parser, task="pydocs", max_length=100, top_words=10000, level=None):
    """Adds the group "data": task, data, limit, layout, max_length, clip_length, top_words and level.

    Args:
        parser: `Parser`.
        task: str, the default task.
        max_length: int, the default longest text in tokens; None for no limit.
        top_words: int, the default vocabulary size; None for all tokens.
        level: str, the default level; None detects it from the text.
    """
    add, more, count = parser.group("data"), parser.group("data", rare=True), {"type": bounded(int, 1), "metavar": "N"}
    add_source_options(add, task, "a .txt, .csv or .jsonl file, or a folder")
    details = "; ".join(f"{name}: {text}" for name, text in LAYOUTS.items())
    more("--format", dest="layout", choices=LAYOUTS, default="auto", help="what a text file holds", details=details)
    older = ["--max_length", "--sequence_length"]
    add("-m", "--max-length", **count, default=max_length, help="drop texts of more than N tokens", older=older)
    more("-C", "--clip-length", **count, help="cut texts after N tokens, before --max-length")
    about = "keep the N most frequent tokens"
    add("-w", "--top-words", **count, default=top_words, help=about, older=["--top_words"])
    about = f"what a token is: {', '.join(LEVELS)}" + ("; detected if not given" if level is None else "")
    add("--level", choices=LEVELS, default=level, help=about)


def add_source_options(add, task, what):
    """Adds the options for the source of the text: task, data and limit.

    Args:
        add: `Group`.
        task: str, the default task.
        what: str, what a path may be.
    """
    details = "; ".join(f"{name}: {text}" for name, text in TASKS.items())
    add("-t", "--task", default=task, choices=TASKS, metavar="NAME", help="corpus by name", details=details)
    older = ["--data_dir", "--data-directory"]
    add("-D", "--data", metavar="PATH", help=f"your own text: {what}", older=older, details=SPLITS_KEPT)
    add("-I", "--limit", type=bounded(int, 1), metavar="N", help="read only the first N characters")


def extra_layers(text):
    """Parses -x, the layers after the first one, as a number of layers."""
    return 1 + bounded(int, 0)(text)


def load(run, args, classes=None):
    """Reads the text that a command line asks for, with the vocabulary of the run or a new one.

    Args:
        run: `Run`.
        args: options, with those of the groups "data" and "training".
        classes: None, or a function of the `Corpus`, read with its labels, that returns the classes of each text: a
            dict of split -> int32 (texts, kinds).

    Returns:
        `Corpus`, `Vocabulary` and a dict of `Sequences`: "train", "valid" and "test".

    Raises:
        UserError: the text is not that of the run, or is too small.
    """

    def read(**settings):
        with text_may_be_missing(run):
            return corpora.reload(vars(args), labeled=classes is not None, **settings)

    def encoded(corpus):
        return corpus, *_encoded(corpus, args, run.vocabulary, classes(corpus) if classes else {})

    if vars(args).get("prepared") is not None:
        corpus, vocabulary, splits = prepared.texts(args, run.vocabulary, lambda: encoded(read(big_file=0)))
        check_text(run, corpus.name, corpus.fingerprint)
    else:
        corpus = read()
        check_text(run, corpus.name, corpus.fingerprint)
        corpus, vocabulary, splits = encoded(corpus)
    if run.is_new:
        run.options["labeled"] = classes is not None
    longest = max(sequences.longest for sequences in splits.values())
    for sequences in splits.values():
        sequences.longest = longest
    if run.is_new and run.vocabulary:
        corpus.how += unknown_note(corpus.train, vocabulary)
    words = splits["test"].ids[splits["test"].ids != EOS]
    share = np.mean(words == UNK)
    if share > MANY_UNKNOWN:
        corpus.how += f"; {share:.0%} of the test tokens become <unk>"
    train = splits["train"]
    # words.py --stream cuts the text into windows.
    rows = len(train.ids) // args.window if vars(args).get("stream") else len(train)
    corpus.how += suit_batch_size(run, args, rows)
    corpus.description = corpora.describe(corpus, splits)
    if len(splits["train"]) < args.batch_size:
        raise UserError(
            f"{corpus.name} has {len(splits['train'])} training texts, fewer than --batch-size {args.batch_size}:"
            " lower it or use more text"
        )
    return corpus, vocabulary, splits


def _encoded(corpus, args, vocabulary, labels):
    """Returns a vocabulary, made from the texts if it is None, and a dict of split -> `Sequences`."""
    splits = {}
    vocabulary = vocabulary or Vocabulary.build(corpus.train, corpus.level, args.top_words, corpus.language)
    for name in ("train", "valid", "test"):
        texts, lengths = getattr(corpus, name), (args.max_length, args.clip_length)
        splits[name] = encode_texts(texts, vocabulary, *lengths, labels=labels.get(name))
        if len(splits[name]) == 0:
            limit = f"1 to {args.max_length} tokens; raise --max-length" if args.max_length else "any token"
            raise UserError(f"no {name} text of {corpus.name} has {limit}")
    return vocabulary, splits


def unknown_note(texts, vocabulary):
    """Returns what part of some texts a vocabulary that was not made from them does not know, str for people."""
    counts = collections.Counter()
    for text in texts:
        counts.update(vocabulary.split(text))
    unknown = [(token, count) for token, count in counts.most_common() if vocabulary.index.get(token, UNK) == UNK]
    if not unknown:
        return ""
    share = sum(count for _, count in unknown) / counts.total()
    examples = " ".join(repr(token)[1:-1] for token, _ in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
    return f"; {share:.1%} of the tokens are not in the given vocabulary and become <unk>: {examples}"


def batches(run, args, splits, valid_size=None, **settings):
    """Returns the batches for training and for validation.

    Args:
        run: `Run`, whose seed the order depends on.
        args: options, with batch_size.
        splits: dict of `Sequences`, with "train" and "valid".
        valid_size: sequences per batch in validation; None for as many as in training.
        settings: more arguments of `Batches`.
    """
    train = Batches(splits["train"], args.batch_size, run.seed, **settings)
    epochs_for_max_steps(run, args, train)
    return train, Batches(splits["valid"], valid_size or args.batch_size, shuffle=False, **settings)


def add_sampling_options(parser, temperature, num_samples, gen_length, beam=True):
    """Adds the group "sampling" with the given defaults; `beam` is whether the script has beam search."""
    add, more = parser.group("sampling"), parser.group("sampling", rare=True)
    about = "below 1 is safer, 0 is greedy"
    add("--temperature", type=command_line.temperature, default=temperature, help=about)
    add("--top-k", type=bounded(int, 0), default=0, help="sample from the N likeliest tokens; 0: all")
    about = "sample from the fewest tokens with this total probability"
    add("--top-p", type=bounded(float, 1e-6, 1), default=1.0, help=about)
    add("--num-samples", type=bounded(int, 1), default=num_samples, help="samples at a time")
    if beam:
        about = "above 1: beam search with this many hypotheses instead of sampling"
        more("--beam", type=bounded(int, 1), default=1, help=about)
    about = "maximum tokens per sample" + ("; default: the longest" if gen_length is None else "")
    add("-g", "--gen-length", type=bounded(int, 1), default=gen_length, help=about, older=["--gen_length"])
