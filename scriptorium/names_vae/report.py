"""Reports of names_vae.py: names with their nearest training names, and the latent space by position."""

from scriptorium.decoding.settings import sampling_settings
from scriptorium.names_vae.codec import draw, in_batches
from scriptorium.names_vae.scores import training_names
from scriptorium.streams import note, note_unknown
from scriptorium.training.finding import say_opened
from scriptorium.vae import inference
from scriptorium.vae.report import EpochReport

import numpy as np


class NamesReport(EpochReport):
    """Reports after an epoch: names with their nearest training names, and the latent space by position."""

    def __init__(self, run, codec, valid, every, last, known):
        super().__init__(run, codec, valid, every, last)
        self.known = known

    def show_samples(self, epoch):
        options = self.run.options
        settings = sampling_settings(options)
        names = self.codec.sample(options["num_samples"], seed=epoch, **settings)
        self.run.log_texts("samples", self.known.describe(names), epoch, **settings)

    def show_posterior(self, epoch):
        valid = self.valid.first(1000)
        z_mean, z_log_var = inference.posteriors(self.model, valid)
        inside = np.arange(z_mean.shape[1])[None] < valid.lengths[:, None]
        self.run.histogram("z_mean", z_mean[inside], epoch)
        z = draw(z_mean, z_log_var, epoch)
        kl = in_batches(self.model, "kl_of_positions", z, z_mean, z_log_var, valid.labels)
        self.run.bars("kl_per_position", np.sum(kl * inside, axis=0) / inside.sum(axis=0).clip(1), epoch)


def print_names(codec, args):
    """Prints the requested names; near an anchor, temperature 0 lets only their latents differ."""
    run, settings = codec.run, sampling_settings(args, "beam")
    if "temperature" not in args.given:
        settings["temperature"] = 0.0 if args.anchor else run.options["temperature"]
    note_unknown(run.vocabulary, (args.anchor or "") + args.prefix)
    for name in ("label", "anchor", "radius", "prefix", "prior_scale", "guidance"):
        settings[name] = getattr(args, name)
    names, known = codec.sample(args.num_samples, run.seed, **settings), training_names(run)
    say_opened(run)
    if known is None:
        note("training corpus not found: cannot mark which names are new")
    print("\n".join(known.describe(names) if known else names))
