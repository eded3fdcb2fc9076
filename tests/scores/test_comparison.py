"""Scores of samples against real texts: divergences have their closed forms, intervals hold what they should."""

import random

from scriptorium.scores import intervals, kneser_ney, lstm
from scriptorium.scores.comparison import Yardstick, copies, table, with_intervals
from scriptorium.scores.intervals import Term
from scriptorium.scores.samples import Bleu
from scriptorium.scores.two_sample import classified_correctly, n_grams

import numpy as np
import pytest
import sacrebleu


def drawn(shares, count, seed):
    """Texts of one word, from a distribution over words."""
    words = [f"w{i}" for i in range(len(shares))]
    return [[word] for word in random.Random(seed).choices(words, shares, k=count)]


def compared(reference, samples):
    yardstick = Yardstick(reference, [" ".join(text) for text in reference], [samples])
    return yardstick.scores(samples, [" ".join(text) for text in samples])


def test_a_count_model_is_a_distribution_over_a_given_vocabulary():
    model = kneser_ney.KneserNey(["ab", "abc", "ca"], 3, vocab_size=5)
    tokens = ["a", "b", "c", "never", "seen", kneser_ney.END]
    for context in (kneser_ney.START * 2, "ab", "xx"):
        assert sum(model.probability(token, context) for token in tokens) == pytest.approx(1)


def test_divergences_are_those_of_the_distributions():
    p, q = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    scores = compared(drawn(p, 6000, 1), drawn(q, 6000, 2))
    values = {name: intervals.value_of(score) for name, score in scores.items()}
    # Each text has two tokens, the second of which, its end, is certain.
    wanted = sum(a * np.log(a / b) for a, b in zip(q, p, strict=True)) / 2
    assert values["kl_samples"] == pytest.approx(wanted, abs=0.01)
    assert values["kl_reference"] == pytest.approx(wanted, abs=0.01)  # the two happen to be symmetric
    assert values["entropy_samples"] == pytest.approx(-sum(a * np.log(a) for a in q) / 2, abs=0.01)
    assert values["nll_samples"] == pytest.approx(values["entropy_samples"] + values["kl_samples"])
    # The best guess is the word's likelier side: 0.5 + the total variation of p and q, 0.3, halved.
    assert values["accuracy"] == pytest.approx(0.65, abs=0.02)
    assert values["tokens"] == 1 and values["unique"] == pytest.approx(3 / 6000)


def test_equal_distributions_cannot_be_classified_correctly():
    p = [0.4, 0.3, 0.2, 0.1]
    scores = with_intervals(compared(drawn(p, 2000, 1), drawn(p, 2000, 2)))
    for name, wanted in (("kl_samples", 0), ("kl_reference", 0), ("accuracy", 0.5)):
        value, low, high = scores[name]
        assert low - 0.01 < wanted < high + 0.01 and abs(value - wanted) < 0.03
    assert scores["jsd_1"][0] < 0.001


def test_copies_and_repeated_samples_are_counted():
    samples = [["a", "b"], ["a", "b"], ["c"], ["d", "e"]] * 5
    assert intervals.value_of(compared([["a"], ["b", "c"]] * 10, samples)["unique"]) == pytest.approx(3 / 20)
    assert copies(["a cat .", "A dog.", "a"], ["A cat.", "a bird ."]).tolist() == [True, False, False]


def test_an_interval_is_that_of_the_normal_distribution_for_a_mean():
    values = np.random.default_rng(1).normal(2.0, 3.0, 2500)
    (low, high), half = intervals.bootstrap({"x": intervals.mean("samples", values)})["x"], 1.96 * values.std() / 50
    assert low == pytest.approx(values.mean() - half, abs=0.02) and high == pytest.approx(
        values.mean() + half, abs=0.02
    )


def test_the_terms_of_one_set_are_drawn_together():
    values = np.random.default_rng(2).normal(size=300)
    ones = np.ones(300)
    same = [Term("samples", values, ones), Term("samples", -values, ones)]
    other = [Term("samples", values, ones), Term("reference", -values, ones)]
    found = intervals.bootstrap({"same": same, "other": other}, draws=200)
    assert found["same"] == pytest.approx((0, 0), abs=1e-12) and found["other"][0] < -0.05 < 0.05 < found["other"][1]
    assert found == intervals.bootstrap({"same": same, "other": other}, draws=200)


def test_a_ratio_has_the_interval_of_its_draws():
    values, weights = np.array([1.0, 4.0, 2.0]), np.array([1.0, 2.0, 3.0])
    score = [Term("samples", values, weights)]
    assert intervals.value_of(score) == 7 / 6
    low, high = intervals.bootstrap({"x": score}, draws=5000)["x"]
    assert low == pytest.approx(2 / 3) and high == pytest.approx(
        2
    )  # of three draws, 1 in 27 takes the same text thrice


def test_a_classifier_tells_different_texts_apart():
    cats, dogs = ([[f"{kind}{i % 7}", "sat"] for i in range(100)] for kind in ("cat", "dog"))
    assert all(right.all() for right in classified_correctly(cats, dogs))
    assert n_grams(["a", "b"]) == [("a",), ("b",), ("\n",), ("a", "b"), ("b", "\n")]
    # Texts without a token have their end in common, and nothing to tell them apart.
    mixed = drawn([1, 1], 100, 3) + [[]] * 10
    first, second = classified_correctly(mixed, mixed), classified_correctly(mixed, mixed)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_bleu_is_that_of_sacrebleu():
    draw = np.random.default_rng(5)
    texts = [[f"w{i}" for i in draw.integers(0, 9, draw.integers(5, 12))] for _ in range(30)]
    references, samples = texts[:20], texts[20:]
    for n in (2, 3, 4, 5):
        bleu = sacrebleu.BLEU(
            tokenize="none", smooth_method="floor", smooth_value=0.1, max_ngram_order=n, effective_order=False
        )
        lines = [" ".join(text) for text in references]
        wanted = [bleu.sentence_score(" ".join(text), lines).score / 100 for text in samples]
        assert Bleu(references).each(samples)[:, n - 1] == pytest.approx(wanted, abs=1e-6)


def test_an_lstm_learns_what_the_texts_have_in_common():
    train = [[0, 1, 2, 3] * (1 + i % 3) for i in range(80)]
    likely, unlikely = lstm.nats(train, [[[0, 1, 2, 3]], [[3, 2, 1, 0]]], vocab_size=4)
    assert likely.shape == (1,) and likely[0] < 5 * np.log(6) < unlikely[0]


def test_a_table_has_a_column_for_each_file():
    lines = table({"a.txt": {"x": (1, 0.5, 2)}, "real": {"x": (0, 0, 0), "copies": (1, 1, 1)}})
    assert lines[0].split() == ["a.txt", "real"]
    assert lines[1] == "x       1.000 [0.500, 2.000]  0.000 [0.000, 0.000]"
    assert lines[2] == "copies" + " " * 24 + "1.000 [1.000, 1.000]"
