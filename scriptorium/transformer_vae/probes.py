"""How well codes predict a label: a linear support vector machine on the codes, compared with one on words."""

import collections
import itertools

from scriptorium.data.vocabulary import SPECIAL_TOKENS, Vocabulary

import keras
import numpy as np
from keras import layers

EPOCHS, BATCH = 20, 256


def tf_idf(train, test, most=30_000):
    """Computes sparse tf-idf weights of words and word pairs (Salton and Buckley 1988).

    Args:
        train, test: lists of str; the `most` frequent words and pairs of `train` are used.

    Returns:
        For each list an int32 array of terms (n, longest), padded with 0, and their weights, float32 of the same shape:
        (1 + log count) * (1 + log(n / texts with the term)), normalized to length 1 per text.
    """

    def terms(text):
        words = Vocabulary(SPECIAL_TOKENS, "word").split(text)
        return collections.Counter([*words, *itertools.pairwise(words)])

    counted = [[terms(text) for text in texts] for texts in (train, test)]
    frequency = collections.Counter(term for count in counted[0] for term in count)
    kept = {term: i + 1 for i, (term, _) in enumerate(frequency.most_common(most))}
    result = []
    for counts in counted:
        longest = max((len(count) for count in counts), default=1)
        ids, weights = np.zeros((len(counts), longest), "int32"), np.zeros((len(counts), longest), "float32")
        for row, count in enumerate(counts):
            known = [(kept[term], n, frequency[term]) for term, n in count.items() if term in kept]
            if known:
                columns, n, texts = map(np.array, zip(*known, strict=True))
                values = (1 + np.log(n)) * (1 + np.log(len(train) / texts))
                ids[row, : len(known)] = columns
                weights[row, : len(known)] = values / np.linalg.norm(values)
        result.append((ids, weights))
    return result


class _Sparse(layers.Layer):
    """A linear layer on sparse terms and weights: (batch, longest) each -> (batch, classes)."""

    def __init__(self, terms, classes, regularizer):
        super().__init__()
        self.rows = layers.Embedding(terms, classes, embeddings_initializer="zeros", embeddings_regularizer=regularizer)
        self.bias = self.add_weight(shape=(classes,), initializer="zeros", name="bias")

    def call(self, inputs):
        ids, weights = inputs
        return keras.ops.sum(self.rows(ids) * weights[..., None], axis=1) + self.bias


def svm(train, labels, test, regularization=1e-5, learning_rate=1e-2, seed=1):
    """Trains linear one-vs-rest support vector machines with the squared hinge loss (Fan et al. 2008).

    Args:
        train, test: float (n, d), or the result of `tf_idf` for a list.
        labels: list of n str.

    Returns:
        list of str, the labels predicted for `test`.
    """
    classes = sorted(set(labels))
    signs = np.where(np.array(labels)[:, None] == np.array(classes), 1.0, -1.0).astype("float32")
    regularizer = keras.regularizers.L2(regularization)
    if isinstance(train, tuple):
        inputs = [layers.Input((None,), dtype="int32"), layers.Input((None,), dtype="float32")]
        outputs = _Sparse(int(train[0].max()) + 1, len(classes), regularizer)(inputs)
        train, test = list(train), list(test)
    else:
        mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-6
        train, test = ((x - mean) / deviation for x in (train, test))
        inputs = layers.Input(train.shape[1:])
        outputs = layers.Dense(len(classes), kernel_initializer="zeros", kernel_regularizer=regularizer)(inputs)
    keras.utils.set_random_seed(seed)  # the order of the batches is Keras's own
    model = keras.Model(inputs, outputs)
    steps = EPOCHS * -(-len(labels) // BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(learning_rate, steps)), "squared_hinge"
    )
    model.fit(train, signs, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    predicted = model.predict(test, batch_size=1024, verbose=0)
    return [classes[i] for i in predicted.argmax(axis=1)]


def of_codes(z, texts, labels):
    """Compares how well labels are predicted from codes and from words.

    Args:
        z: dict of split -> float (n, d), codes of "train" and "test".
        texts, labels: dicts of split -> lists of n str; texts without a label do not count.

    Returns:
        Accuracies on the test texts: svm_code, svm_tf_idf and majority (the most frequent label in training).
    """
    kept = {split: [i for i, label in enumerate(labels[split]) if label] for split in ("train", "test")}
    labels = {split: [labels[split][i] for i in rows] for split, rows in kept.items()}
    words = tf_idf(*([texts[split][i] for i in kept[split]] for split in ("train", "test")))
    codes = {split: z[split][rows] for split, rows in kept.items()}
    predicted = {
        "svm_code": svm(codes["train"], labels["train"], codes["test"]),
        "svm_tf_idf": svm(words[0], labels["train"], words[1]),
        "majority": [collections.Counter(labels["train"]).most_common(1)[0][0]] * len(labels["test"]),
    }
    return {name: float(np.mean(np.array(guesses) == np.array(labels["test"]))) for name, guesses in predicted.items()}
