"""Scores of samples: BLEU is NLTK's, divergences have their closed forms, language models know shuffled text."""

import os
import subprocess
import sys

from scriptorium import ROOT
from scriptorium.scores.samples import Bleu, Judge, jensen_shannon

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu


def texts_of(count, words=12, seed=0):
    random = np.random.default_rng(seed)
    return [[f"w{i}" for i in random.integers(0, words, random.integers(1, 9))] for _ in range(count)]


def nltk_bleu(references, text, n):
    return sentence_bleu(references, text, (1 / n,) * n, SmoothingFunction().method1)


@pytest.mark.filterwarnings("ignore")
def test_bleu_is_that_of_nltk():
    references = [*texts_of(60), ["w1"] * 4, ["w1", "w2"] * 4]
    texts = [*texts_of(40, 14, seed=1), ["new"], ["new", "w1"], ["w1"] * 6]
    bleu = Bleu(references)
    for text in texts:
        wanted = [nltk_bleu(references, text, n) for n in range(1, 6)]
        assert bleu.score(text) == pytest.approx(wanted, abs=1e-9)
    wanted = [np.mean([nltk_bleu(references, text, n) for text in texts]) for n in range(1, 6)]
    assert bleu.bleu(texts) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_self_bleu_is_that_of_nltk_against_all_others():
    texts = [*texts_of(40), ["w1"] * 4, ["w1"] * 4, ["a", "b"], ["w2"] * 13]
    wanted = np.zeros(5)
    for i, text in enumerate(texts):
        wanted += [nltk_bleu(texts[:i] + texts[i + 1 :], text, n) for n in range(1, 6)]
    assert Bleu(texts).self_bleu() == pytest.approx(wanted / len(texts), abs=1e-9)


def test_empty_texts_have_no_bleu():
    assert Bleu([["a"], []]).score([]) == [0.0] * 5


def test_divergence_is_0_of_the_same_and_1_bit_of_others():
    assert jensen_shannon(["abab", "b"], ["abab", "b"], 2) == 0
    assert jensen_shannon(["abab"], ["cdcd"], 2) == pytest.approx(1)
    # P(a) = 1 against P(a) = P(b) = 1/2: half of log2(4/3), and half of (log2(2/3) + log2(2)) / 2.
    wanted = 0.5 * np.log2(4 / 3) + 0.25 * (np.log2(2 / 3) + 1)
    assert jensen_shannon(["aa"], ["ab"], 1) == pytest.approx(wanted)
    assert jensen_shannon(["a" * 40 + "b"], ["a"], 1) == 0  # what lies behind 32 characters


def judge():
    random = np.random.default_rng(3)
    # Sentences whose words stand in order: 4 ... 4 + n.
    texts = [list(range(start, start + random.integers(3, 7))) for start in random.integers(4, 14, 300)]
    tokens = [[str(i) for i in ids] for ids in texts]
    return texts, Judge(texts[:200], texts[200:], tokens[200:], [" ".join(t) for t in tokens[:200]])


def test_samples_are_judged_by_quality_and_variety():
    texts, who = judge()

    def scores(samples):
        tokens = [[str(i) for i in ids] for ids in samples]
        return who.scores(samples, tokens, [" ".join(t) for t in tokens])

    real, one = scores(texts[200:]), scores(texts[200:201] * 100)
    random = np.random.default_rng(4)
    mixed = scores([list(random.permutation(ids)) for ids in texts[200:]])
    assert real["lm_score"] < mixed["lm_score"] and real["bleu_3"] > mixed["bleu_3"]
    assert real["more_likely_than_shuffled"] > 0.9 > 0.7 > mixed["more_likely_than_shuffled"]
    assert one["reverse_lm_score"] > real["reverse_lm_score"] + 1
    assert one["unique"] == 0.01 and one["self_bleu_3"] > mixed["self_bleu_3"]
    assert one["copies"] in (0, 1) and scores(texts[:50])["copies"] == 1
    assert real["text_score"] == pytest.approx(real["lm_score"] + real["reverse_lm_score"])
    assert who.language_models(texts[200:]) == (real["lm_score"], real["reverse_lm_score"])


def test_a_divergence_is_the_same_to_the_bit_in_every_process():
    program = (
        "from scriptorium.scores.samples import jensen_shannon as js; a = [str(i**3) for i in range(3000)]\n"
        "print(repr(js(a, [x + '7' for x in a], 4)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": str(seed)}, cwd=ROOT,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in range(4)
    }  # fmt: skip
    assert len(found) == 1
