"""Batches of running text that go on from one to the next, and the state that is carried along them.

Row i of a batch goes on where row i of the batch before ended. So a recurrent model that begins a batch with the state
it had at the end of the last one has the whole past in it, though gradients reach back one window only (truncated
backpropagation through time).
"""

import keras
import numpy as np
from keras import layers, ops

import util
from util import PAD, START, UserError


class Streams(keras.utils.PyDataset):
    """Windows of running text, in order, from `batch_size` places at once.

    Args:
        ids: integers (length,).
        batch_size: places.
        window: tokens that a batch asks to predict at each place.
        seed: int. In each epoch the text is cut at other places, a function of (seed, epoch); None cuts it always at
            the same ones.

    Items are tuples of one array, int32 (batch_size, 1 + window): the token before the window, then the window; past
    the end of a place there is padding.
    """

    def __init__(self, ids, batch_size, window, seed=None):
        super().__init__()
        if len(ids) < batch_size:
            raise UserError(f"{len(ids)} tokens are too few for {batch_size} places in the text (--batch-size)")
        self.ids, self.batch_size, self.window, self.seed = ids, batch_size, window, seed
        self.stride = -(-len(ids) // batch_size)
        self.total = -(-self.stride // window)
        self.go_to(0)

    def go_to(self, epoch, first=0):
        """Serves the windows of `epoch` (from 0), from the batch numbered `first` on."""
        self.first, shift = first, 0
        if self.seed is not None:
            shift = int(np.random.default_rng((self.seed, epoch)).integers(self.stride))
        self.shift = shift

    def __len__(self):
        return self.total - self.first

    def _spans(self, index):
        """Where the windows of a batch begin and end, within the text turned round by the shift."""
        offset = (self.first + index) * self.window
        begin = np.arange(self.batch_size) * self.stride
        ends = np.minimum(np.minimum(begin + self.stride, len(self.ids)), begin + offset + self.window)
        return begin + offset, ends

    def __getitem__(self, index):
        rows = np.full((self.batch_size, 1 + self.window), PAD, "int32")
        for row, begin, end in zip(rows, *self._spans(index), strict=True):
            if begin < end:
                places = np.arange(begin - 1, end) + self.shift
                row[: len(places)] = self.ids[places % len(self.ids)]
                if places[0] % len(self.ids) == len(self.ids) - 1:
                    row[0] = START  # the text begins here
        return (rows,)

    def tokens(self, index):
        """Returns how many tokens batch `index` asks a model to predict."""
        begins, ends = self._spans(index)
        return int(np.maximum(ends - begins, 0).sum())


def windows(ids, length):
    """Returns running text, integers (n,), cut into `util.Sequences` of `length` tokens; the last may be shorter."""
    return util.Sequences(ids, np.append(np.arange(0, len(ids), length), len(ids)))


class Carried(layers.Layer):
    """The states of recurrences, carried from batch to batch; they are saved with the weights.

    Args:
        batch_size: rows.
        widths: list of int, the width of each state.
        forget: chance that in training a row's states are emptied before a batch. Without it a model never sees the
            beginning of a text again, and learns carries that grow for as long as it reads.
        seed: int.
    """

    def __init__(self, batch_size, widths, forget=0.0, seed=1):
        super().__init__(dtype="float32")
        self.forget, self.seed = forget, keras.random.SeedGenerator(seed)
        self.states = [
            self.add_weight(shape=(batch_size, width), initializer="zeros", trainable=False, name=f"state-{i}")
            for i, width in enumerate(widths)
        ]

    def read(self, training=False):
        """Returns the states, float32 (batch_size, width) each."""
        states = [state.value for state in self.states]
        if training and self.forget:
            kept = keras.random.uniform((states[0].shape[0], 1), seed=self.seed) >= self.forget
            states = [state * ops.cast(kept, state.dtype) for state in states]
        return states

    def write(self, states):
        """Keeps the states for the next batch; no gradient passes through them."""
        for kept, state in zip(self.states, states, strict=True):
            kept.assign(ops.stop_gradient(ops.cast(state, "float32")))

    def reset(self):
        """Forgets the text so far."""
        for state in self.states:
            state.assign(ops.zeros(state.shape))


class FromTheStart(keras.callbacks.Callback):
    """Forgets the carried state where a text begins: before an epoch and before a validation.

    Args:
        carried: `Carried`.
        batches: the `Streams` that are trained on; an epoch that was stopped goes on with the state that was saved.
    """

    def __init__(self, carried, batches):
        super().__init__()
        self.carried, self.batches = carried, batches

    def on_epoch_begin(self, epoch, logs=None):
        if not self.batches.first:
            self.carried.reset()

    def on_test_begin(self, logs=None):
        self.carried.reset()
