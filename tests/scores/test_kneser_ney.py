"""The count model: a distribution, whatever the counts are."""

from scriptorium.scores import kneser_ney

import pytest


@pytest.mark.parametrize(
    "names", [["anna", "bo", "ada"], ["abab"] * 3 + ["ba", "cab", "abc", "bca"], list("abcdaabbccc")]
)
def test_probabilities_of_any_context_sum_to_one(names):
    model = kneser_ney.KneserNey(names, 3)
    for context in ("\x02\x02", "\x02a", "an", "ab", "zz"):
        each = [model.probability(token, context) for token in model.tokens]
        unseen = model.probability("?", context)
        assert min(each) > 0 and unseen > 0
        assert sum(each) + unseen == pytest.approx(1)


def test_discounts_of_counts_that_have_no_estimate():
    # Here the estimate of what is taken from a count of 2 would be 2 - 3 (3 / 5) 9 / 1, far below 0.
    counts = [1] * 3 + [2] + [3] * 9 + [4]
    assert kneser_ney._discounts(counts) == [0, 0.5, 0.5, 0.5]


def test_ids_are_letters():
    assert len(set(kneser_ney.letters(range(10_000)))) == 10_000
    texts = [kneser_ney.letters(ids) for ids in ([4, 5, 6], [4, 5, 7])]
    assert kneser_ney.KneserNey(texts, 3).nats_per_token(texts) < kneser_ney.KneserNey(texts, 1).nats_per_token(texts)
