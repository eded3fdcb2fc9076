"""Do walks of a Sentence VAE pass through sentences? Scores their midpoints with a language model of the same text.

    python benchmarks/walks.py RUN LANGUAGE_MODEL_RUN [--pairs 500] [-T LOGDIR]

RUN is a run of sentences.py, LANGUAGE_MODEL_RUN one of `sentences.py --no-latent` on the same text and vocabulary.
Pairs of held-out sentences are drawn with a fixed seed; the midpoint of their posterior means is decoded greedily.
"""

import argparse
import sys
import time

import common
from scriptorium.data import corpora
from scriptorium.data.batches import Sequences, encode_texts
from scriptorium.data.vocabulary import EOS, strip_special
from scriptorium.scores import metrics
from scriptorium.training import trained
from scriptorium.vae import inference, latent

sys.path.insert(0, str(common.ROOT))

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run")
    parser.add_argument("judge", metavar="language_model_run")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("-T", "--logdir", default=str(common.ROOT / "runs"))
    args = parser.parse_args()
    started = time.monotonic()
    codec, judge = (trained.load(which, args.logdir, ("sentences",)) for which in (args.run, args.judge))
    run, judge = codec.run, judge.run
    if run.vocabulary.tokens != judge.vocabulary.tokens:
        raise SystemExit("The two runs have different vocabularies.")
    o = run.options
    corpus = corpora.load(o["task"], o["data"], limit=o["limit"], level=o["level"], seed=1)
    test = encode_texts(corpus.test, run.vocabulary, o["max_length"], o["clip_length"])

    def nll_per_word(sequences):
        return inference.nll_of_each(judge.model, sequences, np.zeros((len(sequences), 1))) / sequences.lengths

    z_mean, _ = inference.posteriors(run.model, test)
    pairs = np.random.default_rng(1).integers(len(test), size=(args.pairs, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    first, second = z_mean[pairs[:, 0]], z_mean[pairs[:, 1]]
    points = {
        share: inference.write(run.model, latent.lerp(first, second, [share])[0], o["gen_length"])[0]
        for share in (0, 0.5, 1)
    }
    middle = Sequences.from_list([[*strip_special(ids), EOS] for ids in points[0.5]])
    ends = [
        {tuple(strip_special(ids)) for ids in (points[0][i], points[1][i], *(test[n] for n in pair))}
        for i, pair in enumerate(pairs)
    ]
    new = np.array([tuple(strip_special(middle[i])) not in ends[i] for i in range(len(middle))])
    real, walked = np.median(nll_per_word(test)), nll_per_word(middle)
    references = [strip_special(test[i]) for i in range(len(test))]
    again = [strip_special(ids) for ids in inference.write(run.model, z_mean, o["gen_length"])[0]]
    prior = inference.write(run.model, codec.sample_prior(args.pairs), o["gen_length"])[0]
    sampled = nll_per_word(Sequences.from_list([[*strip_special(ids), EOS] for ids in prior]))
    rows = [
        {"score": "reconstruction BLEU-4", "value": metrics.bleu_4(references, again)},
        {"score": "reconstruction exact match", "value": metrics.exact_match(references, again)},
        {"score": "median nll per word of held-out sentences", "value": float(real)},
        {"score": "median nll per word of walk midpoints", "value": float(np.median(walked))},
        {"score": "median nll per word of samples from the prior (greedy)", "value": float(np.median(sampled))},
        {"score": "midpoints that are new", "value": float(new.mean())},
        {
            "score": "midpoints that are new and whose nll per word is at most the median + 0.5",
            "value": float((new & (walked <= real + 0.5)).mean()),
        },
        {
            "score": "distinct midpoints",
            "value": len({tuple(strip_special(middle[i])) for i in range(len(middle))}) / len(middle),
        },
        {
            "score": "mean number of words of a held-out sentence / of a midpoint",
            "value": f"{test.lengths.mean() - 1:.1f} / {middle.lengths.mean() - 1:.1f}",
        },
    ]
    title = f"Walks of sentences.py on {corpus.name}: midpoints of {len(pairs)} pairs, judged by a language model"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
