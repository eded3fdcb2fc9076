"""A count model of characters, the baseline of names: interpolated Kneser-Ney smoothing (Kneser & Ney 1995)."""

import collections
import math

START, END = "\x02", "\x03"


class KneserNey:
    """p(character | the `order` - 1 before it) of names, each from its start to its end.

    Args:
        names: sequence of str to count.
        order: length of the longest n-gram.
    """

    def __init__(self, names, order=6):
        self.order = order
        # counts[k][context of k characters][character]: how often; below the highest order, after how many characters.
        self.counts = [collections.defaultdict(collections.Counter) for _ in range(order)]
        for name in names:
            text = START * (order - 1) + name + END
            for i in range(order - 1, len(text)):
                self.counts[-1][text[i - order + 1 : i]][text[i]] += 1
        for k in range(order - 1, 0, -1):
            for context, found in self.counts[k].items():
                for character in found:
                    self.counts[k - 1][context[1:]][character] += 1
        self.characters = {c for name in names for c in name} | {END}
        self.discounts = []
        for level in self.counts:
            once, twice = (sum(v == n for found in level.values() for v in found.values()) for n in (1, 2))
            self.discounts.append(once / (once + 2 * twice) if once and twice else 0.5)

    def probability(self, character, context):
        p = 1 / (len(self.characters) + 1)  # one more, for a character that was never seen
        for k in range(self.order):
            found = self.counts[k].get(context[len(context) - k :])
            if found is None:
                break
            total, discount = sum(found.values()), self.discounts[k]
            p = max(found[character] - discount, 0) / total + discount * len(found) / total * p
        return p

    def nll(self, name):
        """Returns -log p(name) in nats, its end counted."""
        text = START * (self.order - 1) + name + END
        places = range(self.order - 1, len(text))
        return -sum(math.log(self.probability(text[i], text[i - self.order + 1 : i])) for i in places)

    def nats_per_char(self, names):
        """Returns nats a character of names, their ends counted."""
        return sum(map(self.nll, names)) / sum(len(name) + 1 for name in names)
