"""Data loading and sampling for the scripts: their options, and what these options stand for."""

from scriptorium import UserError
from scriptorium.command_line import bounded
from scriptorium.data import corpora
from scriptorium.data.batches import Batches, encode_texts
from scriptorium.data.tasks import TASKS
from scriptorium.data.vocabulary import LEVELS, Vocabulary

SAMPLING = ("temperature", "top_k", "top_p")  # how a token is drawn from the logits


def add_data_options(parser, task="pydocs", max_length=100, top_words=10000):
    """Adds the options of the group "data": task, data, limit, max_length, clip_length, top_words and level.

    Args:
        parser: `argparse.ArgumentParser`.
        task: str, the default task.
        max_length: int, the default longest text in tokens; None for no limit.
        top_words: int, the default vocabulary size; None for all tokens.

    Returns:
        The argument group.
    """
    group = parser.add_argument_group("data")
    count, tasks = bounded(int, 1), "; ".join(f"{name}: {text}" for name, text in TASKS.items())
    group.add_argument("-t", "--task", default=task, choices=TASKS, metavar="NAME", help=f"corpus by name. {tasks}")
    group.add_argument(
        *("-D", "--data", "--data_dir", "--data-directory"),
        metavar="PATH",
        help="file of texts, .txt, .csv or .jsonl, or folder of such (those named train, valid, test stay as they are),"
        " or .npz of pictures of digits, instead of a task",
    )
    group.add_argument("-I", "--limit", type=count, metavar="N", help="read only the first N characters of the corpus")
    group.add_argument(
        *("-m", "--max-length", "--max_length", "--sequence_length"),
        type=count,
        default=max_length,
        metavar="N",
        help="leave out texts of more than N tokens",
    )
    group.add_argument(
        "-C", "--clip-length", type=count, metavar="N", help="cut texts after N tokens, before --max-length"
    )
    group.add_argument(
        *("-w", "--top-words", "--top_words"),
        type=count,
        default=top_words,
        metavar="N",
        help="vocabulary size: the N most frequent tokens, the others become <unk>",
    )
    group.add_argument("--level", choices=LEVELS, help="what a token is; without it, found out from the text")
    return group


def load(run, args, classes=None):
    """Reads the text that a command line asks for, in the vocabulary of the run or a new one.

    Args:
        run: `Run`.
        args: options, with those of the groups "data" and "training".
        classes: None, or a function of the `Corpus`, read with its labels, that returns the classes of each text: a
            dict of split -> int32 (texts, kinds).

    Returns:
        `Corpus`, `Vocabulary` and a dict of `Sequences`: "train", "valid" and "test".

    Raises:
        UserError: it is not the text of the run, or too small.
    """
    labelled = classes is not None
    where, how = {"task": args.task, "path": args.data}, {"limit": args.limit, "level": args.level}
    corpus = corpora.load(**where, **how, seed=1, labelled=labelled, **corpora.picture_of(vars(args)))
    if not run.is_new and corpus.fingerprint != run.config["corpus"]["fingerprint"]:
        raise UserError(f"{corpus.name} is not the text that {run.name} was trained on: its splits would be others")
    vocabulary = run.vocabulary or Vocabulary.build(corpus.train, corpus.level, args.top_words, corpus.language)
    splits, labels = {}, classes(corpus) if labelled else {}
    for name in ("train", "valid", "test"):
        texts, lengths = getattr(corpus, name), (args.max_length, args.clip_length)
        splits[name] = encode_texts(texts, vocabulary, *lengths, labels=labels.get(name))
        if len(splits[name]) == 0:
            raise UserError(f"no {name} text of {corpus.name} has from 1 to {args.max_length} tokens (--max-length)")
    if len(splits["train"]) < args.batch_size:
        raise UserError(
            f"{corpus.name} has {len(splits['train'])} training texts; a batch needs {args.batch_size} (--batch-size)"
        )
    return corpus, vocabulary, splits


def batches(run, args, splits, valid_size=None, **settings):
    """Returns the batches to train on and those to validate on.

    Args:
        run: `Run`, whose seed the order depends on.
        args: options, with batch_size.
        splits: dict of `Sequences`, with "train" and "valid".
        valid_size: sequences in a batch of the validation; None for as many as in the training.
        settings: further arguments of `Batches`.
    """
    train = Batches(splits["train"], args.batch_size, run.seed, **settings)
    return train, Batches(splits["valid"], valid_size or args.batch_size, shuffle=False, **settings)


def add_sampling_options(parser, temperature, num_samples, gen_length, beam=True):
    """Adds the group "sampling" with the given defaults; `beam` is whether the script has beam search."""
    add = parser.add_argument_group("sampling").add_argument
    about = "of the samples; below 1 safer, 0 the likeliest"
    add("--temperature", type=bounded(float, 0), default=temperature, help=about)
    add("--top-k", type=bounded(int, 0), default=0, help="draw from the k likeliest tokens; 0: all")
    about = "draw from the likeliest tokens that together have this probability"
    add("--top-p", type=bounded(float, 1e-6, 1), default=1.0, help=about)
    add("--num-samples", type=bounded(int, 1), default=num_samples, help="samples at a time")
    if beam:
        about = "above 1, beam search with so many hypotheses instead of drawing"
        add("--beam", type=bounded(int, 1), default=1, help=about)
    about = "tokens of a sample at most" + ("; default: as many as a text may have" if gen_length is None else "")
    add("-g", "--gen-length", "--gen_length", type=bounded(int, 1), default=gen_length, help=about)


def sampling_settings(options, *also):
    """Returns the settings that the options of the sampling stand for, a dict.

    Args:
        options: dict of a run, or the attributes of a command line.
        also: names of further options, such as "beam".
    """
    return {name: options[name] for name in (*SAMPLING, *also)}
