"""Reports of a VAE on very few texts."""

from types import SimpleNamespace

from scriptorium.data.batches import encode_texts
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.vae.report import EpochReport

import pytest


@pytest.mark.parametrize("words", [[3], [3, 9], [1, 2, 30], [4, 4, 4, 4], [1, 2, 3, 4, 5, 6, 7, 8]])
def test_there_are_texts_to_show_however_few_there_are(words):
    texts = [" ".join(["a"] * count) for count in words]
    run = SimpleNamespace(seed=1, vocabulary=Vocabulary.build(texts, "space"))
    shown = EpochReport(run, None, encode_texts(texts, run.vocabulary), 1, 1).texts
    assert shown and set(shown) <= set(texts) and len(shown) <= 5
