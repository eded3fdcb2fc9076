"""What names_vae.py shows: names with their nearest training names, and the latent space by position."""

import sys

from scriptorium.names_vae import codec
from scriptorium.names_vae.codec import draw, drawn, in_batches
from scriptorium.vae import inference
from scriptorium.vae.report import Show

import numpy as np


class ShowNames(Show):
    """What is shown after an epoch: names with their nearest training names, and the latent space by position."""

    def __init__(self, run, valid, every, last, known):
        super().__init__(run, codec, valid, every, last)
        self.known = known

    def show_samples(self, epoch):
        options = self.run.options
        settings = {name: options[name] for name in ("temperature", "top_k", "top_p")}
        names = draw(self.run, options["num_samples"], seed=epoch, **settings)
        self.run.shown("samples", self.known.describe(names), epoch, **settings)

    def show_posterior(self, epoch):
        valid = self.valid.part(1000)
        z_mean, z_log_var = inference.posteriors(self.model, valid)
        inside = np.arange(z_mean.shape[1])[None] < valid.lengths[:, None]
        self.run.histogram("z_mean", z_mean[inside], epoch)
        z = drawn(z_mean, z_log_var, epoch)
        kl = in_batches(self.model, "kl_of_positions", z, z_mean, z_log_var, valid.labels)
        self.run.bars("kl_of_each_position", np.sum(kl * inside, axis=0) / inside.sum(axis=0).clip(1), epoch)


def write(run, args, known):
    """Prints the names that a command line asks for; what is near an anchor differs in its latents, not by chance."""
    settings = {name: getattr(args, name) for name in ("temperature", "top_k", "top_p", "beam")}
    if "temperature" not in args.given:
        settings["temperature"] = 0.0 if args.anchor else run.options["temperature"]
    unknown = run.vocabulary.unknown((args.anchor or "") + args.prefix)
    if unknown:
        print(f"not in the vocabulary, so read as <unk>: {' '.join(unknown)}", file=sys.stderr)
    how = {"style": args.style, "anchor": args.anchor, "radius": args.radius, "prefix": args.prefix}
    how |= {"spread": args.spread, "guidance": args.guidance}
    names = draw(run, args.num_samples, seed=run.seed, **how, **settings)
    if known is None:
        print("the text it was trained on is not there any more: which names are new is not told", file=sys.stderr)
    print("\n".join(known.describe(names) if known else names))
