"""Ids to batches: padded sequences of similar length, or consecutive windows of running text.

Sequences hold the ids of a text and its `<eos>`; a model shifts them right by one to get its inputs.
"""

import array

from scriptorium import UserError
from scriptorium.data.growing_ids import GrowingIds
from scriptorium.data.vocabulary import EOS, PAD, START

import keras
import numpy as np

WIDTH_STEP = 8
# What may happen to a text, for people.
TOO_LONG, EMPTY, CUT = "too long left out", "empty left out", "cut"


class Sequences:
    """Sequences of ids of different lengths, stored end to end in one array.

    Args:
        ids: integers (total,), in memory or mapped from a file.
        starts: int64 (sequences + 1,): sequence i is `ids[starts[i]:starts[i + 1]]`.
        changes: dict of str -> int, for people: how many texts were cut, and how many left out and why.
        labels: None, or the classes of each sequence, int32 (sequences, kinds).
        longest: length of the longest sequence that a model reads, here or elsewhere; None for the longest one here.
    """

    def __init__(self, ids, starts, changes=None, labels=None, longest=None):
        self.ids, self.starts, self.changes, self.labels = ids, np.asarray(starts, "int64"), changes or {}, labels
        self.lengths = np.diff(self.starts)
        self.longest = longest or int(self.lengths.max(initial=1))

    @property
    def dropped(self):
        """How many texts were left out."""
        return sum(count for what, count in self.changes.items() if what != CUT)

    @classmethod
    def from_list(cls, sequences):
        ids = np.concatenate([np.asarray(s, "int32") for s in sequences]) if sequences else np.zeros(0, "int32")
        return cls(ids, np.concatenate([[0], np.cumsum([len(s) for s in sequences])]))

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        return self.ids[self.starts[i] : self.starts[i + 1]]

    def padded(self, indices, width=None):
        """Returns the sequences at `indices` as int32 (len(indices), width), padded on the right with `<pad>`.

        The default width is that of the longest of them. JAX compiles a model for each width, so there it is a multiple
        of `WIDTH_STEP` or `longest`.
        """
        if not width:
            width = int(self.lengths[indices].max(initial=1))
            if keras.backend.backend() == "jax":
                width = min(-(-width // WIDTH_STEP) * WIDTH_STEP, self.longest)
        rows = np.full((len(indices), width), PAD, "int32")
        for row, i in enumerate(indices):
            rows[row, : self.lengths[i]] = self[i]
        return rows

    def inputs(self, indices, width=None):
        """Returns a model's inputs: `padded`, or with labels a dict of "ids" and "labels" (len(indices), kinds)."""
        ids = self.padded(indices, width)
        return ids if self.labels is None else {"ids": ids, "labels": self.labels[indices]}

    def first(self, count):
        """Returns the first `count` sequences as `Sequences`."""
        labels = None if self.labels is None else self.labels[:count]
        return Sequences(self.ids, self.starts[: count + 1], labels=labels, longest=self.longest)


def encode_texts(texts, vocabulary, max_length=None, clip_length=None, prompt=False, labels=None):
    """Encodes texts as `Sequences`, each ending in `<eos>`.

    Args:
        texts: iterable of str; read once, so it may be larger than memory.
        vocabulary: `Vocabulary`.
        max_length: texts with more tokens than this are left out; None keeps all.
        clip_length: texts are cut after this many tokens; None keeps them whole.
        prompt: whether the texts were typed by a person (see `Vocabulary.split_prompt`).
        labels: None, or the classes of each text, integers (texts, kinds).

    Returns:
        `Sequences` of ids; the lengths include `<eos>`. Empty texts are left out, except prompts.
    """
    ids, starts, dropped = GrowingIds(len(vocabulary), "uint16"), array.array("q", [0]), []
    changes = {TOO_LONG: 0, EMPTY: 0, CUT: 0}
    for index, text in enumerate(texts):
        whole = vocabulary.encode(text, prompt)
        sequence = whole[:clip_length]
        too_long, empty = bool(max_length) and len(sequence) > max_length, len(sequence) == 0 and not prompt
        if too_long or empty:
            changes[TOO_LONG if too_long else EMPTY] += 1
            dropped.append(index)
            continue
        changes[CUT] += len(sequence) < len(whole)
        ids.extend([*sequence.tolist(), EOS])
        starts.append(len(ids))
    labels = None if labels is None else np.delete(labels, dropped, axis=0)
    return Sequences(ids.finish(), starts, changes, labels)


class Batches(keras.utils.PyDataset):
    """Padded batches of sequences of similar length, in an order that depends on (seed, epoch) alone.

    Sequences are shuffled, sorted by length within pools of `pool` batches, cut into batches, and the batches are
    shuffled. A batch is padded to the next of at most `buckets` widths; one batch may hold fewer sequences.

    Args:
        sequences: `Sequences`.
        batch_size: sequences per batch.
        seed: int, for the order.
        shuffle: False gives one order, sorted by length, for every epoch.
        buckets: at most this many widths; None means 10 with JAX, which compiles a step for each, and 100 otherwise,
            which leaves little padding.
        pool: number of batches whose sequences are sorted together.

    Items are 1-tuples holding `Sequences.inputs` of a batch: ids int32 (batch_size, width), or with labels a dict.
    """

    def __init__(self, sequences, batch_size, seed=1, shuffle=True, buckets=None, pool=64):
        super().__init__()
        buckets = buckets or (10 if keras.backend.backend() == "jax" else 100)
        self.sequences, self.batch_size, self.seed, self.shuffle, self.pool = sequences, batch_size, seed, shuffle, pool
        lengths = sequences.lengths if len(sequences) else np.ones(1, "int64")
        marks = np.quantile(lengths, np.linspace(0, 1, buckets + 1)[1:], method="higher").astype(int)
        self.widths = np.unique(np.append(-(-marks[:-1] // 2) * 2, marks[-1]))
        self.widths = self.widths[self.widths <= marks[-1]]
        self.total = -(-len(sequences) // batch_size)
        self.go_to(0)

    def go_to(self, epoch, first=0):
        """Moves to `epoch` (from 0), starting at the batch numbered `first`."""
        self.epoch, self.first = epoch, first
        lengths = self.sequences.lengths
        if not self.shuffle:
            self.order = np.argsort(lengths, kind="stable")
            self.batch_order = np.arange(self.total)
            return
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.sequences))
        size = self.pool * self.batch_size
        pools = [order[i : i + size] for i in range(0, len(order), size)]
        self.order = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools]) if pools else order
        self.batch_order = random.permutation(self.total)

    def _indices(self, index):
        number = self.batch_order[self.first + index]
        return self.order[number * self.batch_size : (number + 1) * self.batch_size]

    def __len__(self):
        return self.total - self.first

    def __getitem__(self, index):
        indices = self._indices(index)
        width = self.widths[np.searchsorted(self.widths, self.sequences.lengths[indices].max())]
        return (self.sequences.inputs(indices, width),)

    def num_tokens(self, index):
        """Returns how many tokens, including `<eos>`, a model predicts in batch `index`."""
        return int(self.sequences.lengths[self._indices(index)].sum())

    def on_epoch_end(self):
        self.go_to(self.epoch + 1)


class Streams(keras.utils.PyDataset):
    """Windows of running text, in order, from `batch_size` positions at once.

    Args:
        ids: integers (length,).
        batch_size: number of positions.
        window: tokens to predict per batch at each position.
        seed: int. The text is cut at different positions in each epoch, a function of (seed, epoch); None always
            cuts it at the same ones.

    Items are 1-tuples of an array, int32 (batch_size, 1 + window): the token before the window, then the window; past
    the end of a row there is padding.
    """

    def __init__(self, ids, batch_size, window, seed=None):
        super().__init__()
        if len(ids) < batch_size:
            raise UserError(f"{len(ids)} tokens are too few for --batch-size {batch_size}; lower it or use more text")
        self.ids, self.batch_size, self.window, self.seed = ids, batch_size, window, seed
        self.stride = -(-len(ids) // batch_size)
        self.total = -(-self.stride // window)
        self.go_to(0)

    def go_to(self, epoch, first=0):
        """Moves to the windows of `epoch` (from 0), starting at the batch numbered `first`."""
        self.first, shift = first, 0
        if self.seed is not None:
            shift = int(np.random.default_rng((self.seed, epoch)).integers(self.stride))
        self.shift = shift

    def __len__(self):
        return self.total - self.first

    def _spans(self, index):
        """Where the windows of a batch begin and end, within the text rotated by the shift."""
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

    def num_tokens(self, index):
        """Returns how many tokens a model predicts in batch `index`."""
        begins, ends = self._spans(index)
        return int(np.maximum(ends - begins, 0).sum())


def windows(ids, length):
    """Returns running text, integers (n,), cut into `Sequences` of `length` tokens; the last may be shorter."""
    return Sequences(ids, np.append(np.arange(0, len(ids), length), len(ids)))
