"""Drawing from logits, and the loops that write sequences with a model's step."""

from scriptorium.data.vocabulary import EOS, PAD, START, UNK
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import Compiled

import keras
import numpy as np
import pytest
from keras import ops

VOCAB = 7


def support(**settings):
    logits = np.log(np.array([[0.02, 0.4, 0.3, 0.2, 0.08]], "float32"))
    uniform = np.random.default_rng(1).random(4000, "float32")
    drawn = sampling.sample_logits(np.repeat(logits, 4000, 0), uniform, **settings)
    return set(np.asarray(drawn).tolist()), np.asarray(drawn)


def test_temperature_zero_is_greedy():
    assert support(temperature=0)[0] == {1}


def test_supports_of_top_k_and_top_p():
    assert support()[0] == {0, 1, 2, 3, 4}
    assert support(top_k=2)[0] == {1, 2}
    assert support(top_p=0.65)[0] == {1, 2}
    assert support(top_p=0.75)[0] == {1, 2, 3}
    assert support(top_p=0.01)[0] == {1}


def test_frequencies_follow_the_temperature():
    hot, cold = support(temperature=1.0)[1], support(temperature=0.5)[1]
    assert np.mean(hot == 1) == pytest.approx(0.4, abs=0.03)
    assert np.mean(cold == 1) == pytest.approx(0.16 / (0.0004 + 0.16 + 0.09 + 0.04 + 0.0064), abs=0.03)


def test_no_underflow_with_far_logits():
    logits = np.array([[-1e4, 0.0, -2e4]] * 3, "float32")
    drawn = sampling.sample_logits(logits, np.array([0.0, 0.5, 1 - 2**-24], "float32"))
    assert np.asarray(drawn).tolist() == [1, 1, 1]


# A chain over ids 4, 5, 6 and <eos>, whose probabilities are known.
CHAIN = np.full((VOCAB, VOCAB), 1e-9)
CHAIN[START, [4, 5]] = 0.6, 0.4
CHAIN[4, [4, 6, EOS]] = 0.4, 0.35, 0.25
CHAIN[5, [6, EOS]] = 0.05, 0.95
CHAIN[6, [EOS, 4]] = 0.9, 0.1
LOGITS = np.log(CHAIN / CHAIN.sum(1, keepdims=True)).astype("float32")


def step(token, state):
    return ops.take(ops.convert_to_tensor(LOGITS), token, axis=0), (state[0] + 1.0,)


def write(beam=0, batch=3, length=5):
    def run(z):
        if beam:
            return sampling.beam_search(step, (z,), ops.shape(z)[0], length, beam)
        return sampling.generate(step, (z,), ops.zeros((ops.shape(z)[0], length)), lambda x, _: ops.argmax(x, -1))

    seed = keras.random.SeedGenerator(1)
    return Compiled(run, seed).predict_on_batch(np.zeros((batch, 1), "float32"))


def test_beam_of_one_is_greedy_and_scores_are_log_probabilities():
    greedy, beam = write(), write(1)
    np.testing.assert_array_equal(greedy[0], beam[0])
    np.testing.assert_allclose(greedy[1], beam[1], rtol=1e-5)
    assert greedy[0][0].tolist() == [4, 4, 4, 4, 4]
    assert greedy[1][0] == pytest.approx(np.log(0.6 * 0.4**4), rel=1e-4)


def test_beam_finds_the_likeliest():
    ids, scores = write(4)
    assert ids[0].tolist() == [5, EOS, PAD, PAD, PAD]
    np.testing.assert_allclose(scores, np.log(0.4 * 0.95), rtol=1e-4)


def test_a_sequence_ends_and_is_padded():
    table = LOGITS.copy()
    table[START, UNK] = 50.0  # however likely, <unk>, <pad> and <start> are never written

    def run(z):
        def go(token, state):
            return ops.take(ops.convert_to_tensor(table), token, axis=0), state

        return sampling.generate(
            go, (z,), keras.random.uniform((ops.shape(z)[0], 6), seed=seed), sampling.sample_logits
        )

    seed = keras.random.SeedGenerator(3)
    ids, _ = Compiled(run, seed).predict_on_batch(np.zeros((64, 1), "float32"))
    assert not np.isin(ids[:, 0], (PAD, START, UNK)).any()
    for row in ids:
        end = row.tolist().index(EOS) if EOS in row else len(row)
        assert (row[end + 1 :] == PAD).all() and (row[:end] > EOS).all()
    assert {row.tolist().index(EOS) for row in ids if EOS in row} > {1, 2}


def test_what_is_ruled_out_stays_so_at_any_temperature():
    logits = ops.repeat(sampling.mask_special_tokens(ops.zeros((1, 8))), 400, axis=0)
    for temperature in (0.001, 1, 1000, 1e9):
        uniform = np.linspace(0, 1, 400, endpoint=False, dtype="float32")
        drawn = sampling.sample_logits(logits, uniform, temperature)
        assert set(ops.convert_to_numpy(drawn).tolist()) == {EOS, 4, 5, 6, 7}
