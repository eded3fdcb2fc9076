"""Which alphabet a character belongs to, by its name in Unicode."""

import unicodedata

import numpy as np

JAPANESE = {"HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA"}  # written together


def alphabet(character):
    """Returns the alphabet of a character, such as "LATIN"; "" for one that any alphabet uses, such as a hyphen."""
    if len(character) != 1 or unicodedata.category(character)[0] not in "LM":
        return ""
    name = unicodedata.name(character, "").split(" ")[0]
    return "" if name in ("COMBINING", "MODIFIER") else "JAPANESE" if name in JAPANESE else name


def alphabets(text):
    """Returns the set of the alphabets of a text."""
    return {alphabet(character) for character in text} - {""}


def alphabets_of(tokens):
    """Returns a number for the alphabet of each token, int32 (tokens,), 0 for one that any alphabet uses."""
    names = [alphabet(token) for token in tokens]
    numbers = {name: number for number, name in enumerate(sorted({*names, ""}))}
    return np.array([numbers[name] for name in names], "int32")
