"""Remedies that decide who learns when."""

from scriptorium.vae import collapse

import keras
import numpy as np


def test_aggressive_encoder_lets_the_decoder_move_once_the_loss_stops_falling():
    control = collapse.AggressiveSchedule(window=2, longest=6)
    moves = []
    for loss in (9, 8, 7, 7, 8, 8, 1, 1, 5, 5, 0, 0):
        control.update(loss)
        moves.append(int(control.decoder_moves))
    # Windows: 17, 14, 16 (no longer falling): the next step moves both. Then 2 (its first window), 10: again.
    assert moves == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0]
    control.observe_information(1.0)
    assert float(control.active) == 1
    control.observe_information(0.9)
    assert float(control.active) == 0
    control.update(1)
    assert int(control.decoder_moves) == 1


def test_alternating_adam_freezes_what_is_switched_off():
    switch = keras.Variable(0.0, trainable=False)
    encoder, decoder = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer = collapse.AlternatingAdam(switch, [decoder], learning_rate=0.1)
    optimizer.build([encoder, decoder])
    gradients = [np.ones(1, "float32")] * 2
    optimizer.apply(gradients)
    assert float(decoder[0]) == 1.0 and float(encoder[0]) < 1.0
    switch.assign(1.0)
    optimizer.apply(gradients)
    assert float(decoder[0]) < 1.0
    moved = float(decoder[0])
    switch.assign(0.0)
    optimizer.apply(gradients)
    assert float(decoder[0]) == moved
