"""A count model of text, the baseline of every other: modified Kneser-Ney smoothing (Chen & Goodman 1999).

A text is any str, a token one character of it: names as they are, and words by `letters`, which gives each id a
character of its own.
"""

import collections
import math

START, END = "\x02", "\x03"
FIRST = 0x4E00  # the character of id 0


def letters(ids):
    """Returns ids, integers (length,), as a str with a character for each."""
    return "".join(chr(FIRST + i) for i in map(int, ids))


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
    """p(token | the `order` - 1 before it) of texts, each from its start to its end.

    Args:
        texts: sequence of str to count.
        order: length of the longest n-gram.
    """

    def __init__(self, texts, order=6):
        self.order = order
        # counts[k][context of k tokens][token]: how often; below the highest order, after how many tokens.
        self.counts = [collections.defaultdict(collections.Counter) for _ in range(order)]
        for text in texts:
            text = START * (order - 1) + text + END
            for i in range(order - 1, len(text)):
                self.counts[-1][text[i - order + 1 : i]][text[i]] += 1
        for k in range(order - 1, 0, -1):
            for context, found in self.counts[k].items():
                for token in found:
                    self.counts[k - 1][context[1:]][token] += 1
        self.tokens = {token for text in texts for token in text} | {END}
        self.discounts = [_discounts(v for found in level.values() for v in found.values()) for level in self.counts]
        # For each context: what is taken from its counts in all, and their sum.
        self.sums = [
            {
                context: (sum(taken[min(count, 3)] for count in found.values()), sum(found.values()))
                for context, found in level.items()
            }
            for level, taken in zip(self.counts, self.discounts, strict=True)
        ]

    def probability(self, token, context):
        p = 1 / (len(self.tokens) + 1)  # one more, for a token that was never seen
        for k in range(self.order):
            own = context[len(context) - k :]
            found = self.counts[k].get(own)
            if found is None:
                break
            taken, total = self.sums[k][own]
            kept = found[token] - self.discounts[k][min(found[token], 3)]
            p = (kept + taken * p) / total
        return p

    def nll(self, text):
        """Returns -log p(text) in nats, its end counted."""
        text = START * (self.order - 1) + text + END
        places = range(self.order - 1, len(text))
        return -sum(math.log(self.probability(text[i], text[i - self.order + 1 : i])) for i in places)

    def nats_a_token(self, texts):
        """Returns nats a token of texts, their ends counted."""
        return sum(map(self.nll, texts)) / sum(len(text) + 1 for text in texts)
