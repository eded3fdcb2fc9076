"""What a training of transformer_vae.py shows after each epoch."""

from scriptorium.data.batches import Sequences
from scriptorium.data.vocabulary import strip_special
from scriptorium.scores import metrics
from scriptorium.transformer_vae.scores import (
    drawn,
    mmd_test,
    on_the_way,
    teacher_forced,
    write,
)
from scriptorium.vae import inference, latent, report

import numpy as np


class ShowCodes(report.Show):
    """What is shown after an epoch: samples, reconstructions, walks in tables, scores, and what the codes are like.

    Args:
        run, codec, valid, every, last: see `show.Show`.
        kind: what the texts are, see `experiments.Texts`.
    """

    settings = (*report.Show.settings, "beam", "noise")

    def __init__(self, run, codec, valid, every, last, kind):
        super().__init__(run, codec, valid, every, last)
        self.kind = kind

    def spread(self, count):
        """Returns `count` validation texts, taken evenly from all: a corpus may be in the order of its labels."""
        rows = np.linspace(0, len(self.valid) - 1, min(count, len(self.valid))).astype(int)
        return Sequences.from_list([self.valid[i] for i in rows])

    def warn_of_collapse(self, logs):
        if self.model.gaussian:
            super().warn_of_collapse(logs)

    def show_codes(self, epoch):
        run = self.run
        z_mean, _ = self.codec.encode(run, self.texts)
        pairs = zip(self.texts, self.codec.decode(run, z_mean), strict=True)
        run.shown("reconstructions", [line for text, again in pairs for line in (text, f"=> {again}")], epoch)
        for mode in ("slerp", "lerp") if len(self.texts) > 1 else ():
            shares = np.linspace(0, 1, 11)
            points = getattr(latent, mode)(z_mean[0], z_mean[1], shares)
            walk = self.codec.decode(run, points, noise=on_the_way(shares, run.options["noise"]))
            found = self.kind.valid(walk) if self.kind.valid else []
            marks = ["ok " if valid else "-- " for valid in found] or [""] * len(walk)
            lines = [f"{share:.1f} {mark} {text}" for share, mark, text in zip(shares, marks, walk, strict=True)]
            run.shown(f"walk_{mode}", [self.texts[0], *lines, self.texts[1]], epoch)
        self.kind.show(run, self.spread(8), epoch)
        self.show_scores(epoch)
        self.show_posterior(epoch)

    def show_scores(self, epoch, most=500):
        part = self.spread(most)
        z_mean, z_log_var = inference.posteriors(self.model, part)
        z = drawn(z_mean, z_log_var, np.random.default_rng(self.run.seed))
        written = write(self.model, z_mean, self.run.options["positions"])
        tokens, whole = teacher_forced(self.model, part, z_mean)
        found = {"token_accuracy": tokens, "sequence_accuracy": float(whole.mean())}
        found["exact_match"] = metrics.exact_match(*([strip_special(ids) for ids in rows] for rows in (part, written)))
        found["mmd_codes"], found["mmd_threshold"] = mmd_test(z.reshape(len(z), -1), permutations=50)
        found["mmd_weight"] = self.run.options["mmd"] * float(self.model.mmd_weight(self.model.step))
        self.run.scalars("validation", found, epoch)
        self.run.console.say("  " + "  ".join(f"{name} {value:.4g}" for name, value in found.items()))

    def show_posterior(self, epoch):
        z_mean, _ = inference.posteriors(self.model, self.spread(1000))
        flat = z_mean.reshape(len(z_mean), -1)
        self.run.histogram("z_mean", z_mean, epoch)
        self.run.bars("mean_of_each_dimension", flat.mean(axis=0), epoch)
        self.run.bars("variance_of_each_dimension", flat.var(axis=0), epoch)
