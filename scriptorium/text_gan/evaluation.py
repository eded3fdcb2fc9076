"""Scores sampled sentences during and after training, and draws a curve of scores over temperatures.

The model of a run holds the generator to sample from, a `text_gan.Generator`, as `sampling_generator`.
"""

import csv
import io
import time

from scriptorium.data import scenes
from scriptorium.data.scenes import scores as scenes_scores
from scriptorium.data.vocabulary import strip_special
from scriptorium.nn.compiled import Compiled
from scriptorium.pictures import PALETTE, figure_of
from scriptorium.scores import comparison
from scriptorium.scores.comparison import LEAST, Yardstick
from scriptorium.scores.samples import Bleu, Judge
from scriptorium.text_gan.samples import (
    LIKELIHOOD,
    as_text,
    load_likelihood_generator,
    settings_of,
    temperature_of,
    write,
)
from scriptorium.training import storage
from scriptorium.training.fit import is_reporting_epoch

import keras
import numpy as np

VALIDATION_SAMPLES = 2000  # sentences scored after an epoch
TEMPERATURES = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6)


def make_judge(run, corpus, train, split):
    """Returns a `Judge` that compares samples with the training texts `train` and the texts of another split."""
    texts, vocabulary = getattr(corpus, split), run.vocabulary
    ids = [strip_special(train[i]) for i in range(len(train))]
    tokens, held_out = [vocabulary.split(text) for text in texts], [vocabulary.encode(text) for text in texts]
    return Judge(ids, held_out, tokens, [vocabulary.decode(row) for row in ids], run.seed)


class EpochReport(keras.callbacks.Callback):
    """Reports scores of samples at each validation, then samples; and training curves every `every` steps.

    Args:
        run: started `Run`.
        judge: `Judge`.
        epochs: epochs of the whole run.
        every: steps between two points of the training curves.
    """

    def __init__(self, run, judge, epochs, every=20):
        super().__init__()
        self.run, self.judge, self.last, self.every = run, judge, epochs, every
        self.done = run.saved[0]["steps"] if run.saved else 0

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done % self.every == 0:
            self.run.scalars("steps", {name: float(value) for name, value in logs.items()}, self.done)

    def on_test_begin(self, logs=None):
        settings = settings_of(self.run.options)
        count = 20 if self.run.dry_run else VALIDATION_SAMPLES
        self.samples = write(self.run, count, seed=self.run.seed, **settings)
        scores = self.judge.scores(self.samples, *as_text(self.run, self.samples))
        for name, metric in self.model.scores.items():
            metric.value.assign(scores[name])

    def on_epoch_end(self, epoch, logs=None):
        run, options = self.run, self.run.options
        if is_reporting_epoch(epoch, options["output_every"], self.last):
            lines = as_text(run, self.samples[: options["num_samples"]])[1]
            run.log_texts("samples", lines, epoch + 1, temperature=temperature_of(options))
        if epoch + 1 == options["pretrain_epochs"] and self.model.critic:
            run.save_weights(LIKELIHOOD)


def against_real_texts(run, splits, samples):
    """Compares samples, and real training texts, with equally many texts of the test split, as score.py does.

    Args:
        run, splits: see `evaluate`.
        samples: lists of token ids.

    Returns:
        dict of head of a column -> dict of name -> (value, lowest, highest), see `comparison`; empty if there are too
        few texts.
    """
    random, sides = np.random.default_rng(run.seed), [splits[split] for split in ("test", "train")]
    n = min(len(samples), *map(len, sides))
    if n < LEAST:
        return {}
    real = [[strip_special(side[i]) for i in random.permutation(len(side))[:n]] for side in sides]
    (reference, lines), *columns = (as_text(run, ids) for ids in (real[0], samples[:n], real[1]))
    yardstick = Yardstick(reference, lines, [tokens for tokens, _ in columns], seed=run.seed)
    found = {}
    for head, (tokens, _) in zip((run.name, "real texts"), columns, strict=True):
        scores = yardstick.divergences(tokens)
        names = [name for name in scores if not name.startswith("nll")]  # nll is a score of the generator here
        found[head] = comparison.with_intervals({name: scores[name] for name in names}, run.seed)
    return found


def curve(run, judge, n, generator, temperatures=TEMPERATURES):
    """Returns (temperature, lm_score, reverse_lm_score) of n sentences at each temperature."""
    rows = []
    for temperature in temperatures[: 2 if run.dry_run else None]:
        run.console.phase(f"the curve: {n:,} sentences at temperature {temperature:g}")
        samples = write(run, n, temperature=temperature, seed=run.seed, generator=generator)
        rows.append((temperature, *judge.language_models(samples)))
    return rows


def gap_to_curve(rows, lm_score, reverse_lm_score):
    """Returns how far a point lies below the curve of `rows`: nats of the reverse score, at the same lm_score.

    The curve is linear between temperatures; None if it does not reach the lm_score of the point.
    """
    rows = sorted(row[1:] for row in rows)
    if not rows[0][0] <= lm_score <= rows[-1][0]:
        return None
    return float(np.interp(lm_score, *zip(*rows, strict=True))) - reverse_lm_score


def style_effect(run, n, groups=10):
    """Measures what the style noise controls: self-BLEU-3 of n sentences that share a style, and of n that do not.

    Returns means over `groups` groups, {name: float}. If a style sets a topic or a form, its sentences are similar.
    """
    means = {}
    for name, of_one in (("self_bleu_3_same_style", True), ("self_bleu_3_any_style", False)):
        values = []
        for seed in range(1, (2 if run.dry_run else groups) + 1):
            samples = write(run, n, seed=run.seed + seed, style_seed=seed if of_one else None)
            values.append(Bleu(as_text(run, samples)[0], 3).self_bleu()[2])
        means[name] = float(np.mean(values))
    return means


def picture(title, curves, point):
    """Returns a figure of curves (dict of name -> rows of `curve`) and of a point (lm_score, reverse_lm_score)."""
    figure = figure_of(7, 5)
    axes = figure.add_subplot(
        title=title, xlabel="lm_score: nats per token of samples (quality)",
        ylabel="reverse_lm_score: nats per token of real texts (variety)",
    )  # fmt: skip
    # The temperatures of the first curve stand below it, those of the second above, so that they do not overlap.
    sides = ({"xytext": (-3, -4), "ha": "right", "va": "top"}, {"xytext": (3, 3), "ha": "left", "va": "bottom"})
    for (name, rows), color, side in zip(curves.items(), PALETTE, sides, strict=False):
        axes.plot([row[1] for row in rows], [row[2] for row in rows], marker="o", markersize=3, color=color, label=name)
        for temperature, *xy in rows:
            axes.annotate(f"{temperature:g}", xy, textcoords="offset points", fontsize=7, color=color, **side)
    axes.plot(*point, marker="*", markersize=13, color="black", linestyle="none", label="at its own settings")
    arrow = {"arrowstyle": "-|>", "color": "0.4", "linewidth": 1.5}
    ends = {"xycoords": "axes fraction", "textcoords": "axes fraction", "color": "0.4"}
    axes.annotate("better", (0.03, 0.04), (0.12, 0.13), arrowprops=arrow, **ends)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def scores_on_scenes(run, test, lines):
    """Returns the scores of a run on the scenes, see `scenes.scores`; the excess is that of -log p given the noise."""
    model = run.model
    nll = Compiled(lambda ids: model.nll_of(ids, model.sampling_generator), model)
    test = test.first(40) if run.dry_run else test
    parts = [
        nll.predict_on_batch(test.padded(rows)) for rows in np.array_split(np.arange(len(test)), -(-len(test) // 128))
    ]
    sentences = run.vocabulary.decode_all(test)
    return scenes_scores.of_language_model(sentences, float(np.concatenate(parts).mean()), lines)


def evaluate(run, corpus, splits, args, n, build=None):
    """Scores n sentences of a run against the test split; prints and writes eval.json, curve.csv and curve.png.

    Args:
        run: opened `Run` with its model.
        corpus: `corpora.Corpus`.
        splits: dict of split -> `Sequences`.
        args: options, including those for sampling.
        n: number of sentences, also at each temperature of the curve.
        build: the script's function that builds a model, to compare with the generator as it was after likelihood; None
            for no such comparison.

    Returns:
        dict of scores.
    """
    started, settings = time.monotonic(), settings_of(args)
    run.console.phase(f"{n:,} sentences and their scores")
    judge = make_judge(run, corpus, splits["train"], "test")
    samples = write(run, n, seed=run.seed, **settings)
    tokens, lines = as_text(run, samples)
    scores = judge.scores(samples, tokens, lines) | style_effect(run, max(2, n // 50))
    if scenes.are_text_of(run.options):
        scores |= scores_on_scenes(run, splits["test"], lines)
    # A language model counted on more samples scores better, so point and curve use equally many.
    point, curves = (scores["lm_score"], scores["reverse_lm_score"]), {}
    if run.options["feedback"] != "argmax" or run.options["mode"] == "mle":
        curves[run.options["mode"]] = curve(run, judge, n, run.model.sampling_generator)
    likelihood = build and load_likelihood_generator(run, build)
    if likelihood:
        curves["likelihood"] = curve(run, judge, n, likelihood)
        gap = gap_to_curve(curves["likelihood"], *point)
        if gap is not None:
            scores["gap_to_likelihood"] = gap
    run.console.phase("the comparison with real texts")
    compared = against_real_texts(run, splits, samples)
    scores |= {name: three[0] for name, three in compared.get(run.name, {}).items()}
    run.console.say(f"{len(samples):,} sentences of {run.name} against the test split")
    run.console.say(*(f"{name:>24}  {value:.4f}" for name, value in scores.items()))
    run.console.say(*(comparison.table(compared) if compared else ()))
    for name, rows in curves.items():
        run.console.say(f"{name}: temperature, lm_score, reverse_lm_score")
        run.console.say(*("  " + "  ".join(f"{value:.3f}" for value in row) for row in rows))
    if not run.dry_run and run.scores_are_its_own:
        run.log_scores(scores)
        seconds = round(time.monotonic() - started, 1)
        about = {"samples": len(samples), "split": "test", "seconds": seconds, "compared": compared}
        about |= {"rounded": True} if run.is_packed else {}
        run.write_json("eval.json", scores | about)
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(
            [("generator", "temperature", "lm_score", "reverse_lm_score")]
            + [(name, *(f"{value:.5g}" for value in row)) for name, rows in curves.items() for row in rows]
        )
        storage.write_text(run.directory / "curve.csv", table.getvalue())
        figure = picture(run.name, curves, point)
        with storage.replacing(run.directory / "curve.png") as temporary:
            figure.savefig(temporary, dpi=110, format="png")
    return scores
