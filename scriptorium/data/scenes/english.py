"""Inflection of English nouns, verbs and adjectives, and the spelling of a sentence from its tokens and back."""

import re

_TOKEN = re.compile(r"o'clock|'s|[a-z0-9-]+|[.,?!\"]")
_SIBILANT = ("s", "x", "z", "ch", "sh")
_SILENT_H = ("hour", "honest", "heir")
_SOUNDS_LIKE_YOU = ("uni", "use", "ukulele", "eu", "one")


def plural(noun):
    return _ending(noun, "s", "es" if noun.endswith(_SIBILANT) else "s")


def third_person(verb):
    first, _, rest = verb.partition("_")
    return _with(_ending(first, "s", "es" if first.endswith((*_SIBILANT, "o")) else "s"), rest)


def past(verb):
    first, _, rest = verb.partition("_")
    return _with(_ending(first, "d", "d" if first.endswith("e") else "ed"), rest)


def _ending(word, letter, ending):
    """Returns a word with an ending; after a consonant, "y" becomes "ie" and the ending one letter."""
    return f"{word[:-1]}ie{letter}" if word[-1] == "y" and word[-2] not in "aeiou" else word + ending


def _with(verb, rest):
    return f"{verb}_{rest}" if rest else verb


def gerund(verb, past_form):
    first, _, rest = verb.partition("_")
    if past_form.partition("_")[0] == first + first[-1] + "ed":
        first += first[-1]  # stop, stopped: stopping
    elif first.endswith("ie"):
        first = first[:-2] + "y"
    elif first.endswith("e") and not first.endswith(("ee", "oe", "ye")):
        first = first[:-1]
    return _with(f"{first}ing", rest)


def begins_with_vowel(word):
    """Whether "an" stands before a word."""
    if word.startswith(_SILENT_H):
        return True
    return word[0] in "aeiou" and not (word.startswith(_SOUNDS_LIKE_YOU) and not word.startswith(("unim", "unin")))


def join(tokens):
    """Returns the sentence of a list of tokens, among which "a" stands for "a" and "an"."""
    words = list(tokens)
    for i, word in enumerate(words[:-1]):
        if word == "a" and begins_with_vowel(words[i + 1]):
            words[i] = "an"
    text, inside = "", False
    for word in words:
        closing = word == '"' and inside
        glued = word in (".", ",", "?", "!", "'s") or closing or not text or (text.endswith('"') and inside)
        text += word if glued else f" {word}"
        inside ^= word == '"'
    return text


def split(sentence):
    """Returns the tokens of a sentence; None if no grammar could have spelled it like this."""
    tokens = _TOKEN.findall(sentence)
    for i, word in enumerate(tokens[:-1]):
        if word == "an":
            tokens[i] = "a"
    return tokens if join(tokens) == sentence else None
