"""Batches of running text, and the state that is carried along them."""

import itertools

from scriptorium import UserError
from scriptorium.data.batches import Streams, windows
from scriptorium.data.vocabulary import PAD, START
from scriptorium.nn.recurrent import CarriedState, ResetState

import keras
import numpy as np
import pytest


def followed(batches, rows):
    """What each row of the batches reads, from the first window to the last."""
    read = [[] for _ in range(rows)]
    for i in range(len(batches)):
        for row, ids in enumerate(batches[i][0]):
            read[row].append(ids)
    return read


def test_windows_follow_one_another_and_every_token_is_predicted_once():
    ids = np.arange(4, 107)
    batches = Streams(ids, 4, 5)
    targets = []
    for row in followed(batches, 4):
        for before, after in itertools.pairwise(row):
            if after[1] != PAD:
                assert after[0] == before[-1]
        targets += [window[1:] for window in row]
    targets = np.concatenate(targets)
    assert sorted(targets[targets != PAD].tolist()) == ids.tolist()
    assert sum(batches.num_tokens(i) for i in range(len(batches))) == len(ids)
    assert batches[0][0][0, 0] == START and batches[0][0][1, 0] == ids[25]


def test_an_epoch_cuts_the_text_at_its_own_places():
    ids = np.arange(4, 1004)
    batches, same = Streams(ids, 4, 10, seed=1), Streams(ids, 4, 10, seed=1)
    batches.go_to(3)
    same.go_to(3, 5)
    np.testing.assert_array_equal(batches[5][0], same[0][0])
    first = batches[0][0].copy()
    batches.go_to(4)
    assert not np.array_equal(first, batches[0][0])
    targets = np.concatenate([batches[i][0][:, 1:].ravel() for i in range(len(batches))])
    assert sorted(targets[targets != PAD].tolist()) == ids.tolist()


def test_too_little_text_for_the_places():
    with pytest.raises(UserError, match="3 tokens are too few for --batch-size 4"):
        Streams(np.arange(3), 4, 10)


def test_windows_hold_all_of_the_text():
    cut = windows(np.arange(4, 27), 5)
    assert cut.lengths.tolist() == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(cut[4], [24, 25, 26])


def test_the_state_is_forgotten_where_a_text_begins():
    carried = CarriedState(2, [3])
    carried.write([keras.ops.ones((2, 3))])
    batches = Streams(np.arange(4, 50), 2, 5)
    callback = ResetState(carried, batches)
    batches.go_to(0, 2)
    callback.on_epoch_begin(0)
    assert np.asarray(carried.read()[0]).all(), "a resumed epoch keeps its state"
    batches.go_to(1)
    callback.on_epoch_begin(1)
    assert not np.asarray(carried.read()[0]).any()


def test_a_state_is_forgotten_in_training_alone():
    carried = CarriedState(200, [3, 2], reset_probability=0.3)
    carried.write([np.ones((200, 3), "float32"), np.ones((200, 2), "float32")])
    first, second = (np.asarray(state) for state in carried.read(training=True))
    empty = first[:, 0] == 0
    assert 30 < empty.sum() < 90
    np.testing.assert_array_equal(first, np.repeat(~empty[:, None], 3, axis=1))
    np.testing.assert_array_equal(second[:, 0], first[:, 0])
    for states in (carried.read(), CarriedState(2, [3]).read(training=True)):
        assert all(len(np.unique(state)) == 1 for state in states)
