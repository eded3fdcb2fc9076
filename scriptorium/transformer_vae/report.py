"""Reports of transformer_vae.py after an epoch: walks as tables, scores, and statistics of the codes."""

from scriptorium.data.batches import Sequences
from scriptorium.data.vocabulary import strip_special
from scriptorium.scores import metrics
from scriptorium.transformer_vae.scores import mmd_test, teacher_forced, walk_noise, write
from scriptorium.vae import inference, latent, paths
from scriptorium.vae.report import EpochReport

import numpy as np


class CodesReport(EpochReport):
    """After an epoch: samples, reconstructions, walks as tables, scores, and statistics of the codes.

    Args:
        run, codec, valid, every, last: see `EpochReport`.
        kind: the kind of texts, see `experiments.Texts`.
    """

    extra_settings = ("beam", "noise_level")

    def __init__(self, run, codec, valid, every, last, kind):
        super().__init__(run, codec, valid, every, last)
        self.kind = kind

    def spread(self, count):
        """Returns `count` validation texts, evenly spaced, because a corpus may be sorted by label."""
        rows = np.linspace(0, len(self.valid) - 1, min(count, len(self.valid))).astype(int)
        return Sequences.from_list([self.valid[i] for i in rows])

    def warn_of_collapse(self, logs):
        if self.model.gaussian:
            super().warn_of_collapse(logs)

    def show_codes(self, epoch):
        run, z_mean = self.run, self.codec.encode(self.texts)[0]
        self.show_reconstructions(z_mean, epoch)
        for mode in ("slerp", "lerp") if len(self.texts) > 1 else ():
            shares = np.linspace(0, 1, 11)
            points = getattr(paths, mode)(z_mean[0], z_mean[1], shares)
            walk = self.codec.decode(points, noise_level=walk_noise(shares, run.options["noise_level"]))
            checked = self.kind.check(walk) if self.kind.check else []
            marks = ["ok " if valid else "-- " for valid in checked] or [""] * len(walk)
            lines = [f"{share:.1f} {mark} {text}" for share, mark, text in zip(shares, marks, walk, strict=True)]
            run.log_texts(f"walk_{mode}", [self.texts[0], *lines, self.texts[1]], epoch)
        self.kind.show(run, self.spread(8), epoch)
        self.show_scores(epoch)
        self.show_posterior(epoch)

    def show_scores(self, epoch, most=500):
        part = self.spread(most)
        z_mean, z_log_var = inference.posteriors(self.model, part)
        normal = np.random.default_rng(self.run.seed).standard_normal(z_mean.shape, "float32")
        z = latent.draw(z_mean, z_log_var, normal)
        written = write(self.model, z_mean, self.run.options["positions"])
        tokens, whole = teacher_forced(self.model, part, z_mean)
        scores = {"token_accuracy": tokens, "sequence_accuracy": float(whole.mean())}
        scores["exact_match"] = metrics.exact_match(*([strip_special(ids) for ids in rows] for rows in (part, written)))
        scores["mmd_codes"], scores["mmd_threshold"] = mmd_test(z.reshape(len(z), -1), permutations=50)
        scores["mmd_weight"] = self.run.options["mmd"] * float(self.model.mmd_share(self.model.steps_done))
        self.run.scalars("validation", scores, epoch)
        self.run.console.say("  " + "  ".join(f"{name} {value:.4g}" for name, value in scores.items()))

    def show_posterior(self, epoch):
        z_mean, _ = inference.posteriors(self.model, self.spread(1000))
        flat = z_mean.reshape(len(z_mean), -1)
        self.run.histogram("z_mean", z_mean, epoch)
        self.run.bars("mean_per_dimension", flat.mean(axis=0), epoch)
        self.run.bars("variance_per_dimension", flat.var(axis=0), epoch)
