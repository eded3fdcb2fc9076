"""Text to ids and back: words, characters, bytes or byte pairs.

Ids are the same in all scripts: `<pad>` 0, `<start>` 1, `<unk>` 2, `<eos>` 3, then the tokens of the corpus from the
most frequent to the least. A token of the corpus that is spelled `<pad>`, `<start>` or `<eos>` is a word like any
other, with an id of its own; `<unk>` is what corpora write for an unknown word, and has the id 2.
"""

import collections
import contextlib
import csv
import functools
import json
import re

from scriptorium import UserError
from scriptorium.data import files, textfiles

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PAD, START, UNK, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<start>", "<unk>", "<eos>")
_SURROGATES = re.compile("[\ud800-\udfff]")
LEVELS = ("word", "space", "char", "byte", "bpe")


@functools.cache
def _treebank():
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.treebank import TreebankWordDetokenizer

    return NLTKWordTokenizer(), TreebankWordDetokenizer()


class Vocabulary:
    """The tokens of a corpus in id order; encodes text to ids and decodes ids to text.

    Args:
        tokens: list of str in id order, the four special tokens first; the others may be spelled like them.
        level: "word" (lowercased, split as in the Penn Treebank: `do n't`), "space" (split at white space), "char",
            "byte" (of UTF-8, each written as the character with that code) or "bpe" (see `learn_byte_pairs`).
        language: language code of the corpus; "zh" and "ja" are written without spaces.
        merges: the merges of level "bpe".
    """

    def __init__(self, tokens, level="word", language="en", merges=()):
        words = tokens[len(SPECIAL_TOKENS) :]
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS or len(set(words)) != len(words):
            raise ValueError("A vocabulary must start with the special tokens and hold each token once.")
        if level not in LEVELS:
            raise ValueError(f"Unknown level {level!r}; use one of {', '.join(LEVELS)}.")
        self.tokens, self.level, self.language, self.merges = list(tokens), level, language, merges
        self.index = {"<unk>": UNK} | {word: i for i, word in enumerate(words, len(SPECIAL_TOKENS))}
        self._longest = max(map(len, words), default=1)
        self._pieces = byte_pair_splitter(words, merges) if level == "bpe" else None

    @classmethod
    def build(cls, texts, level="word", size=None, language="en"):
        """Builds a vocabulary of the special tokens and the `size` most frequent tokens of `texts` (None: all)."""
        if level == "bpe":
            pieces, merges = learn_byte_pairs(texts, size or 4000)
            return cls([*SPECIAL_TOKENS, *pieces], level, language, merges)
        self = cls(SPECIAL_TOKENS, level, language)
        counts = collections.Counter()
        for text in texts:
            counts.update(self.split(text))
        counts.pop("<unk>", None)
        # Ties are broken by the token itself, so that the ids do not depend on the order of the corpus.
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
        """Returns the tokens of a typed text: like `split`, but also tries other spacing if that knows more words."""
        if self.level != "byte":
            text = _SURROGATES.sub("\ufffd", text)  # bytes that are not UTF-8
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
        """Returns the tokens of a typed text that are not in the vocabulary, in order, without duplicates."""
        return [token for token in dict.fromkeys(self.split_prompt(text)) if token not in self.index]

    def decode(self, ids):
        """Returns the text of ids (length,) up to the first `<eos>`, without padding and `<start>`."""
        tokens = [self.tokens[i] for i in strip_special(ids)]
        if self.level == "byte":
            return "".join(tokens).encode("latin-1").decode("utf-8", "replace")
        if self.level == "bpe":
            return join_byte_pairs(tokens)
        if self.level == "char" or self._unspaced:
            return "".join(tokens)
        return " ".join(tokens) if self.level == "space" else _treebank()[1].detokenize(_with_quotes(tokens))

    def decode_all(self, sequences):
        """Returns the text of each of `Sequences`, a list."""
        return [self.decode(sequences[i]) for i in range(len(sequences))]

    def to_json(self):
        """Returns plain JSON values, in which the special tokens are a list of their own."""
        values = {"level": self.level, "language": self.language, "special": list(SPECIAL_TOKENS)}
        values["tokens"] = self.tokens[len(SPECIAL_TOKENS) :]
        return values | {"merges": self.merges} if self.merges else values

    @classmethod
    def from_json(cls, values):
        """Returns the vocabulary of `to_json`; without a list "special", the special tokens begin the list "tokens"."""
        tokens = [*values.get("special", ()), *values["tokens"]]
        return cls(tokens, values["level"], values["language"], values.get("merges", ()))


def _with_quotes(tokens):
    """Joins each opening quote ' to the word after it: NLTK takes every ' for a closing quote."""
    joined, opened = [], False
    for place, token in enumerate(tokens):
        if opened and joined[-1] == "'" and token != "'":
            joined[-1] += token
        else:
            joined.append(token)
        if token == "'":
            opened = not opened and "'" in tokens[place + 1 :]
    return joined


def strip_special(ids):
    """Returns the ids of a sequence up to its `<eos>` as a list of int, without padding and `<start>`."""
    ids = np.asarray(ids).tolist()
    return [i for i in ids[: ids.index(EOS) if EOS in ids else None] if i not in (PAD, START)]


def read_vocabulary(path, level):
    """Reads the words of a file as a `Vocabulary`.

    Args:
        path: a text file with one word per line, or a table of two columns, with or without a header, one of which is
            a number: id,word or word,count. Special tokens at its beginning, and `<unk>`, are left out.
        level: of the vocabulary; None for "word".

    Raises:
        UserError: an unreadable file, or one without a word.
    """
    lines = textfiles.lines_of(path)
    if not lines:
        raise UserError(f"{files.shown(path)}: this file has no words.")
    words = next(filter(None, (_second_column(lines, sign) for sign in ",;\t")), None)
    if words is None:
        words = _unquoted(lines) if str(path).lower().endswith(".csv") else lines
    first = next((i for i, word in enumerate(words) if word not in SPECIAL_TOKENS), len(words))
    words = dict.fromkeys(word for word in words[first:] if word and word != "<unk>")
    if not words:
        raise UserError(f"{files.shown(path)}: this file has no words.")
    return Vocabulary([*SPECIAL_TOKENS, *words], level or "word")


def _second_column(lines, separator):
    """Returns the words of lines of id and word, or of word and count; None for other lines."""
    rows = [_fields(line, separator) for line in lines]
    for number, word in ((0, 1), (1, 0)):
        # The first line may be a header.
        if all(len(row) == 2 and row[number].strip().isdecimal() for row in rows[len(rows) > 1 :]):
            has_header = len(rows[0]) != 2 or not rows[0][number].strip().isdecimal()
            return [row[word].strip() for row in rows[has_header:]]
    return None


def _fields(line, separator):
    """Returns the fields of a line of a table; a word after an id may hold the separator and quotes."""
    with contextlib.suppress(csv.Error):
        fields = next(csv.reader([line], delimiter=separator, strict=True), [])
        if len(fields) in (1, 2):
            return fields
    number, found, word = line.partition(separator)
    return [number, word] if found else [line]


def _unquoted(lines):
    """Returns the words of a table of one column, without its header."""
    words = [_fields(line, ",")[0] if line.startswith('"') else line for line in lines]
    return words[1:] if words[0].lower() in ("word", "words", "token", "tokens") else words


def learn_byte_pairs(texts, size):
    """Learns byte pairs (subwords) from texts.

    Args:
        texts: iterable of str.
        size: number of pieces, including the 256 single bytes.

    Returns:
        list of the pieces in the order they were learned, each byte written as one character, and list of the merged
        pairs, in order.
    """
    tokenizer = _byte_pair_tokenizer(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    pieces = sorted(ids, key=ids.get)
    return pieces, json.loads(tokenizer.to_str())["model"]["merges"]


def _byte_pair_tokenizer(model):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def byte_pair_splitter(pieces, merges):
    """Returns a function that splits a text into pieces, list of str; raises ValueError if a merge makes no piece."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    try:
        tokenizer = _byte_pair_tokenizer(models.BPE(ids, [tuple(pair) for pair in merges]))
    except Exception as error:  # the package raises nothing more specific
        raise ValueError(f"These merges do not fit these pieces: {error}.") from error
    return lambda text: tokenizer.encode(text).tokens


def join_byte_pairs(pieces):
    """Returns the text that the pieces spell."""
    return decoders.ByteLevel().decode(list(pieces))
