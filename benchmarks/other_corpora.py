"""The language models on other corpora than their usual ones, next to count models of the same text.

    NLTK_DATA=DATA/nltk_data python benchmarks/other_corpora.py DATA [--only NAME ...] [--scripts NAME ...]

DATA holds coco_val/, headlines/ and fortunes/, see CORPORA; Brown and Sinica are read through NLTK, which downloads
them unless it finds them. Each script trains for a fixed number of steps with its defaults. The count models are
modified Kneser-Ney of order 6 for characters and 5 for words, with the vocabulary of the run, on the same splits.
A finished run is not trained again, so a stopped benchmark can be continued.
"""

import argparse
import json
import math
import time
from pathlib import Path

import common
from scriptorium.data import corpora, running_text
from scriptorium.data.batches import encode_texts
from scriptorium.data.vocabulary import Vocabulary, strip_special
from scriptorium.scores.kneser_ney import KneserNey, letters

CORPORA = {
    "captions": ["-D", "coco_val/coco.valannotations.txt"],
    "headlines": ["-D", "headlines"],
    "fortunes": ["-D", "fortunes/fortunes.txt"],
    "brown": ["-t", "brown"],
    "sinica": ["-t", "sinica"],
}
SCRIPTS = {
    "chars": ["--max-steps", 2500],
    "words": ["--max-steps", 4000],
    "sentences": ["--max-steps", 2500, "--rate", 6],
}


def train(script, name, source, logdir):
    """Trains and scores a run unless it is finished; returns its folder."""
    run = logdir.resolve() / script / name
    if not (run / "eval.json").exists():
        where = ["-T", logdir.resolve(), "--name", name, "-o", 0]
        common.run_script(f"{script}.py", *source, *SCRIPTS[script], *where)
        if script == "sentences":
            common.run_script("sentences.py", "--eval", name, "-T", logdir.resolve(), "--iw-samples", 50)
    return run


def count_model(run):
    """Returns the score of a count model of the text of a run, as its script reports it."""
    config, values = (json.loads((run / name).read_text("utf-8")) for name in ("config.json", "vocab.json"))
    options, vocabulary = config["options"], Vocabulary.from_json(values)
    if config["script"] == "chars":
        names = ("task", "limit", "level")
        text = running_text.read(path=options["data"], vocabulary=vocabulary, **{name: options[name] for name in names})
        model = KneserNey([letters(text.train)], 6)
        return model.nats_per_token([letters(text.test)])
    corpus = corpora.reload(options)
    limits = options["max_length"], options["clip_length"]
    train, test = (
        [letters(strip_special(split[i])) for i in range(len(split))]
        for split in (encode_texts(texts, vocabulary, *limits) for texts in (corpus.train, corpus.test))
    )
    nats = KneserNey(train, 5).nats_per_token(test)
    return math.exp(nats) if config["script"] == "words" else nats * sum(len(text) + 1 for text in test) / len(test)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--scripts", nargs="*", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args = parser.parse_args()
    started, rows = time.monotonic(), []
    for name in args.only:
        flag, where = CORPORA[name]
        source = [flag, where if flag == "-t" else (args.data / where).resolve()]
        for script in args.scripts:
            run = train(script, name, source, args.logdir)
            scores = common.scores_of(run)
            score = {"chars": "nats_per_char", "words": "perplexity", "sentences": "iw_nll"}[script]
            row = {"corpus": name, "script": f"{script}.py", "score": score, "model": float(scores[score])}
            row |= {"count model": count_model(run), "minutes": round(common.training_seconds(run) / 60, 1)}
            rows.append(row)
            print(row)
    title = "Other corpora, next to count models, test split"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
