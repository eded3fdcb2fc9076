"""What any VAE of texts shows: samples and walks while it trains, scores when it has, and answers to who talks to it.

The script's own `encode`, `decode` and `sample_prior` come in as `codec`: the script itself, as a module or an object.
"""

import code
import itertools
import sys
import time

from scriptorium import pictures
from scriptorium.training.fit import due
from scriptorium.vae import inference, latent

import keras
import numpy as np


class Show(keras.callbacks.Callback):
    """After an epoch: samples from the prior, reconstructions, a walk between two texts, and pictures of the posterior.

    Args:
        run: started `Run`.
        codec: has encode(run, texts), decode(run, z, ...) and sample_prior(run, n, seed).
        valid: `util.Sequences`; the texts that are shown are drawn from its middle lengths.
        every: epochs between two shows; 0 shows nothing but warnings.
        last: number of the last epoch, which is shown in any case.
    """

    settings = ("temperature", "top_k", "top_p")  # of the sampling

    def __init__(self, run, codec, valid, every, last):
        super().__init__()
        self.run, self.codec, self.valid, self.every, self.last, self.warned = run, codec, valid, every, last, False
        shortest, longest = np.quantile(valid.lengths, (0.3, 0.7))
        middle = np.flatnonzero((valid.lengths >= shortest) & (valid.lengths <= longest))
        chosen = np.random.default_rng(run.seed).choice(middle, min(5, len(middle)), replace=False)
        self.texts = [run.vocabulary.decode(valid[i]) for i in chosen]

    def on_epoch_end(self, epoch, logs=None):
        epoch += 1
        has_code = self.run.options["latent_dim"] and not self.run.options.get("no_latent")
        if has_code:
            self.warn_of_collapse(logs or {})
        if due(epoch - 1, self.every, self.last):
            self.show_samples(epoch)
            if has_code:
                self.show_codes(epoch)

    def show_samples(self, epoch):
        options = self.run.options
        settings = {name: options[name] for name in self.settings}
        z = self.codec.sample_prior(self.run, options["num_samples"], seed=epoch)
        self.run.shown("samples", self.codec.decode(self.run, z, seed=epoch, **settings), epoch, **settings)

    def show_codes(self, epoch):
        run = self.run
        z_mean, _ = self.codec.encode(run, self.texts)
        pairs = zip(self.texts, self.codec.decode(run, z_mean), strict=True)
        run.shown("reconstructions", [line for text, again in pairs for line in (text, f"=> {again}")], epoch)
        if len(self.texts) > 1:
            walk = self.codec.decode(run, latent.lerp(z_mean[0], z_mean[1], np.linspace(0, 1, 5)))
            run.shown("walk", [self.texts[0], *(f"   {text}" for text in walk), self.texts[1]], epoch)
        self.show_posterior(epoch)

    def show_posterior(self, epoch):
        z_mean, z_log_var = inference.posteriors(self.model, self.valid)
        self.run.histogram("z_mean", z_mean, epoch)
        kl = inference.kl_of_each(z_mean, z_log_var)
        self.run.bars("kl_of_each_dimension", kl.reshape(len(kl), -1).mean(axis=0), epoch)

    def warn_of_collapse(self, logs):
        """Says once what to turn when the decoder ignores its code, though the KL term has half of its weight."""
        ramped = self.model.kl_weight_now() >= 0.5 * self.run.options["beta"]
        if not self.warned and ramped and logs.get("val_kl", 1.0) < 0.1:
            self.warned = True
            self.run.console.say(
                "warning: the posterior has collapsed onto the prior (kl below 0.1 nats): the decoder ignores z. Try"
                " --posterior-norm 0.6, or --free-bits 8 --pretrain-epochs 3, or --beta 0.4, or -d 0.4."
            )


def finish(run, test, iw_samples=0, evaluate=inference.evaluate, also=dict):
    """Scores a run on its test split, prints the scores and writes them to eval.json.

    Args:
        run: opened `Run` with its model.
        test: `util.Sequences`.
        iw_samples: K of iw_nll; 0 leaves it out.
        evaluate: function that scores a model, called as `inference.evaluate` is.
        also: function without arguments that returns further scores, a dict.

    Returns:
        dict of scores, see `inference.evaluate`.
    """
    started = time.monotonic()
    if run.dry_run:
        test = test.part(2 * run.options["batch_size"])
    length = run.options["gen_length"]
    scores = evaluate(
        run.model, test, length, iw_samples, run.seed, lambda done: run.console.live(f"  iw_nll: {done:.0%}")
    )
    scores |= also()
    scores |= {"sentences": len(test), "tokens": int(test.lengths.sum())}
    lines = [
        f"{name:>20}  {value:.4f}" if isinstance(value, float) else f"{name:>20}  {value}"
        for name, value in scores.items()
    ]
    run.console.say(f"test split of {run.name} (nats a sentence)", *lines)
    if not run.dry_run:
        run.write_json("eval.json", scores | {"split": "test", "seconds": round(time.monotonic() - started, 1)})
    return scores


def project(run, valid, most=1000, picture=False):
    """Gives TensorBoard's projector the posterior means of texts, with the texts as labels, where there is a code.

    A code with a vector for each position of a text is shown as its mean over these. Labels of the first kind are
    colours there, and with `picture` a picture of the codes.
    """
    if run.options.get("no_latent"):
        return
    part = valid.part(most)
    texts, classes = [run.vocabulary.decode(part[i]) for i in range(len(part))], None
    z_mean, _ = inference.posteriors(run.model, part)
    if len(z_mean) and z_mean.ndim == 3 and "latent_tokens" not in run.options:
        z_mean = z_mean.sum(axis=1) / part.lengths[:, None]
    if run.options.get("labels"):
        names = ["?", *next(iter(run.options["labels"].values()))]
        classes = [names[label] for label in part.labels[:, 0]]
        if picture and len(set(classes)) > 2:
            title = f"{run.name}: codes of {len(part)} validation texts"
            run.figure("latent_space", pictures.classes(z_mean, classes, title), run.options["epochs"])
    run.projector(z_mean.reshape(len(part), -1), texts, classes)


def talk(run, codec, args):
    """Answers each line of the input with texts from its posterior, or from the prior for an empty line.

    Args:
        run: opened `Run` with its model.
        codec: see `Show`. Where it has near(run, text, normal, args), this turns standard normal numbers to codes near
            a text, in the place of draws from its posterior, and returns them and settings of `decode` for these.
        args: options, with num_samples, those of the sampling and those that the codec lists as `SETTINGS`.
    """
    names = ("temperature", "top_k", "top_p", "beam", *getattr(codec, "SETTINGS", ()))
    settings = {name: getattr(args, name) for name in names}
    typed = sys.stdin.isatty()
    for turn in itertools.count():
        try:
            text = input("> " if typed else "").strip()
        except EOFError:
            return
        if not typed:
            print(">", text)
        z, how = codec.sample_prior(run, args.num_samples, seed=run.seed + turn), settings
        if text and not run.options.get("no_latent"):
            unknown = run.vocabulary.unknown(text)
            if unknown:
                print(f"not in the vocabulary, so read as <unk>: {' '.join(unknown)}", file=sys.stderr)
            if hasattr(codec, "near"):
                z, also = codec.near(run, text, z, args)
                how = settings | also
            else:
                z_mean, z_log_var = codec.encode(run, [text])
                z = z_mean + np.exp(0.5 * z_log_var) * z
        for answer in codec.decode(run, z, seed=run.seed + turn, **how):
            print("=>", answer, flush=True)


def interact(run, codec, corpus):
    """Opens a Python prompt with the run, its model, vocabulary and corpus in reach."""
    names = {"run": run, "model": run.model, "vocabulary": run.vocabulary, "corpus": corpus, "np": np}
    names |= {name: getattr(codec, name) for name in ("encode", "decode", "sample_prior")}
    code.interact(f"In reach: {', '.join(names)}. Try decode(run, sample_prior(run, 3)).", local=names, exitmsg="")
