"""What is done with a generator of sentences, as it trains and afterwards: writing, scores, and a curve of them.

A generator offers `positions`, `noise_shapes(batch)`, `start(noise)` and
`next(token, state)`, see `word_writer.Generator`; the model of a run has it as `writing`.
"""

import csv
import io
import time

from scriptorium.data.vocabulary import strip_special
from scriptorium.pictures import figure_of
from scriptorium.scores.samples import Bleu, Judge
from scriptorium.text_gan.samples import as_text, settings_of, temperature_of, write
from scriptorium.training import storage
from scriptorium.training.fit import due

import keras
import numpy as np

SCORED = 2000  # sentences that are scored after an epoch
TEMPERATURES = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6)
LIKELIHOOD = "likelihood.safetensors"


def judge_of(run, corpus, train, split):
    """Returns the `text_scores.Judge` of a corpus, whose training texts are `train`, by the texts of another split."""
    texts, vocabulary = getattr(corpus, split), run.vocabulary
    ids = [strip_special(train[i]) for i in range(len(train))]
    tokens, held_out = [vocabulary.split(text) for text in texts], [vocabulary.encode(text) for text in texts]
    return Judge(ids, held_out, tokens, [vocabulary.decode(row) for row in ids], run.seed)


class Show(keras.callbacks.Callback):
    """Scores of samples at each epoch's validation, then samples; curves of the training every `every` steps.

    Args:
        run: started `Run`.
        judge: `text_scores.Judge`.
        epochs: of the whole run.
        done: steps of the run so far.
        every: steps between two points of the curves.
    """

    def __init__(self, run, judge, epochs, done, every=20):
        super().__init__()
        self.run, self.judge, self.last, self.done, self.every = run, judge, epochs, done, every

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done % self.every == 0:
            self.run.scalars("steps", {name: float(value) for name, value in logs.items()}, self.done)

    def on_test_begin(self, logs=None):
        settings = settings_of(self.run.options)
        count = 20 if self.run.dry_run else SCORED
        self.samples = write(self.run, count, seed=self.run.seed, **settings)
        found = self.judge.scores(self.samples, *as_text(self.run, self.samples))
        for name, metric in self.model.given.items():
            metric.value.assign(found[name])

    def on_epoch_end(self, epoch, logs=None):
        run, options = self.run, self.run.options
        scores = (f"{name} {logs[f'val_{name}']:.4g}" for name in self.model.given)
        run.console.say("  " + "  ".join(scores))
        if due(epoch, options["output_every"], self.last):
            lines = as_text(run, self.samples[: options["num_samples"]])[1]
            run.shown("samples", lines, epoch + 1, temperature=temperature_of(options))
        if epoch + 1 == options["pretrain_epochs"] and self.model.critic:
            run.save_weights(LIKELIHOOD)


def curve(run, judge, n, generator, temperatures=TEMPERATURES):
    """Returns (temperature, lm_score, reverse_lm_score) of n sentences at each temperature."""
    rows = []
    for temperature in temperatures[: 2 if run.dry_run else None]:
        run.console.live(f"  curve: temperature {temperature:g}")
        samples = write(run, n, temperature=temperature, seed=run.seed, generator=generator)
        rows.append((temperature, *judge.language_models(samples)))
    return rows


def below(rows, lm_score, reverse_lm_score):
    """Returns by how much a point lies below the curve of `rows`: nats of the reverse score, at its own lm_score.

    Points between two temperatures lie on a line; None where the curve does not reach to the point.
    """
    rows = sorted(row[1:] for row in rows)
    if not rows[0][0] <= lm_score <= rows[-1][0]:
        return None
    return float(np.interp(lm_score, *zip(*rows, strict=True))) - reverse_lm_score


def styles(run, n, groups=10):
    """Returns what the noise of whole sentences controls: self-BLEU-3 of n sentences of one style, and of n of any.

    Means over so many groups, {name: float}. A style that sets a topic or a form makes its sentences alike.
    """
    found = {}
    for name, of_one in (("self_bleu_3_of_a_style", True), ("self_bleu_3_of_any", False)):
        values = []
        for seed in range(1, (2 if run.dry_run else groups) + 1):
            samples = write(run, n, seed=run.seed + seed, style_seed=seed if of_one else None)
            values.append(Bleu(as_text(run, samples)[0], 3).of_each()[2])
        found[name] = float(np.mean(values))
    return found


def picture(title, curves, point):
    """Returns a figure of curves (dict of name -> rows of `curve`) and of a point (lm_score, reverse_lm_score)."""
    figure = figure_of(7, 5)
    axes = figure.add_subplot(
        title=title, xlabel="lm_score: nats a token of samples (quality)",
        ylabel="reverse_lm_score: nats a token of real texts (variety)",
    )  # fmt: skip
    for name, rows in curves.items():
        axes.plot([row[1] for row in rows], [row[2] for row in rows], marker="o", markersize=3, label=name)
        for temperature, *place in rows:
            axes.annotate(f"{temperature:g}", place, (3, 3), textcoords="offset points", fontsize=7)
    axes.plot(*point, marker="*", markersize=13, linestyle="none", label="as it writes")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def evaluate(run, corpus, train, args, n, likelihood=None):
    """Scores a run by n sentences against the test split, prints the scores, writes eval.json, curve.csv and curve.png.

    Args:
        run: opened `Run` with its model.
        corpus: `corpora.Corpus`.
        train: `util.Sequences` that it was trained on.
        args: has the options of the sampling.
        n: sentences, at each temperature of the curve too.
        likelihood: the same generator as trained by likelihood, to compare with, or None.

    Returns:
        dict of scores.
    """
    started, judge = time.monotonic(), judge_of(run, corpus, train, "test")
    settings = settings_of(vars(args))
    samples = write(run, n, seed=run.seed, **settings)
    scores = judge.scores(samples, *as_text(run, samples)) | styles(run, max(2, n // 50))
    # A language model counted on more samples is better: a point and a curve have equally many.
    point, curves = (scores["lm_score"], scores["reverse_lm_score"]), {}
    if run.options["feedback"] != "argmax" or run.options["mode"] == "mle":
        curves[run.options["mode"]] = curve(run, judge, n, run.model.writing)
    if likelihood:
        curves["likelihood"] = curve(run, judge, n, likelihood)
        found = below(curves["likelihood"], *point)
        if found is not None:
            scores["below_likelihood"] = found
    run.console.say(f"{len(samples):,} sentences of {run.name} against the test split")
    run.console.say(*(f"{name:>24}  {value:.4f}" for name, value in scores.items()))
    for name, rows in curves.items():
        run.console.say(f"{name}: temperature, lm_score, reverse_lm_score")
        run.console.say(*("  " + "  ".join(f"{value:.3f}" for value in row) for row in rows))
    if not run.dry_run:
        seconds = round(time.monotonic() - started, 1)
        run.write_json("eval.json", scores | {"samples": len(samples), "split": "test", "seconds": seconds})
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


def likelihood_of(run, build):
    """Returns the generator of a run as it was after its training by likelihood, None where it had none.

    Args:
        run: opened `Run`.
        build: the script's function of options and vocabulary that makes a model.
    """
    if run.dry_run or not (run.directory / LIKELIHOOD).exists():
        return None
    model = build(run.options, run.vocabulary)
    run.load_weights(LIKELIHOOD, model)
    return model.writing
