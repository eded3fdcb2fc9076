"""Bootstrap intervals of scores that are sums over texts (Efron 1979).

A score is a list of `Term`s, and its value is the sum of sum(values) / sum(weights) over them. A mean over texts has
weights of 1, nats per token have the numbers of tokens, and a difference of two means has two terms.
"""

import dataclasses

import numpy as np

DRAWS, SHARE = 1000, 0.95
CHUNK = 10_000_000  # numbers drawn at a time


@dataclasses.dataclass
class Term:
    """A ratio of sums over the texts of one set.

    Attributes:
        texts: name of the set; the terms of one set are drawn again together.
        values, weights: float (texts,), a number for each text of the set.
    """

    texts: str
    values: np.ndarray
    weights: np.ndarray

    @property
    def value(self):
        return float(np.sum(self.values) / np.sum(self.weights))


def mean(texts, values):
    """Returns the score that is the mean of values, one for each text of a set."""
    values = np.asarray(values, "float64")
    return [Term(texts, values, np.ones(len(values)))]


def value_of(score):
    """Returns the value of a score, a list of terms."""
    return sum(term.value for term in score)


def bootstrap(scores, draws=DRAWS, share=SHARE, seed=1):
    """Returns a bootstrap interval for each score, from drawing the texts of each set again, with replacement.

    The models that gave the values are not fitted again, so an interval lacks the part of the error that comes from
    them.

    Args:
        scores: dict of name -> score.
        draws: how often to draw.
        share: of the draws that lie in an interval, such as 0.95.
        seed: int.

    Returns:
        dict of name -> (lowest, highest).
    """
    random = np.random.default_rng(seed)
    drawn = {name: np.zeros(draws) for name in scores}
    for texts in dict.fromkeys(term.texts for score in scores.values() for term in score):
        terms = [(name, term) for name, score in scores.items() for term in score if term.texts == texts]
        values, weights = (np.stack([getattr(term, of) for _, term in terms], 1) for of in ("values", "weights"))
        chunk = max(1, CHUNK // len(values))
        for start in range(0, draws, chunk):
            count = min(chunk, draws - start)
            times = random.multinomial(len(values), np.full(len(values), 1 / len(values)), count).astype("float64")
            sums = times @ weights
            # Texts of weight 0 do not count; a draw of none but these says nothing.
            ratios = np.where(sums > 0, times @ values, np.nan) / np.where(sums > 0, sums, 1.0)
            for (name, _), column in zip(terms, ratios.T, strict=True):
                drawn[name][start : start + count] += column
    ends = 50 * (1 - share), 50 * (1 + share)
    return {name: tuple(map(float, np.nanpercentile(values, ends))) for name, values in drawn.items()}
