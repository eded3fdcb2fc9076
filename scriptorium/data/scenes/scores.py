"""Scores that only a corpus of known probabilities allows; all are computed with the grammar of the scenes.

excess_nll     nats per sentence above the best possible model: mean of log p_true - log p_model
grammatical    share of sentences that the grammar can write
true_nll       nats per grammatical sentence under the grammar; real sentences have the entropy of the corpus
rules_kl       nats per grammatical sentence by which samples prefer some rules and words of the grammar to others
kept_*         share of the sentences with a factor (who, verb, tense, ...) whose reconstruction has the same one
"""

import collections
import math

from scriptorium.data import scenes

import numpy as np

PSEUDO_COUNTS = 10  # per rule


def excess_nll(sentences, nll):
    """Returns the excess of a model whose mean -log p of these sentences is `nll`, in nats per sentence."""
    grammar = scenes.grammar()
    return float(nll + np.mean([grammar.log_prob(sentence) for sentence in sentences]))


def grammatical(sentences):
    """Returns the share of sentences that the grammar can write."""
    grammar = scenes.grammar()
    return float(np.mean([grammar.is_grammatical(sentence) for sentence in sentences]))


def rule_preferences(sentences, folds=5):
    """Returns -log p of each sentence under the grammar, and how many nats likelier its own rule frequencies make it.

    Rules are counted in the likeliest parses of the sentences of other folds; PSEUDO_COUNTS per rule follow the
    grammar. So the mean is 0 or a little less for sentences of the grammar, and a lower bound of the divergence of
    grammatical samples from it.

    Args:
        sentences: list of str.
        folds: int.

    Returns:
        Two float arrays (sentences,): nats, infinite for a sentence without a parse, and preferences, nan for it.
    """
    grammar = scenes.grammar()
    log_probs, parses = zip(*map(grammar.parse, sentences), strict=True)
    values = np.full(len(sentences), np.nan)
    for fold in range(folds):
        counts, totals = collections.Counter(), collections.Counter()
        for place, parse in enumerate(parses):
            if place % folds != fold:
                counts.update(parse)
                totals.update(symbol for symbol, _ in parse)
        for place in range(fold, len(sentences), folds):
            if parses[place]:
                own = sum(_log_share(grammar, *use, counts[use], totals[use[0]]) for use in parses[place])
                # Under the samples' frequencies a sentence has at least the probability of its likeliest parse.
                values[place] = own - log_probs[place]
    return -np.array(log_probs), values


def _log_share(grammar, symbol, rule, count, total):
    """Returns the log of a rule's share among those of its symbol, by counts and pseudo-counts."""
    pseudo = PSEUDO_COUNTS * len(grammar.rules[symbol])
    return math.log((count + pseudo * rule.weight / grammar.totals[symbol]) / (total + pseudo))


def kept(sentences, again):
    """Returns what reconstructions keep: dict of kept_FACTOR -> share, and kept, their mean over all factors.

    Args:
        sentences, again: two lists of n str, the sentences and their reconstructions.
    """
    grammar, found = scenes.grammar(), collections.defaultdict(list)
    for sentence, other in zip(sentences, again, strict=True):
        others = grammar.factors(other)
        for name, value in grammar.factors(sentence).items():
            found[name].append(others.get(name) == value)
    shares = {f"kept_{name}": float(np.mean(found[name])) for name in sorted(found)}
    return {"kept": float(np.mean([flag for flags in found.values() for flag in flags]))} | shares


def of_language_model(sentences, nll, samples):
    """Returns the scores of a model that has a likelihood: excess_nll and sample_grammatical.

    Args:
        sentences, nll: see `excess_nll`. There is no excess if the model reads some of their words as `<unk>`.
        samples: list of str, drawn at temperature 1.
    """
    excess = excess_nll(sentences, nll)
    return ({"excess_nll": excess} if math.isfinite(excess) else {}) | {"sample_grammatical": grammatical(samples)}
