"""Inflection of English nouns, verbs and adjectives, and the spelling of a sentence from its tokens and back."""

import re

_TOKEN = re.compile(r"o'clock|'s|[a-z0-9-]+|[.,?!\"]")
_SIBILANT = ("s", "x", "z", "ch", "sh")
_SILENT_H = ("hour", "honest", "heir")
_SOUNDS_LIKE_YOU = ("uni", "use", "ukulele", "eu", "one")


def plural(noun):
    if noun.endswith(_SIBILANT):
        return noun + "es"
    return noun[:-1] + "ies" if noun[-1] == "y" and noun[-2] not in "aeiou" else noun + "s"


def third_person(verb):
    first, _, rest = verb.partition("_")
    if first.endswith((*_SIBILANT, "o")):
        first += "es"
    else:
        first = first[:-1] + "ies" if first[-1] == "y" and first[-2] not in "aeiou" else first + "s"
    return first + (f"_{rest}" if rest else "")


def past(verb):
    first, _, rest = verb.partition("_")
    if first.endswith("e"):
        first += "d"
    else:
        first = first[:-1] + "ied" if first[-1] == "y" and first[-2] not in "aeiou" else first + "ed"
    return first + (f"_{rest}" if rest else "")


def gerund(verb, past_form):
    first, _, rest = verb.partition("_")
    if past_form.partition("_")[0] == first + first[-1] + "ed":
        first += first[-1]  # stop, stopped: stopping
    elif first.endswith("ie"):
        first = first[:-2] + "y"
    elif first.endswith("e") and not first.endswith(("ee", "oe", "ye")):
        first = first[:-1]
    return first + "ing" + (f"_{rest}" if rest else "")


def comparative(adjective):
    return f"more_{adjective}"


def begins_with_vowel(word):
    """Whether "an" stands before a word."""
    if word.startswith(_SILENT_H):
        return True
    return word[0] in "aeiou8" and not (word.startswith(_SOUNDS_LIKE_YOU) and not word.startswith(("unim", "unin")))


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
