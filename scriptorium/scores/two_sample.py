"""Can a classifier tell samples from real texts? Classifier two-sample tests (Lopez-Paz and Oquab 2017)."""

import itertools

import numpy as np

END = "\n"  # a token that no line holds


def n_grams(tokens, longest=2):
    """Returns the n-grams of a list of tokens and its end, n from 1 to `longest`, as list of tuples."""
    tokens = [*tokens, END]
    return list(
        itertools.chain.from_iterable(zip(*(tokens[i:] for i in range(n)), strict=False) for n in range(1, longest + 1))
    )


def classified_correctly(samples, reference, longest=2, folds=5, seed=1):
    """Which texts a classifier assigns to the right side: logistic regression on tf-idf weights of n-grams.

    Each text is classified by a model that was fitted on the other folds.

    Args:
        samples, reference: lists of texts, each a list of tokens.
        longest: n of the longest n-grams.
        folds: int, 2 or more.
        seed: int, for the folds.

    Returns:
        Two bool arrays, (samples,) and (reference,). Half of the texts are right where the two sides do not differ.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    texts = np.empty(len(samples) + len(reference), object)  # of lists, which are no rows of a matrix
    texts[:] = [*samples, *reference]
    is_sample = np.arange(len(texts)) < len(samples)
    weights = TfidfVectorizer(analyzer=lambda tokens: n_grams(tokens, longest), sublinear_tf=True)
    classifier = make_pipeline(weights, LogisticRegression(C=10, solver="liblinear", random_state=seed))
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    right = cross_val_predict(classifier, texts, is_sample, cv=cut) == is_sample
    return right[: len(samples)], right[len(samples) :]
