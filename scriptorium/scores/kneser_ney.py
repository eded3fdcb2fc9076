"""The baseline for every other model: n-gram counts with modified Kneser-Ney smoothing (Chen and Goodman 1999).

A text is any str, and each character is a token. `letters` turns word ids into a str with a unique character per id.
"""

import collections
import math

START, END = "\x02", "\x03"
FIRST = 0x4E00  # the character of id 0


def letters(ids):
    """Returns ids, integers (length,), as a str with a character for each."""
    return "".join(chr(FIRST + i) for i in map(int, ids))


def _discounts(counts):
    """Returns the discounts of a count of 0, 1, 2, and 3 or more; 0.5 if there are too few counts to estimate them."""
    times = collections.Counter(counts)
    if all(times[n] for n in (1, 2, 3, 4)):
        share = times[1] / (times[1] + 2 * times[2])
        taken = [n - (n + 1) * share * times[n + 1] / times[n] for n in (1, 2, 3)]
        if min(taken) > 0:
            return [0, *taken]
    return [0, 0.5, 0.5, 0.5]


class KneserNey:
    """p(token | the `order` - 1 tokens before it), from the start of a text to its end.

    Args:
        texts: sequence of str to count.
        order: length of the longest n-gram.
        vocab_size: how many tokens can occur, without the end; None: those of the texts, and one that stands for all
            others. Only models of one vocabulary can be compared on texts with tokens that one of them never saw.
    """

    def __init__(self, texts, order=6, vocab_size=None):
        self.order = order
        # counts[k][context of k tokens][token]: frequency, or below the highest order the number of tokens before it.
        self.counts = [collections.defaultdict(collections.Counter) for _ in range(order)]
        for text in texts:
            text = START * (order - 1) + text + END
            for i in range(order - 1, len(text)):
                self.counts[-1][text[i - order + 1 : i]][text[i]] += 1
        for k in range(order - 1, 0, -1):
            for context, tokens in self.counts[k].items():
                for token in tokens:
                    self.counts[k - 1][context[1:]][token] += 1
        self.tokens = {token for text in texts for token in text} | {END}
        self.vocab_size = len(self.tokens) if vocab_size is None else vocab_size
        self.discounts = [_discounts(v for counts in level.values() for v in counts.values()) for level in self.counts]
        # For each context: the total discount, and the sum of the counts.
        self.sums = [
            {
                context: (sum(taken[min(count, 3)] for count in counts.values()), sum(counts.values()))
                for context, counts in level.items()
            }
            for level, taken in zip(self.counts, self.discounts, strict=True)
        ]

    def probability(self, token, context):
        p = 1 / (self.vocab_size + 1)  # with the end; without a given size, with unseen tokens
        for k in range(self.order):
            suffix = context[len(context) - k :]
            counts = self.counts[k].get(suffix)
            if counts is None:
                break
            taken, total = self.sums[k][suffix]
            kept = counts[token] - self.discounts[k][min(counts[token], 3)]
            p = (kept + taken * p) / total
        return p

    def nll(self, text):
        """Returns -log p(text) in nats, including its end."""
        text = START * (self.order - 1) + text + END
        places = range(self.order - 1, len(text))
        return -sum(math.log(self.probability(text[i], text[i - self.order + 1 : i])) for i in places)

    def nats_per_token(self, texts):
        """Returns the nats per token of texts, including their ends."""
        return sum(map(self.nll, texts)) / sum(len(text) + 1 for text in texts)
