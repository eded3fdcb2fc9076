"""Text to ids and back: words, characters, bytes or byte pairs.

Ids are the same in all scripts: `<pad>` 0, `<start>` 1, `<unk>` 2, `<eos>` 3, then the tokens of the corpus from the
most frequent to the least.
"""

import collections
import functools
import json

from scriptorium.data import textfiles

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PAD, START, UNK, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<start>", "<unk>", "<eos>")
LEVELS = ("word", "space", "char", "byte", "bpe")


@functools.cache
def _treebank():
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.treebank import TreebankWordDetokenizer

    return NLTKWordTokenizer(), TreebankWordDetokenizer()


class Vocabulary:
    """The tokens of a corpus in id order; encodes text to ids and decodes ids to text.

    Args:
        tokens: list of str in id order, the four special tokens first.
        level: "word" (lowercased, split as in the Penn Treebank: `do n't`), "space" (split at white space), "char",
            "byte" (of UTF-8, each written as the character with that code) or "bpe" (see `learn_byte_pairs`).
        language: language code of the corpus; "zh" and "ja" are written without spaces.
        merges: the merges of level "bpe".
    """

    def __init__(self, tokens, level="word", language="en", merges=()):
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS or len(set(tokens)) != len(tokens):
            raise ValueError("A vocabulary must start with the special tokens and hold each token once.")
        if level not in LEVELS:
            raise ValueError(f"Unknown level {level!r}; use one of {', '.join(LEVELS)}.")
        self.tokens, self.level, self.language, self.merges = list(tokens), level, language, merges
        self.index = {token: i for i, token in enumerate(self.tokens)}
        self._longest = max(map(len, self.tokens[len(SPECIAL_TOKENS) :]), default=1)
        self._pieces = byte_pair_splitter(self.tokens, merges) if level == "bpe" else None

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
        for token in SPECIAL_TOKENS:
            counts.pop(token, None)
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

    def to_json(self):
        values = {"level": self.level, "language": self.language, "tokens": self.tokens}
        return values | {"merges": self.merges} if self.merges else values

    @classmethod
    def from_json(cls, values):
        return cls(values["tokens"], values["level"], values["language"], values.get("merges", ()))


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
    """Reads the words of a file, one per line or as rows of id,word, as a `Vocabulary`."""
    lines = [line.strip() for line in textfiles.lines_of(path)]
    numbered = all(line.partition(",")[0].isdecimal() and "," in line for line in lines)
    words = [line.partition(",")[2].strip() if numbered else line for line in lines]
    words = dict.fromkeys(word for word in words if word and word not in SPECIAL_TOKENS)
    return Vocabulary([*SPECIAL_TOKENS, *words], level or "word")


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
