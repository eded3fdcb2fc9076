"""How well codes predict a label: logistic regression on the codes, compared with logistic regression on words."""

import collections

from scriptorium.data.vocabulary import SPECIAL_TOKENS, Vocabulary

import numpy as np

MOST_TERMS = 30_000  # words and pairs of words


def accuracies(z, texts, labels):
    """Compares how well labels are predicted from codes and from words.

    Args:
        z: dict of split -> float (n, d), codes of "train" and "test".
        texts, labels: dicts of split -> lists of n str; texts without a label do not count.

    Returns:
        Accuracies on the test texts: label_accuracy of codes, label_accuracy_words of tf-idf weights of words and word
        pairs, and majority (the most frequent label in training). Empty if there is nothing to tell apart.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept = {split: [i for i, label in enumerate(labels[split]) if label] for split in ("train", "test")}
    labels = {split: [labels[split][i] for i in rows] for split, rows in kept.items()}
    if len(set(labels["train"])) < 2 or not labels["test"]:
        return {}
    texts = {split: [texts[split][i] for i in rows] for split, rows in kept.items()}
    split_words = Vocabulary(SPECIAL_TOKENS, "word").split
    weights = TfidfVectorizer(
        tokenizer=split_words, token_pattern=None, lowercase=False, ngram_range=(1, 2), sublinear_tf=True,
        max_features=MOST_TERMS,
    )  # fmt: skip
    of_words = make_pipeline(weights, LogisticRegression(C=10, max_iter=1000))
    of_codes = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    of_words.fit(texts["train"], labels["train"])
    of_codes.fit(z["train"][kept["train"]], labels["train"])
    most_frequent = collections.Counter(labels["train"]).most_common(1)[0][0]
    return {
        "label_accuracy": float(of_codes.score(z["test"][kept["test"]], labels["test"])),
        "label_accuracy_words": float(of_words.score(texts["test"], labels["test"])),
        "majority": float(np.mean(np.array(labels["test"]) == most_frequent)),
    }
