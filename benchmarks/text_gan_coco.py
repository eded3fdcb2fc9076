"""text_gan.py on COCO captions: likelihood alone, the critic after likelihood, and the critic alone.

    python benchmarks/text_gan_coco.py FOLDER [--judge FILE] [--only mle gan control scratch] [options of text_gan.py]

The control is `gan` with a likelihood weight so large that the critic has no influence.

FOLDER holds Texygen's image_coco.txt, for training, and test_coco.txt, 10,000 captions each. Each run is scored with
10,000 sentences against all test captions. `other_lm_score` is their nats per token under a language model of other
captions, which no generator has seen: those in --judge, one per line. Next to a run with a critic stands its generator
as it was before the critic, after likelihood alone. A finished run is not trained again; for other options, give
another -T.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import common
from scriptorium.data.vocabulary import strip_special
from scriptorium.scores import kneser_ney
from scriptorium.text_gan import evaluation
from scriptorium.text_gan.samples import LIKELIHOOD, as_text, load_likelihood_generator, write
from scriptorium.training.opening import open_for_use

import text_gan

ALONE = ["--likelihood", "0", "--adversarial-rate", "2e-4", "--critic-rate", "5e-4"]
RUNS = {
    "mle": ["--mode", "mle", "-e", "14"],
    "gan": ["-e", "12", "--pretrain-epochs", "8"],
    "control": ["-e", "12", "--pretrain-epochs", "8", "--likelihood", "1000"],
    "scratch": ["-e", "14", "--pretrain-epochs", "0", *ALONE],
}
SEEDS = (1, 2, 3)
TEMPERATURES = (1.0, 1.03)  # for scoring the run trained by likelihood
BLEU = [f"{kind}_{n}" for kind in ("bleu", "self_bleu") for n in range(2, 6)]
OTHERS = ("lm_score", "reverse_lm_score", "gap_to_likelihood", "jsd_1", "jsd_2", "jsd_3", "jsd_4", "copies", "unique")
OTHERS = (*OTHERS, "repeated", "more_likely_than_shuffled")


def judged(directory, temperature, others):
    """Returns nats per token of 10,000 samples of a run under a language model of other captions, and the first 12."""
    run = open_for_use(str(directory), directory.parent.parent, ("text_gan",)).load_model(text_gan.build)
    counts = kneser_ney.KneserNey([kneser_ney.letters(run.vocabulary.encode(line)) for line in others], 5)
    samples = write(run, 10_000, temperature=temperature, seed=run.seed)
    texts = [kneser_ney.letters(strip_special(ids)) for ids in samples]
    return counts.nats_per_token(texts), as_text(run, samples[:12])[1]


def before_the_critic(directory, folder):
    """Returns scores of 10,000 samples of a run's generator as it was after likelihood alone."""
    where = ["-D", folder, "-T", str(directory.parent.parent)]
    args = text_gan.parse_args(["--eval", directory.name, *where])
    run = text_gan.open_run(text_gan.SCRIPT, args).load_model(text_gan.build)
    corpus, _, splits = text_gan.read(run, args)
    judge = evaluation.make_judge(run, corpus, splits["train"], "test")
    samples = write(run, 10_000, seed=run.seed, generator=load_likelihood_generator(run, text_gan.build))
    return judge.scores(samples, *as_text(run, samples))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--only", nargs="+", choices=tuple(RUNS), default=tuple(RUNS))
    parser.add_argument("-T", "--logdir", type=Path, default=common.ROOT / "runs" / "benchmarks")
    args, options = parser.parse_known_args()
    others = args.judge.read_text(encoding="utf-8").splitlines() if args.judge else None
    with tempfile.TemporaryDirectory() as folder:
        for name, split in (("image_coco", "train"), ("test_coco", "test")):
            text = (args.folder / f"{name}.txt").read_text(encoding="utf-8")
            (Path(folder) / f"{split}.txt").write_text(text, encoding="utf-8")
        for what in args.only:
            started, rows, lines = time.monotonic(), [], []
            for seed in SEEDS:
                name, where = f"{what}-{seed}", ["-T", args.logdir.resolve()]
                directory = args.logdir.resolve() / "text_gan" / name
                if not (directory / "eval.json").exists():
                    training = [*RUNS[what], "-w", "6000", "-r", seed, "--name", name, *where, *options]
                    common.run_script("text_gan.py", "-D", folder, *training)
                for temperature in TEMPERATURES if what == "mle" else (1.0,):
                    use = ["--eval", name, "-D", folder, *where, "--temperature", temperature]
                    common.run_script("text_gan.py", *use)
                    scores = common.scores_of(directory)
                    row = {"run": what, "seed": seed, "temperature": temperature}
                    row |= {key: scores.get(key, "") for key in (*BLEU, *OTHERS)}
                    if others:
                        row["other_lm_score"], examples = judged(directory, temperature, others)
                        lines += [f"    {line}" for line in examples]
                    rows.append(row | {"training minutes": round(common.training_seconds(directory) / 60, 1)})
                if (directory / LIKELIHOOD).exists():
                    scores, about = before_the_critic(directory, folder), {"run": "before", "seed": seed}
                    rows.append({key: (about | scores).get(key, "") for key in rows[0]})
            columns = [{"": key, **{f"{r['run']} {i}": r[key] for i, r in enumerate(rows, 1)}} for key in rows[0]]
            body = common.table(columns) + "\n\n" + "\n".join(lines)
            common.append(f"text_gan.py on COCO captions: {what}", body, time.monotonic() - started, SEEDS)


if __name__ == "__main__":
    sys.exit(main())
