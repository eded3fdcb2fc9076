"""Text to ids to batches: what every script needs before its model. (After it: sampling.py.)

Ids are the same in all scripts: `<pad>` 0, `<start>` 1, `<unk>` 2, `<eos>` 3, then the words or characters of the
corpus from the most frequent to the least. Sequences hold the ids of a text and its `<eos>`; a model shifts them right
by one to get its inputs.
"""

import argparse
import array
import collections
import functools
import tempfile

import keras
import numpy as np

import bpe

PAD, START, UNK, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<start>", "<unk>", "<eos>")
LEVELS = ("word", "space", "char", "byte", "bpe")
# Ids beyond this many are kept in a file that is mapped into memory, so that a corpus may be larger than the memory.
IDS_IN_MEMORY = 16_000_000


class UserError(Exception):
    """Something that the user can mend: shown as one line, with exit status 2."""


@functools.cache
def _treebank():
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.treebank import TreebankWordDetokenizer

    return NLTKWordTokenizer(), TreebankWordDetokenizer()


def number(kind, least, most=None):
    """Returns an argparse type: a number of `kind` (int or float) that lies from `least` to `most`."""

    def parse(text):
        value = kind(text)
        if value < least or (most is not None and value > most) or value != value:
            asked = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not {asked}")
        return value

    parse.__name__ = "whole number" if kind is int else "number"
    return parse


class Vocabulary:
    """The tokens of a corpus in the order of their ids, and the way from text to ids and back.

    Args:
        tokens: list of str in id order, the four special tokens first.
        level: "word" (lower-cased, split as in the Penn Treebank: `do n't`), "space" (as it stands, split at white
            space), "char", "byte" (of UTF-8, each written as the character of that code) or "bpe" (see bpe.py).
        language: language code of the corpus; "zh" and "ja" are written without spaces.
        merges: of level "bpe".
    """

    def __init__(self, tokens, level="word", language="en", merges=()):
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS or len(set(tokens)) != len(tokens):
            raise ValueError("A vocabulary starts with the special tokens and holds each token once.")
        if level not in LEVELS:
            raise ValueError(f"Unknown level {level!r}; it is one of {', '.join(LEVELS)}.")
        self.tokens, self.level, self.language, self.merges = list(tokens), level, language, merges
        self.index = {token: i for i, token in enumerate(self.tokens)}
        self._longest = max(map(len, self.tokens[len(SPECIAL_TOKENS) :]), default=1)
        self._pieces = bpe.splitter(self.tokens, merges) if level == "bpe" else None

    @classmethod
    def build(cls, texts, level="word", size=None, language="en"):
        """Makes the vocabulary of the `size` most frequent tokens of `texts` (None: all) and the special ones."""
        if level == "bpe":
            pieces, merges = bpe.learn(texts, size or 4000)
            return cls([*SPECIAL_TOKENS, *pieces], level, language, merges)
        self = cls(SPECIAL_TOKENS, level, language)
        counts = collections.Counter()
        for text in texts:
            counts.update(self.split(text))
        for token in SPECIAL_TOKENS:
            counts.pop(token, None)
        # Equal counts are ordered by the token itself, so that the ids do not depend on the order of the corpus.
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([*SPECIAL_TOKENS, *(token for token, _ in ranked[:size])], level, language)

    def __len__(self):
        return len(self.tokens)

    @property
    def _unspaced(self):
        return self.language in ("zh", "ja")

    def split(self, text):
        """Returns the tokens of a text as a list of str."""
        if self.level == "char":
            return list(text)
        if self.level == "byte":
            return list(text.encode("utf-8", "surrogateescape").decode("latin-1"))
        if self.level == "space":
            return text.split()
        if self.level == "bpe":
            return self._pieces(text)
        return _treebank()[0].tokenize(text.lower())

    def split_prompt(self, text):
        """Returns the tokens of a typed text: as `split`, with a second try where it is not spaced as the corpus is."""
        if self.level == "char" and self._unspaced:
            return self.split("".join(text.split()))
        tokens = self.split(text)
        if self.level != "space":
            return tokens
        if self._unspaced:
            return [token for piece in tokens for token in self._longest_match(piece)]
        respaced = _treebank()[0].tokenize(text.lower())
        missing = [sum(word not in self.index for word in words) for words in (tokens, respaced)]
        return respaced if missing[1] < missing[0] else tokens

    def _longest_match(self, text):
        while text:
            size = next((n for n in range(min(self._longest, len(text)), 1, -1) if text[:n] in self.index), 1)
            yield text[:size]
            text = text[size:]

    def encode(self, text, prompt=False):
        """Returns the ids of a text, int32 (length,), without `<start>` and `<eos>`; unknown tokens are `<unk>`."""
        tokens = self.split_prompt(text) if prompt else self.split(text)
        return np.array([self.index.get(token, UNK) for token in tokens], "int32")

    def unknown(self, text):
        """Returns the tokens of a typed text that the vocabulary does not hold, each once, in their order."""
        return [token for token in dict.fromkeys(self.split_prompt(text)) if token not in self.index]

    def decode(self, ids):
        """Returns the readable text of ids (length,): up to the first `<eos>`, padding and `<start>` left out."""
        tokens = [self.tokens[i] for i in words(ids)]
        if self.level == "byte":
            return "".join(tokens).encode("latin-1").decode("utf-8", "replace")
        if self.level == "bpe":
            return bpe.joined(tokens)
        if self.level == "char" or self._unspaced:
            return "".join(tokens)
        return " ".join(tokens) if self.level == "space" else _treebank()[1].detokenize(_with_quotes(tokens))

    def to_json(self):
        values = {"level": self.level, "language": self.language, "tokens": self.tokens}
        return values | {"merges": self.merges} if self.merges else values

    @classmethod
    def from_json(cls, values):
        return cls(values["tokens"], values["level"], values["language"], values.get("merges", ()))


def _with_quotes(tokens):
    """Returns tokens with each quote ' that another one closes put before its word: NLTK takes all for closing ones."""
    found, opened = [], False
    for place, token in enumerate(tokens):
        if opened and found[-1] == "'" and token != "'":
            found[-1] += token
        else:
            found.append(token)
        if token == "'":
            opened = not opened and "'" in tokens[place + 1 :]
    return found


def words(ids):
    """Returns the ids of a sequence up to its `<eos>` as a list of int, without padding and `<start>`."""
    ids = np.asarray(ids).tolist()
    return [i for i in ids[: ids.index(EOS) if EOS in ids else None] if i not in (PAD, START)]


class Sequences:
    """Sequences of ids of different lengths, end to end in one array.

    Args:
        ids: integers (total,), in memory or mapped from a file.
        starts: int64 (sequences + 1,): sequence i is `ids[starts[i]:starts[i + 1]]`.
        dropped: how many texts were left out as too long or empty.
        labels: None, or the classes of each sequence, int32 (sequences, kinds).
    """

    def __init__(self, ids, starts, dropped=0, labels=None):
        self.ids, self.starts, self.dropped, self.labels = ids, np.asarray(starts, "int64"), dropped, labels
        self.lengths = np.diff(self.starts)

    @classmethod
    def from_list(cls, sequences):
        ids = np.concatenate([np.asarray(s, "int32") for s in sequences]) if sequences else np.zeros(0, "int32")
        return cls(ids, np.concatenate([[0], np.cumsum([len(s) for s in sequences])]))

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        return self.ids[self.starts[i] : self.starts[i + 1]]

    def padded(self, indices, width=None):
        """Returns the sequences at `indices` as int32 (len(indices), width), padded on the right with `<pad>`."""
        width = width or int(self.lengths[indices].max(initial=1))
        rows = np.full((len(indices), width), PAD, "int32")
        for row, i in enumerate(indices):
            rows[row, : self.lengths[i]] = self[i]
        return rows

    def inputs(self, indices, width=None):
        """Returns what a model reads: `padded`, or with labels a dict of "ids" and "labels" (len(indices), kinds)."""
        ids = self.padded(indices, width)
        return ids if self.labels is None else {"ids": ids, "labels": self.labels[indices]}

    def part(self, count):
        """Returns the first `count` sequences as `Sequences`."""
        labels = None if self.labels is None else self.labels[:count]
        return Sequences(self.ids, self.starts[: count + 1], labels=labels)


def encode_texts(texts, vocabulary, max_length=None, clip_length=None, prompt=False, labels=None):
    """Encodes texts to `Sequences`, each ended by `<eos>`.

    Args:
        texts: iterable of str; read once, so it may be larger than the memory.
        vocabulary: `Vocabulary`.
        max_length: texts of more tokens than this are left out; None keeps all.
        clip_length: texts are cut after this many tokens; None keeps them whole.
        prompt: whether a person typed the texts (see `Vocabulary.split_prompt`).
        labels: None, or the classes of each text, integers (texts, kinds).

    Returns:
        `Sequences` of ids; the lengths count `<eos>`. Empty texts are left out, except prompts.
    """
    small = len(vocabulary) <= np.iinfo("uint16").max
    ids, starts, dropped, file, written = array.array("H" if small else "i"), array.array("q", [0]), [], None, 0
    for number, text in enumerate(texts):
        sequence = vocabulary.encode(text, prompt)[:clip_length]
        if (max_length and len(sequence) > max_length) or (len(sequence) == 0 and not prompt):
            dropped.append(number)
            continue
        ids.extend(sequence.tolist())
        ids.append(EOS)
        starts.append(written + len(ids))
        if len(ids) > IDS_IN_MEMORY:
            file = file or tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the map does)
            ids.tofile(file)
            written += len(ids)
            del ids[:]
    dtype, labels = np.dtype(ids.typecode), None if labels is None else np.delete(labels, dropped, axis=0)
    if file is None:
        return Sequences(np.frombuffer(ids, dtype) if ids else np.zeros(0, dtype), starts, len(dropped), labels)
    ids.tofile(file)
    file.flush()
    return Sequences(np.memmap(file, dtype, "r"), starts, len(dropped), labels)


class Batches(keras.utils.PyDataset):
    """Padded batches of sequences of similar length, in an order that depends on (seed, epoch) alone.

    Sequences are shuffled, sorted by length within pools of `pool` batches, cut into batches, and the batches are
    shuffled. A batch is padded to the next of at most `buckets` widths; only the last one holds fewer sequences.

    Args:
        sequences: `Sequences`.
        batch_size: sequences in a batch.
        seed: int, for the order.
        shuffle: False gives one order, sorted by length, for every epoch.
        buckets: at most this many widths; None takes 10 with JAX, which compiles a step for each, and else 100, which
            leaves little padding.
        pool: batches whose sequences are sorted together.

    Items are tuples of one, `Sequences.inputs` of a batch: ids int32 (batch_size, width), with labels a dict.
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
        """Serves the order of `epoch` (from 0), from the batch numbered `first` on."""
        self.epoch, self.first = epoch, first
        lengths = self.sequences.lengths
        if not self.shuffle:
            self.order = np.argsort(lengths, kind="stable")
            self.places = np.arange(self.total)
            return
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.sequences))
        size = self.pool * self.batch_size
        pools = [order[i : i + size] for i in range(0, len(order), size)]
        # The last pool is not sorted apart: the short batch at its end would always hold its longest sequences.
        self.order = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools]) if pools else order
        self.places = random.permutation(self.total)

    def _indices(self, index):
        place = self.places[self.first + index]
        return self.order[place * self.batch_size : (place + 1) * self.batch_size]

    def __len__(self):
        return self.total - self.first

    def __getitem__(self, index):
        indices = self._indices(index)
        width = self.widths[np.searchsorted(self.widths, self.sequences.lengths[indices].max())]
        return (self.sequences.inputs(indices, width),)

    def tokens(self, index):
        """Returns how many tokens, `<eos>` counted, batch `index` asks a model to predict."""
        return int(self.sequences.lengths[self._indices(index)].sum())

    def on_epoch_end(self):
        self.go_to(self.epoch + 1)
