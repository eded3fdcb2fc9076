"""Remedies for posterior collapse that change the training loop.

The model needs an `encoder`, a `decoder` and an `embedding` that both read; for aggressive training also an
`AggressiveSchedule` as `aggressive`.
"""

from scriptorium.nn.fast import Adam
from scriptorium.nn.mirrored import array_of
from scriptorium.scores import metrics
from scriptorium.vae import inference, latent

import keras
import numpy as np
from keras import layers, ops


class ResetDecoder(keras.callbacks.Callback):
    """After pre-training as an autoencoder, resets the decoder and keeps the encoder (Li et al. 2019)."""

    def __init__(self, model, batches, epoch):
        super().__init__()
        self.batches, self.epoch = batches, epoch
        shared = {id(variable) for variable in (*model.embedding.variables, *model.encoder.variables)}
        self.first = [(v, array_of(v)) for v in model.decoder.trainable_variables if id(v) not in shared]

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.epoch or self.batches.first:
            return
        for variable, value in self.first:
            variable.assign(value)
        for variable in self.model.optimizer.variables:
            if variable.path.split("/")[-1] not in ("iteration", "learning_rate"):
                variable.assign(ops.zeros_like(variable))


class EndAggressivePhase(keras.callbacks.Callback):
    """Ends the aggressive training of the encoder when mutual information stops growing from epoch to epoch."""

    def __init__(self, valid):
        super().__init__()
        self.valid = valid

    def on_epoch_end(self, epoch, logs=None):
        z_mean, z_log_var = inference.posteriors(self.model, self.valid)
        z = latent.draw(z_mean, z_log_var, np.random.default_rng(1).standard_normal(z_mean.shape))
        self.model.aggressive.observe_information(metrics.mutual_information(z, z_mean, z_log_var))


class AggressiveSchedule(layers.Layer):
    """Decides which training steps update the decoder: only those where the encoder has caught up (He et al. 2019).

    In between, only the encoder learns, until its loss stops falling from one window of steps to the next, or for
    `longest` steps. `decoder_moves` is 1 in a step that updates both, else 0; setting `active` to 0 ends the phase.
    """

    def __init__(self, window=10, longest=100):
        super().__init__(dtype="float32")
        self.window, self.longest = window, longest

        def scalar(name, value):
            return self.add_weight(shape=(), initializer=keras.initializers.Constant(value), trainable=False, name=name)

        self.active, self.decoder_moves, self.next_moves = scalar("active", 1), scalar("moves", 0), scalar("next", 0)
        self.steps, self.sum, self.last_sum = scalar("steps", 0), scalar("sum", 0), scalar("last_sum", 1e30)
        self.information = scalar("information", -1)

    def update(self, loss):
        """Records the loss of a training step, before its update."""
        moves = ops.maximum(self.next_moves, 1.0 - self.active)
        steps, total = self.steps + 1.0, self.sum + ops.cast(loss, "float32")
        full = ops.equal(ops.mod(steps, self.window), 0.0)
        caught_up = ops.logical_or(ops.logical_and(full, total >= self.last_sum), steps >= self.longest)
        last_sum = ops.where(full, total, ops.convert_to_tensor(self.last_sum))
        self.decoder_moves.assign(moves)
        self.next_moves.assign(ops.cast(caught_up, "float32"))
        # After a step that updates both, the encoder starts over.
        self.steps.assign(ops.where(caught_up, 0.0, steps))
        self.sum.assign(ops.where(ops.logical_or(full, caught_up), 0.0, total))
        self.last_sum.assign(ops.where(caught_up, 1e30, last_sum))

    def observe_information(self, mutual_information):
        """Records the mutual information after an epoch; once it stops growing, every step updates both."""
        if mutual_information <= float(array_of(self.information)):
            self.active.assign(0.0)
        self.information.assign(mutual_information)


class AlternatingAdam(Adam):
    """Adam that leaves the variables `switched`, and its moments for them, unchanged while `switch` is 0."""

    def __init__(self, switch, switched, **arguments):
        super().__init__(**arguments)
        self.switch, self.switched = switch, {id(variable) for variable in switched}

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        # TensorFlow passes its own variable; the list holds Keras's.
        keras_variable = self._trainable_variables[index]
        if id(keras_variable) not in self.switched:
            super().update_step(gradient, variable, learning_rate)
            return
        kept = [keras_variable, self._momentums[index], self._velocities[index]]
        before = [ops.copy(ops.convert_to_tensor(v)) for v in kept]
        super().update_step(gradient, variable, learning_rate)
        for v, old in zip(kept, before, strict=True):
            v.assign(ops.where(self.switch > 0, ops.convert_to_tensor(v), old))
