"""A probabilistic grammar: it draws sentences, parses them, and computes their exact probabilities.

A rule is `Symbol 3 = Part role:Part word`: its weight is 3, and on its right are symbols, which are capitalized, and
words. Symbols have arguments, `Act(f,h)`. Single letters among them are variables: a rule stands for one rule per
choice of their values (`let n = sg:3 pl:1`), and its weight is divided among them. Classes of words are symbols too:
`Noun(food,pl)`, `Verb(eat,past)`, `Adj(size)`, `Adj(size,more)`, `Word(day)`. A part may have a role, such as `who:`;
`*` marks the part that names the whole, and `-` one whose roles do not count. `{tense=past}` is a fact about the whole.
"""

import functools
import itertools
import math
import re
from fractions import Fraction

from scriptorium.data.scenes import english

_PART = re.compile(r"(?:(\w+|\*|-):)?(.+)")
_VARIABLE = re.compile(r"(?<=[(,])[a-z](?=[,)])")
_MASK = 2**64 - 1


class Random:
    """SplitMix64 (Steele, Lea and Flood, 2014): the same numbers on every machine and every Python."""

    def __init__(self, seed):
        self.state = seed & _MASK

    def below(self, limit):
        """Returns an int in [0, limit), each with the same probability."""
        while True:
            self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
            z = self.state
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
            z ^= z >> 31
            if z < 2**64 - 2**64 % limit:
                return z % limit


class Rule:
    """One way to write a symbol.

    Attributes:
        weight: int; the probability is the weight over the sum of the weights of the symbol.
        parts: list of (role or None, symbol, or a word that is no symbol).
        lemma: for a word of a class, its dictionary form.
        note: None, or (name, value): a fact about the sentence, written `{tense=past}`.
    """

    __slots__ = ("lemma", "note", "parts", "weight")

    def __init__(self, weight, parts, lemma=None, note=None):
        self.weight, self.parts, self.lemma, self.note = weight, parts, lemma, note


def read_words(text):
    """Returns the rules of the classes of words: dict of symbol, such as "Noun(food,sg)", -> list of `Rule`."""
    classes, rules = {}, {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            head, _, words = line.partition(":")
            classes.setdefault(tuple(head.split()), []).extend(words.split())
    for (kind, name), words in classes.items():
        for place, entry in enumerate(dict.fromkeys(words), 1):
            lemma = entry.removeprefix("!").split("/")[0].replace("_", " ")
            for form, word in _forms(kind, entry).items():
                symbol = f"{kind.capitalize()}({name},{form})" if form else f"{kind.capitalize()}({name})"
                parts = [(None, token) for token in word.split("_")]
                rules.setdefault(symbol, []).append(Rule(4 + 60 // place, parts, lemma))
    return rules


def _forms(kind, entry):
    """Returns the forms of a word: dict of the name of a form -> word; the name is None where there is but one."""
    base, *others = entry.removeprefix("!").split("/")
    if kind == "noun":
        return {"sg": base, "pl": others[0] if others else english.plural(base)}
    if kind == "adj":
        compared = others[0] if others and others[0] != "-" else f"more_{base}"
        return {None: base, "more": compared}
    if kind == "verb":
        past = others[0] if others else english.past(base)
        part = others[1] if len(others) > 1 else past
        gerund = others[2] if len(others) > 2 else english.gerund(base, past)
        third = english.third_person(base)
        found = {"base": base, "pres": base, "pres3": third, "past": past, "part": part}
        return found if entry[0] == "!" else found | {"ing": gerund}
    return {None: base}


def read_rules(text):
    """Returns the rules of a grammar: dict of symbol -> list of `Rule`, with all variables replaced."""
    values, rules = {}, {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("let "):
            name, _, choices = line[4:].partition("=")
            pairs = (choice.partition(":") for choice in choices.split())
            values[name.strip()] = [(value, int(weight or 1)) for value, _, weight in pairs]
        elif line:
            head, _, tail = line.partition(" = ")
            symbol, total = head.split()
            names = sorted({name for name in _VARIABLE.findall(line) if name in values})
            bound = set(_VARIABLE.findall(symbol))
            for choice in itertools.product(*(values[name] for name in names)):
                chosen = {name: value for name, (value, _) in zip(names, choice, strict=True)}
                free = [(weight, name) for name, (_, weight) in zip(names, choice, strict=True) if name not in bound]
                share = math.prod(Fraction(part, sum(w for _, w in values[name])) for part, name in free)
                text, _, note = _replaced(tail, chosen).partition(" {")
                parts = [_PART.fullmatch(part).groups() for part in text.split()]
                rule = Rule(int(total) * share, parts, note=note.rstrip("}").partition("=")[::2] if note else None)
                rules.setdefault(_replaced(symbol, chosen), []).append(rule)
    for ways in rules.values():
        scale = math.lcm(*(Fraction(rule.weight).denominator for rule in ways))
        for rule in ways:
            rule.weight = int(rule.weight * scale)
    return rules


def _replaced(symbol, chosen):
    return _VARIABLE.sub(lambda found: chosen.get(found[0], found[0]), symbol)


class Grammar:
    """Draws and parses sentences.

    Args:
        rules: dict of symbol -> list of `Rule`. No symbol may be empty or begin with itself.
        start: the symbol of a sentence.
    """

    def __init__(self, rules, start="Sentence"):
        self.rules, self.start = rules, start
        self.totals = {symbol: sum(rule.weight for rule in ways) for symbol, ways in rules.items()}
        for symbol, ways in rules.items():
            for rule in ways:
                for _, part in rule.parts:
                    if part[0].isupper() and part not in rules:
                        raise ValueError(f"{symbol}: no rule says what {part} is")

    @functools.cached_property
    def beginnings(self):
        """The words that each symbol can begin with: dict of symbol -> frozenset of str."""
        found = {}

        def of(symbol):
            if not symbol[0].isupper():
                return frozenset((symbol,))
            if symbol not in found:
                found[symbol] = frozenset().union(*(of(rule.parts[0][1]) for rule in self.rules[symbol]))
            return found[symbol]

        for symbol in self.rules:
            of(symbol)
        return found

    def sample(self, random):
        """Returns a sentence, str; `random` is a `Random`."""
        tokens, stack = [], [self.start]
        while stack:
            symbol = stack.pop()
            if not symbol[0].isupper():
                tokens.append(symbol)
                continue
            place = random.below(self.totals[symbol])
            for rule in self.rules[symbol]:
                place -= rule.weight
                if place < 0:
                    break
            stack.extend(part for _, part in reversed(rule.parts))
        return english.join(tokens)

    def log_prob(self, sentence):
        """Returns the natural logarithm of the probability of a sentence, summed over its parses; -inf if none."""
        return self.parse(sentence)[0]

    def is_grammatical(self, sentence):
        return self.log_prob(sentence) > -math.inf

    def factors(self, sentence):
        """Returns what the likeliest parse says: dict of role -> words; {} for a sentence without a parse."""
        tokens, found = self._whole(sentence)
        roles = {}
        if found:
            _fill(found, tokens, roles)
        return roles

    def parse(self, sentence):
        """Returns the log-probability of a sentence, see `log_prob`, and the rules of its likeliest parse.

        The rules are a list of (symbol, `Rule`), empty for a sentence without a parse.
        """
        _, found = self._whole(sentence)
        if not found:
            return -math.inf, []
        used, nodes = [], [(self.start, found)]
        while nodes:
            symbol, (_, _, rule, children) = nodes.pop()
            if rule:
                used.append((symbol, rule))
                nodes += [(part, child) for (_, part), (_, child) in zip(rule.parts, children, strict=True)]
        return math.log(found[0]), used

    def _whole(self, sentence):
        """Returns the tokens of a sentence, and what `_parses` says of all of them; None without a parse."""
        tokens = english.split(sentence)
        return tokens, self._parses(tokens).get(len(tokens)) if tokens else None

    def _parses(self, tokens):
        """Returns dict of end -> (probability, probability of the best parse, its rule, its parts) from the start."""
        known, beginnings = {}, self.beginnings

        def parse(symbol, start):
            if start == len(tokens):
                return {}
            if not symbol[0].isupper():
                return {start + 1: (1.0, 1.0, None, ())} if tokens[start] == symbol else {}
            if tokens[start] not in beginnings[symbol]:
                return {}
            if (symbol, start) not in known:
                known[symbol, start] = by_rules(symbol, start)
            return known[symbol, start]

        def by_rules(symbol, start):
            ends = {}
            for rule in self.rules[symbol]:
                reached = {start: (rule.weight / self.totals[symbol],) * 2 + ((),)}
                for _, part in rule.parts:
                    further = {}
                    for middle, (total, best, parts) in reached.items():
                        for end, child in parse(part, middle).items():
                            old = further.get(end, (0.0, -1.0, ()))
                            product = best * child[1]
                            kept = (product, (*parts, (middle, child))) if product > old[1] else old[1:]
                            further[end] = (old[0] + total * child[0], *kept)
                    reached = further
                    if not reached:
                        break
                for end, (total, best, parts) in reached.items():
                    old = ends.get(end, (0.0, -1.0, None, ()))
                    kept = (best, rule, parts) if best > old[1] else old[1:]
                    ends[end] = (old[0] + total, *kept)
            return ends

        return parse(self.start, 0)


def _fill(node, tokens, roles):
    """Adds the roles in a parse to a dict; the outer one wins where a role is there twice."""
    _, _, rule, children = node
    if rule is None:
        return
    if rule.note:
        roles.setdefault(*rule.note)
    for (role, _), (place, child) in zip(rule.parts, children, strict=True):
        if role not in (None, "*", "-"):
            roles.setdefault(role, _name(child) or tokens[place])
    for (role, part), (_, child) in zip(rule.parts, children, strict=True):
        if role != "-" and part[0].isupper():
            _fill(child, tokens, roles)


def _name(node):
    """Returns the dictionary form of the word that names a phrase, or None."""
    _, _, rule, children = node
    if rule is None:
        return None
    if rule.lemma:
        return rule.lemma
    marked = [child for (role, _), (_, child) in zip(rule.parts, children, strict=True) if role == "*"]
    return _name((marked or [children[-1][1]])[0])
