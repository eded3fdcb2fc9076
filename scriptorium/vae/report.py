"""Reports of every VAE of texts: samples and walks after an epoch, scores at the end, and an interactive prompt."""

import code
import sys
import time

from scriptorium import UserError, pictures
from scriptorium.data import scenes
from scriptorium.data.labels import LANGUAGES
from scriptorium.decoding.settings import sampling_settings
from scriptorium.streams import lines_of_input, note, note_unknown
from scriptorium.training.finding import say_opened
from scriptorium.training.fit import is_reporting_epoch
from scriptorium.vae import inference, paths, truth

import keras
import numpy as np


class EpochReport(keras.callbacks.Callback):
    """After an epoch: samples from the prior, reconstructions, a walk between two texts, figures of the posterior.

    Args:
        run: started `Run`.
        codec: its `Codec`.
        valid: `Sequences`; the texts to show are drawn from those of medium length.
        every: epochs between two reports; 0 for none.
        last: number of the last epoch, which is always reported.
        advice: str, what to change if the posterior has collapsed.
    """

    extra_settings = ()  # of the samples, in addition to those of `sampling_settings`

    def __init__(self, run, codec, valid, every, last, advice="--free-bits, or a lower --beta"):
        super().__init__()
        self.run, self.codec, self.valid, self.every, self.last = run, codec, valid, every, last
        self.advice, self.warned = advice, False
        # At lengths that occur, so that at least one text lies between them, however few there are.
        shortest = np.quantile(valid.lengths, 0.3, method="lower")
        longest = np.quantile(valid.lengths, 0.7, method="higher")
        middle = np.flatnonzero((valid.lengths >= shortest) & (valid.lengths <= longest))
        chosen = np.random.default_rng(run.seed).choice(middle, min(5, len(middle)), replace=False)
        self.texts = [run.vocabulary.decode(valid[i]) for i in chosen]

    def on_epoch_end(self, epoch, logs=None):
        epoch += 1
        if self.codec.has_latent:
            self.warn_of_collapse(logs or {})
        if is_reporting_epoch(epoch - 1, self.every, self.last):
            self.show_samples(epoch)
            if self.codec.has_latent:
                self.show_codes(epoch)

    def show_samples(self, epoch):
        options = self.run.options
        settings = sampling_settings(options, *self.extra_settings)
        z = self.codec.sample_prior(options["num_samples"], seed=epoch)
        self.run.log_texts("samples", self.codec.decode(z, seed=epoch, **settings), epoch, **settings)

    def show_codes(self, epoch):
        z_mean, _ = self.codec.encode(self.texts)
        self.show_reconstructions(z_mean, epoch)
        if len(self.texts) > 1:
            walk = self.codec.decode(paths.lerp(z_mean[0], z_mean[1], np.linspace(0, 1, 5)))
            self.run.log_texts("walk", [self.texts[0], *(f"   {text}" for text in walk), self.texts[1]], epoch)
        self.show_posterior(epoch)

    def show_reconstructions(self, z_mean, epoch):
        pairs = zip(self.texts, self.codec.decode(z_mean), strict=True)
        self.run.log_texts("reconstructions", [line for text, again in pairs for line in (text, f"=> {again}")], epoch)

    def show_posterior(self, epoch):
        z_mean, z_log_var = inference.posteriors(self.model, self.valid)
        self.run.histogram("z_mean", z_mean, epoch)
        kl = inference.kl_of_each(z_mean, z_log_var)
        self.run.bars("kl_per_dimension", kl.reshape(len(kl), -1).mean(axis=0), epoch)

    def warn_of_collapse(self, logs):
        """Warns once if the decoder ignores its code although the KL term has its weight, or none to speak of."""
        weight, options = self.model.kl_weight_now(), self.run.options
        settled = weight < 0.001 if options.get("rate") else weight >= 0.5 * options["beta"]
        if not self.warned and settled and logs.get("val_kl", 1.0) < 0.1:
            self.warned = True
            self.run.console.say(
                "warning: the posterior has collapsed onto the prior (kl below 0.1 nats): the decoder ignores z."
                f" Try {self.advice}."
            )


def evaluate_and_save(codec, test, iw_samples=0, evaluate=inference.evaluate, also=dict):
    """Scores a run on its test split, prints the scores and writes them to eval.json.

    Args:
        codec: `Codec` of the run.
        test: `Sequences`.
        iw_samples: K of iw_nll; 0 leaves it out.
        evaluate: function that scores a model, called as `inference.evaluate` is.
        also: function without arguments that returns more scores, a dict.

    Returns:
        dict of scores, see `inference.evaluate`.
    """
    started, run = time.monotonic(), codec.run
    if run.dry_run:
        test = test.first(2 * run.options["batch_size"])
    length = run.options["gen_length"]
    scores = evaluate(run.model, test, length, iw_samples, run.seed, run.console.phase)
    scores |= also()
    if scenes.are_text_of(run.options):
        run.console.phase("scores of the scenes")
        sentences = run.vocabulary.decode_all(test)
        bound = scores.get("iw_nll", scores.get("neg_elbo", scores["nll"]))
        scores |= truth.scores(codec, sentences, bound, run.dry_run)
    scores |= {"texts": len(test), "tokens": int(test.lengths.sum())}
    return run.save_scores(f"test split of {run.name} (nats per text)", scores, time.monotonic() - started)


def log_projector(run, valid, most=1000, means=None, title=None):
    """Writes posterior means for TensorBoard's projector, with the texts as labels, if the model has a latent space.

    The points can be colored by the number of tokens, by the labels, and on scenes by what a sentence says.

    Args:
        run: started `Run`.
        valid: `Sequences`.
        most: maximum number of texts.
        means: function of z_mean (n, *latent_shape) and the lengths of the texts that returns a point for each text,
            (n, dimensions); None uses all numbers of z_mean.
        title: title of a figure of the classes; None draws none.
    """
    if not run.model.has_latent:
        return
    part = valid.first(most)
    texts, columns = run.vocabulary.decode_all(part), {"tokens": part.lengths}
    z_mean, _ = inference.posteriors(run.model, part)
    points = means(z_mean, part.lengths) if means and len(part) else z_mean.reshape(len(part), -1)
    if run.options.get("labels"):
        for kind, (name, labels) in enumerate(run.options["labels"].items()):
            spelled = ["?", *(LANGUAGES.get(label, label) for label in labels)]
            columns[name] = [spelled[label] for label in part.labels[:, kind]]
        classes = columns[next(iter(run.options["labels"]))]
        if title and len(set(classes)) > 2:
            run.figure("latent_space", pictures.classes(points, classes, title), run.options["epochs"])
    if scenes.are_text_of(run.options):
        said = [scenes.grammar().factors(text) for text in texts]
        columns |= {name: [facts.get(name, "-") for facts in said] for name in sorted({n for f in said for n in f})}
    run.projector(points, texts, columns)


def talk(codec, args):
    """Answers each line of standard input with texts near it, or an empty line with samples from the prior.

    Args:
        codec: `Codec`.
        args: options, including num_samples, those for sampling and those in the codec's `extra_settings`.
    """
    run = codec.run
    extra_settings = {name: getattr(args, name) for name in codec.extra_settings}
    settings = sampling_settings(args, "beam") | extra_settings
    say_opened(run)
    near = "Type a text to see texts near it" if codec.has_latent else "This run has no latent space"
    for turn, line in enumerate(lines_of_input(f"{near}; an empty line draws new samples.")):
        text = line.strip()
        if not sys.stdin.isatty():
            print(">", text)
        z, how = codec.sample_prior(args.num_samples, seed=run.seed + turn), settings
        if text and codec.has_latent:
            note_unknown(run.vocabulary, text)
            try:
                z, more = codec.near(text, z, **extra_settings)
            except UserError as error:
                note(error)
                continue
            how = settings | more
        for answer in codec.decode(z, seed=run.seed + turn, **how):
            print("=>", answer, flush=True)


def interact(codec, corpus):
    """Opens a Python prompt with the codec, its run, model, vocabulary and corpus as variables."""
    run = codec.run
    names = {"codec": codec, "run": run, "model": run.model, "vocabulary": run.vocabulary, "corpus": corpus, "np": np}
    code.interact(f"Available: {', '.join(names)}. Try codec.sample(3).", local=names, exitmsg="")
