"""How samples of any origin differ from real texts: the scores of score.py.

All are computed from texts alone, and each is a list of terms (see intervals.py). Nats and entropies are per token,
the end of a text included.

    kl_samples           how unlike real texts the samples are: nll_samples - entropy_samples
    kl_reference         how much of the real texts the samples miss: nll_reference - entropy_reference
    nll_samples          nats of the samples under a count model of the reference
    nll_reference        nats of the reference under a count model of the samples
    entropy_samples      nats of the samples under a count model of other samples
    entropy_reference    nats of the reference under a count model of other texts of the reference
    accuracy             share of the texts that a classifier assigns to the right side: 0.5 if it cannot tell
    bleu_n, self_bleu_n  Texygen's (Zhu et al. 2018): against all references, and of each sample against all others
    jsd_n                Jensen-Shannon divergence, in bits, of the n-grams in the first 32 characters
    copies               share of the samples that are training texts, see `copies`
    unique               share of the samples that are distinct
    tokens               mean number of tokens per sample, without the end

A count model is a Kneser-Ney 5-gram (kneser_ney.py). Every text is scored by models of the other folds of samples and
of reference. So no model has seen it, unless there is a copy of it, and both models are fitted on the same number of
texts: where the two sides do not differ, the expected divergence is 0.
"""

import collections
import functools

from scriptorium.scores import intervals, kneser_ney
from scriptorium.scores.intervals import Term, mean
from scriptorium.scores.samples import Bleu, divergence
from scriptorium.scores.two_sample import classified_correctly

import numpy as np

ORDER, FOLDS = 5, 5
LEAST = 20  # texts on each side
SIDES = "samples", "reference"  # the sets of the terms


class Yardstick:
    """Real texts that sets of as many samples are compared with.

    Args:
        reference: list of texts, each a list of tokens.
        lines: the same texts as str.
        known: all lists of texts that will be scored, so that all count models share one vocabulary.
        references: the texts to compute BLEU against, lists of tokens; None for `reference`.
        longest: n of the longest n-grams of the classifier.
        seed: int.
    """

    def __init__(self, reference, lines, known=(), references=None, longest=2, seed=1):
        self.reference, self.lines, self.longest, self.seed = reference, lines, longest, seed
        tokens = dict.fromkeys(token for texts in (reference, *known) for text in texts for token in text)
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.references = reference if references is None else references
        self.texts = self._letters(reference)
        self.models = self._models(self.texts)
        self.entropy = self._nats(self.texts, self.models)

    def _letters(self, texts):
        return [kneser_ney.letters([self.ids[token] for token in text]) for text in texts]

    def _models(self, texts):
        """Returns the count models of all texts but those of a fold, one per fold."""
        parts = [[text for i, text in enumerate(texts) if i % FOLDS != fold] for fold in range(FOLDS)]
        return [kneser_ney.KneserNey(part, ORDER, len(self.ids)) for part in parts]

    def _nats(self, texts, models):
        return np.array([models[i % FOLDS].nll(text) for i, text in enumerate(texts)])

    @functools.cached_property
    def bleu(self):
        return Bleu(self.references)

    def scores(self, samples, lines):
        """Returns the scores of samples, a dict of name -> list of terms of the sets "samples" and "reference".

        Args:
            samples: list of texts, each a list of tokens.
            lines: the same texts as str.
        """
        scores, own = self.divergences(samples), Bleu(samples)
        each = {"bleu": self.bleu.each(samples), "self_bleu": own.each(samples, among_themselves=True)}
        for name, values in each.items():
            scores |= {f"{name}_{n}": mean("samples", values[:, n - 1]) for n in range(2, own.most + 1)}
        for n in range(1, 5):
            sides = zip(SIDES, divergence(lines, self.lines, n), strict=True)
            scores[f"jsd_{n}"] = [Term(side, *sums) for side, sums in sides]
        texts = list(map(tuple, samples))
        times = collections.Counter(texts)
        # The share of distinct samples is a mean over samples: each counts as one of those that are equal to it.
        scores["unique"] = mean("samples", [1 / times[text] for text in texts])
        scores["tokens"] = mean("samples", list(map(len, samples)))
        return scores

    def divergences(self, samples):
        """Returns those of the scores that count models and the classifier give, see `scores`."""
        texts = self._letters(samples)
        models = self._models(texts)
        both = zip(SIDES, (texts, self.texts), strict=True)
        lengths = {side: np.array([len(text) + 1 for text in some]) for side, some in both}
        nats = {
            "nll_samples": ("samples", self._nats(texts, self.models)),
            "nll_reference": ("reference", self._nats(self.texts, models)),
            "entropy_samples": ("samples", self._nats(texts, models)),
            "entropy_reference": ("reference", self.entropy),
        }
        scores = {
            f"kl_{side}": [Term(side, nats[f"nll_{side}"][1] - nats[f"entropy_{side}"][1], lengths[side])]
            for side in SIDES
        }
        scores |= {name: [Term(side, values, lengths[side])] for name, (side, values) in nats.items()}
        sides = zip(SIDES, classified_correctly(samples, self.reference, self.longest, FOLDS, self.seed), strict=True)
        scores["accuracy"] = [Term(side, right / 2, np.ones(len(right))) for side, right in sides]
        return scores


def copies(texts, train):
    """Returns which texts are in `train`, bool (texts,); both are lists of str, and case and spaces do not count."""

    def bare(text):
        return "".join(text.lower().split())

    known = set(map(bare, train))
    return np.array([bare(text) in known for text in texts])


def with_intervals(scores, seed=1):
    """Returns scores as a dict of name -> (value, lowest, highest), see intervals.py."""
    ends = intervals.bootstrap(scores, seed=seed)
    found = {name: (intervals.value_of(score), *ends[name]) for name, score in scores.items()}
    # The sums that a Jensen-Shannon divergence consists of can be negative; the divergence cannot.
    return {name: tuple(max(0.0, x) for x in three) if "jsd" in name else three for name, three in found.items()}


def table(columns):
    """Returns the lines of a table of scores: a row for each score, a column for each set of samples.

    Args:
        columns: dict of head -> dict of name -> (value, lowest, highest).
    """
    names = list(dict.fromkeys(name for scores in columns.values() for name in scores))
    cells = [
        ["{:.3f} [{:.3f}, {:.3f}]".format(*scores[name]) if name in scores else "" for scores in columns.values()]
        for name in names
    ]
    rows = [["", *columns], *([name, *row] for name, row in zip(names, cells, strict=True))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
