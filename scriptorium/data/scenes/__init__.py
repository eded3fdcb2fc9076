"""Everyday sentences from a probabilistic grammar, the same on every machine, whose true probabilities are known.

The grammar is in rules.txt and its words are in words.txt; `grammar` explains how they are read.
"""

import functools
from pathlib import Path

from scriptorium.data.scenes.grammar import Grammar, Random, read_rules, read_words

SIZES = {"train": 100_000, "valid": 5_000, "test": 5_000}


def are_text_of(options):
    """Whether the text of a run with these options is the scenes."""
    return options["task"] == "scenes" and options["data"] is None


@functools.cache
def grammar():
    """Returns the `Grammar` of the scenes, which draws sentences and knows their probabilities."""
    words, rules = ((Path(__file__).parent / name).read_text("utf-8") for name in ("words.txt", "rules.txt"))
    return Grammar(read_words(words) | read_rules(rules))


def read():
    """Returns independent draws, so with repetitions: dict of split -> list of str, of the sizes in SIZES."""
    splits = {}
    for seed, (split, size) in enumerate(SIZES.items(), 1):
        random = Random(seed)
        splits[split] = [grammar().sample(random) for _ in range(size)]
    return splits
