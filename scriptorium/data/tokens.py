"""Detects from a text itself whether its tokens are words or characters, and its language."""

import importlib.util
import logging
import re

from scriptorium import UserError
from scriptorium.data.textfiles import Lines

import numpy as np

# Thai, Lao, Tibetan, Burmese; Khmer; Tai; Balinese; Javanese; more Burmese and Tai.
_NO_SPACES = "[\u0e00-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaadf]"
TOKENS = {"word": "words", "space": "words split at spaces", "char": "characters", "byte": "bytes", "bpe": "byte pairs"}


def tokens_of(given, level):
    """Detects level and language from a sample of the texts, and splits Chinese into words or characters if needed."""
    texts = given["train"]
    joined = "\n".join(texts[i] for i in np.linspace(0, len(texts) - 1, min(len(texts), 1000)).astype(int))
    kana = len(re.findall("[\u3041-\u30ff]", joined))
    signs = kana + len(re.findall("[\u3400-\u9fff\U00020000-\U0003ffff]", joined))
    letters, others = sum(map(str.isalpha, joined)), len(re.findall(_NO_SPACES, joined))
    if others and 2 * others >= letters:
        if 5 * joined.count(" ") > others:
            return given, level or "space", "en"
        if level in ("word", "space"):
            raise UserError("This text has no spaces between its words: use --level char.")
        return given, level or "char", "en"  # its spaces, between phrases, are kept
    if 2 * signs < letters or not signs:
        return given, level or ("space" if _is_tokenized(joined) else "word"), "en"
    language = "ja" if 20 * kana > signs else "zh"
    spaced = 5 * joined.count(" ") > signs
    jieba = language == "zh" and importlib.util.find_spec("jieba")
    level = level or ("space" if spaced or jieba else "char")
    if level == "char":
        return (
            {split: _changed(texts, _without_spaces) for split, texts in given.items()} if spaced else given,
            level,
            language,
        )
    if spaced or level == "bpe":
        return given, level, language
    if not jieba:
        with_jieba = "`pip install jieba`, or use " if language == "zh" else "use "
        raise UserError(f"This text has no spaces between its words: {with_jieba}--level char.")
    return {split: _changed(texts, _in_words) for split, texts in given.items()}, "space", language


def _changed(texts, change):
    return texts.changed(change) if isinstance(texts, Lines) else [change(text) for text in texts]


def _without_spaces(text):
    return re.sub(r"\s+", "", text)


def _in_words(text):
    import jieba

    jieba.setLogLevel(logging.WARNING)
    return " ".join(word for word in jieba.lcut(text) if word.strip())


CHANGES = {change.__name__: change for change in (_without_spaces, _in_words)}  # what `tokens_of` may do to texts


def _is_tokenized(text):
    tokens = text.split()
    marks = sum(bool(re.fullmatch(r"[^\w\s]+|'\w{1,2}|n't", token)) for token in tokens)
    attached = sum(bool(re.search(r"\w[,;:?!]$", token)) for token in tokens)
    letters = [letter for letter in text if letter.isalpha()]
    lower = sum(letter == letter.lower() for letter in letters)
    return "<unk>" in tokens or (lower > 0.98 * len(letters) and marks > 0.02 * len(tokens) and attached < 0.1 * marks)
