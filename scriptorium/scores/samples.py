"""The quality and variety of texts that a model has sampled.

Texts are lists of tokens, except for the divergence of characters.

    lm_score            nats per token of the samples under a language model counted on the training texts: quality
    reverse_lm_score    nats per token of held-out texts under one counted on the samples: quality and variety
    text_score          lm_score + reverse_lm_score
    bleu_n, self_bleu_n Texygen's (Zhu et al. 2018): against all references, and of each sample against all others
    jsd_n               Jensen-Shannon divergence, in bits, of the n-grams in the first 32 characters of samples and
                        training texts
    words               mean number of words per sample
    copies, unique      shares of the samples that are training texts, and that are distinct
    repeated            share of the samples in which a word occurs twice in a row
    more_likely_than_shuffled
                        share of the samples that are more likely per token, under the language model, than the
                        median of shuffled held-out texts

The language models are Kneser-Ney 5-grams (see kneser_ney.py); the end of a text counts as a token.
"""

import bisect
import collections
import itertools
import math

from scriptorium.scores import kneser_ney

import numpy as np

ORDER = 5  # of the language models
CHARACTERS = 32  # of each text, used for the divergence of characters
EPSILON = 0.1  # of NLTK's smoothing method 1


def _n_grams(tokens, n):
    return collections.Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


class Bleu:
    """Sentence BLEU of many texts against the same references in one pass: NLTK's, with its smoothing method 1.

    BLEU needs only the largest count of each n-gram in any reference, and the lengths of the references; the second
    largest count is kept to score a reference against the others.

    Args:
        references: list of lists of tokens, at least one; two for `self_bleu`.
        most: n of the longest n-grams.
    """

    def __init__(self, references, most=5):
        self.references, self.most = references, most
        self.lengths = collections.Counter(map(len, references))
        self.sorted = sorted(self.lengths)
        self.largest = [
            {} for _ in range(most)
        ]  # n-gram -> (largest count, in which reference, largest count in the others)
        for i, reference in enumerate(references):
            for n, largest in enumerate(self.largest, 1):
                for n_gram, count in _n_grams(reference, n).items():
                    first, whose, second = largest.get(n_gram, (0, -1, 0))
                    if count > first:
                        largest[n_gram] = (count, i, first)
                    elif count > second:
                        largest[n_gram] = (first, whose, count)

    def _closest(self, length, left_out):
        """Returns the closest reference length, the shorter of two; one reference of length `left_out` is ignored."""
        lengths = self.sorted
        if left_out is not None and self.lengths[left_out] == 1:
            lengths = [other for other in lengths if other != left_out]
        place = bisect.bisect_left(lengths, length)
        return min(lengths[max(0, place - 1) : place + 1], key=lambda other: (abs(other - length), other))

    def score(self, text, reference=None):
        """Returns BLEU-1 to BLEU-most of a text, list of float, against all references except number `reference`."""
        logs = []
        for n, largest in enumerate(self.largest, 1):
            right = 0
            for n_gram, count in _n_grams(text, n).items():
                first, whose, second = largest.get(n_gram, (0, -1, 0))
                right += min(count, second if whose == reference else first)
            if n == 1 and not right:
                return [0.0] * self.most  # an empty text too
            logs.append(math.log((right or EPSILON) / max(1, len(text) - n + 1)))
        closest = self._closest(len(text), None if reference is None else len(self.references[reference]))
        brevity = 0.0 if len(text) > closest else 1 - closest / len(text)
        return [math.exp(brevity + sum(logs[:n]) / n) for n in range(1, self.most + 1)]

    def each(self, texts, among_themselves=False):
        """Returns `score` of each text, float (texts, most).

        Args:
            texts: list of lists of tokens.
            among_themselves: whether the texts are the references, each of which is scored against all others.
        """
        return np.array([self.score(text, i if among_themselves else None) for i, text in enumerate(texts)])

    def bleu(self, texts):
        """Returns the mean of `score` over texts, float (most,)."""
        return self.each(texts).mean(axis=0)

    def self_bleu(self):
        """Returns self-BLEU, the mean score of each reference against all others, float (most,)."""
        return self.each(self.references, among_themselves=True).mean(axis=0)


def divergence(samples, texts, n):
    """Returns the sums that the Jensen-Shannon divergence of the character n-grams of two lists of str consists of.

    Returns:
        For each list two float arrays (lines,), which are summed over its lines: the divergence, in bits, is the sum
        over both lists of sum(first) / sum(second).
    """
    pieces = [
        [[line[i : i + n] for i in range(min(len(line), CHARACTERS) - n + 1)] for line in lines]
        for lines in (samples, texts)
    ]
    counts = [collections.Counter(itertools.chain.from_iterable(lines)) for lines in pieces]
    wholes, sides = [max(1, sum(counter.values())) for counter in counts], []
    for own, lines in enumerate(pieces):
        bits = {}
        for n_gram in counts[own]:
            shares = [counter[n_gram] / whole for counter, whole in zip(counts, wholes, strict=True)]
            bits[n_gram] = math.log2(2 * shares[own] / sum(shares)) / 2
        values = np.array([sum(bits[n_gram] for n_gram in line) for line in lines], "float64")
        sizes = np.array([len(line) for line in lines], "float64")
        if not sizes.any():
            sizes[:1] = 1  # without an n-gram there is nothing to add
        sides.append((values, sizes))
    return sides


def jensen_shannon(samples, texts, n):
    """Returns the divergence of the character n-grams of two lists of str, in bits, between 0 and 1."""
    return float(sum(values.sum() / sizes.sum() for values, sizes in divergence(samples, texts, n)))


class Judge:
    """Scores lists of samples against a corpus.

    Args:
        train, test: lists of texts, each a list of token ids, unknown tokens as `<unk>`.
        references: lists of tokens, the references of BLEU; None leaves BLEU out.
        lines: list of str, the training texts as readable text.
        seed: int, for shuffling.
    """

    def __init__(self, train, test, references, lines, seed=1):
        self.test, self.lines = [kneser_ney.letters(ids) for ids in test], lines
        texts = [kneser_ney.letters(ids) for ids in train]
        self.known, self.counts = set(texts), kneser_ney.KneserNey(texts, ORDER)
        self.bleu = Bleu(references) if references else None
        random = np.random.default_rng(seed)
        self.shuffled = float(np.median([self._nats(kneser_ney.letters(random.permutation(ids))) for ids in test]))

    def _nats(self, text):
        return self.counts.nll(text) / (len(text) + 1)

    def language_models(self, samples):
        """Returns lm_score and reverse_lm_score of samples, lists of token ids."""
        texts = [kneser_ney.letters(ids) for ids in samples]
        return self.counts.nats_per_token(texts), kneser_ney.KneserNey(texts, ORDER).nats_per_token(self.test)

    def scores(self, samples, tokens, lines):
        """Returns the scores of samples as a dict, see the top of this file.

        Args:
            samples: list of lists of token ids.
            tokens: the same samples as lists of tokens.
            lines: the same samples as readable text, list of str.
        """
        texts = [kneser_ney.letters(ids) for ids in samples]
        scores = dict(zip(("lm_score", "reverse_lm_score"), self.language_models(samples), strict=True))
        scores["text_score"] = sum(scores.values())
        scores["more_likely_than_shuffled"] = float(np.mean([self._nats(text) < self.shuffled for text in texts]))
        if self.bleu:
            self_bleu = Bleu(tokens)
            for name, values in (("bleu", self.bleu.bleu(tokens)), ("self_bleu", self_bleu.self_bleu())):
                scores |= {f"{name}_{n}": float(value) for n, value in enumerate(values, 1) if n > 1}
        scores |= {f"jsd_{n}": jensen_shannon(lines[:640], self.lines, n) for n in range(1, 5)}
        scores["copies"] = float(np.mean([text in self.known for text in texts]))
        scores["unique"] = len(set(texts)) / len(texts)
        scores["repeated"] = float(np.mean([any(a == b for a, b in itertools.pairwise(ids)) for ids in samples]))
        scores["words"] = float(np.mean([len(text) for text in texts]))
        return scores
