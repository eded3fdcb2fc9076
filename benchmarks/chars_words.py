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


def counted(what, text, known):
    """Returns a row of the table for a text, and its words that are not in the set `known`."""
    found = words(text)
    unknown = [word for word in found if word not in known]
    return {"text": what, "words": len(found), "unknown": len(unknown) / max(1, len(found))}, unknown


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
    train, valid, test = (text.vocabulary.decode(ids) for ids in (text.train, text.valid, text.test))
    trained_on, rows = set(words(train)), []
    known = trained_on.union(words(valid), words(test))
    for temperature in args.temperature:
        samples = model.sample(args.characters // SAMPLE, length=SAMPLE, temperature=temperature, seed=1)
        # The last word of a sample may be cut.
        written = "\n".join(sample[: sample.rfind(" ")] for sample in samples)
        row, unknown = counted(f"samples, temperature {temperature}", written, known)
        print(f"temperature {temperature}:", *unknown[:40])
        rows.append(row)
    rows.append(counted("test split, against the training text", test, trained_on)[0])
    title = f"Words that chars.py makes up: {model.run.name}, trained on {text.name}"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
