"""Does a character RNN write words? Counts the words in its samples that its corpus does not contain.

    python benchmarks/chars_words.py [RUN] [--temperature 0.8] [--characters 60000] [-T LOGDIR]

RUN is a run of chars.py, by default the bundled one. A word is a run of letters, in lower case. The last row scores the
test split against the training text alone: people, too, write words that a model has never seen.
"""

import argparse
import re
import time

import common
from scriptorium.data import running_text
from scriptorium.training import trained

SAMPLE = 300  # characters, as `chars.py --sample` writes them


def words(text):
    return re.findall(r"[^\W\d_]+", text.lower())


def share_unknown(text, known):
    """Returns the share of the words of a text that are not in the set `known`, and the unknown words."""
    found = words(text)
    unknown = [word for word in found if word not in known]
    return len(unknown) / max(1, len(found)), unknown


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", nargs="?", default="pretrained/chars/pydocs")
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.5, 0.8, 1.0])
    parser.add_argument("--characters", type=int, default=60_000)
    parser.add_argument("-T", "--logdir", default=str(common.ROOT / "runs"))
    args = parser.parse_args()
    started = time.monotonic()
    model = trained.load(args.run, args.logdir, ("chars",))
    options = model.run.options
    text = running_text.read(options["task"], options["data"], limit=options["limit"], level=options["level"])
    train, *others = (text.vocabulary.decode(ids) for ids in (text.train, text.valid, text.test))
    known, rows = set(words(train)).union(*map(words, others)), []
    for temperature in args.temperature:
        samples = model.sample(args.characters // SAMPLE, length=SAMPLE, temperature=temperature, seed=1)
        # The last word of a sample may be cut.
        written = "\n".join(sample[: sample.rfind(" ")] for sample in samples)
        share, unknown = share_unknown(written, known)
        print(f"temperature {temperature}:", *unknown[:40])
        rows.append({"text": f"samples, temperature {temperature}", "words": len(words(written)), "unknown": share})
    share, _ = share_unknown(others[1], set(words(train)))
    rows.append({"text": "test split, against the training text", "words": len(words(others[1])), "unknown": share})
    title = f"Words that chars.py makes up: {model.run.name}, trained on {text.name}"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
