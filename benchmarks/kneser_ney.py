"""A count model of characters, the baseline of names: modified Kneser-Ney smoothing (Chen & Goodman 1999)."""

import collections
import math

START, END = "\x02", "\x03"


def _discounts(counts):
    """Returns what is taken from a count of 0, 1, 2, and 3 or more; few counts may have no such estimate above 0."""
    times = collections.Counter(counts)
    if all(times[n] for n in (1, 2, 3, 4)):
        share = times[1] / (times[1] + 2 * times[2])
        taken = [n - (n + 1) * share * times[n + 1] / times[n] for n in (1, 2, 3)]
        if min(taken) > 0:
            return [0, *taken]
    return [0, 0.5, 0.5, 0.5]


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
        self.discounts = [_discounts(v for found in level.values() for v in found.values()) for level in self.counts]

    def probability(self, character, context):
        p = 1 / (len(self.characters) + 1)  # one more, for a character that was never seen
        for k in range(self.order):
            found = self.counts[k].get(context[len(context) - k :])
            if found is None:
                break
            taken = [self.discounts[k][min(count, 3)] for count in found.values()]
            kept = found[character] - self.discounts[k][min(found[character], 3)]
            p = (kept + sum(taken) * p) / sum(found.values())
        return p

    def nll(self, name):
        """Returns -log p(name) in nats, its end counted."""
        text = START * (self.order - 1) + name + END
        places = range(self.order - 1, len(text))
        return -sum(math.log(self.probability(text[i], text[i - self.order + 1 : i])) for i in places)

    def nats_per_char(self, names):
        """Returns nats a character of names, their ends counted."""
        return sum(map(self.nll, names)) / sum(len(name) + 1 for name in names)
