"""Writes sentences with a trained generator."""

import functools

from scriptorium import UserError
from scriptorium.data.batches import Sequences
from scriptorium.data.corpora import describe
from scriptorium.data.vocabulary import UNK, strip_special
from scriptorium.decoding import sampling
from scriptorium.decoding.settings import sampling_settings
from scriptorium.nn.compiled import Compiled
from scriptorium.text_gan.noise import numpy_noise

import keras
import numpy as np
from keras import ops

CHUNK = 250  # sentences written at once
LIKELIHOOD = "likelihood.safetensors"  # the weights after training by likelihood, before the critic came


@functools.cache
def _writer(generator, greedy, top_k, top_p, length):
    seed = keras.random.SeedGenerator(1)

    def write(inputs):
        noise, temperature = inputs

        def pick(logits, uniform):
            if greedy:
                return sampling.sample_logits(logits, uniform, 0.0)
            # The temperature is a tensor, so that another one needs no compilation.
            return sampling.sample_logits(sampling.filter_logits(logits, temperature), uniform, 1.0, top_k, top_p)

        uniform = keras.random.uniform((ops.shape(noise["style"])[0], length), seed=seed)
        return sampling.generate(generator.step, generator.start(noise), uniform, pick, scored=False)[0]

    return Compiled(write, generator, seed), seed


def temperature_of(options):
    """Returns the temperature for sampling: the one requested, else 0 for a run with --feedback argmax, else 1."""
    if options["temperature"] is not None:
        return options["temperature"]
    return 0.0 if options["feedback"] == "argmax" and options["mode"] != "mle" else 1.0


def settings_of(options):
    """Returns the arguments of `write` from options, a dict; options as for `sampling_settings`."""
    settings = sampling_settings(options, "gen_length")
    return settings | {"length": settings.pop("gen_length")}


def write(run, n, *, temperature=None, top_k=0, top_p=1.0, seed=1, style_seed=None, length=None, generator=None):
    """Samples sentences.

    Args:
        run: opened `Run` with its model.
        n: number of sentences.
        temperature: sampling temperature; None for the run's, see `temperature_of`.
        top_k, top_p: see `sampling.filter_logits`.
        seed: int, for all random numbers.
        style_seed: int, seed of one style noise that all sentences share; None draws one per sentence.
        length: maximum number of words, including the end; None for the run's maximum.
        generator: the generator to use; None for the run's.

    Returns:
        list of n lists of token ids, without the end.
    """
    generator = generator or run.model.sampling_generator
    temperature = temperature_of(run.options) if temperature is None else temperature
    compiled, seeds = _writer(
        generator, temperature <= 0, top_k, top_p, min(length or generator.positions, generator.positions)
    )
    seeds.state.assign(keras.random.SeedGenerator(seed).state)
    random, samples, kind = np.random.default_rng(seed), [], generator.noise_kind
    shapes = generator.noise_shapes(min(n, CHUNK))
    while len(samples) < n:
        noise = {name: numpy_noise(shape, kind, random) for name, shape in shapes.items()}
        if style_seed is not None:
            style = numpy_noise((1, *shapes["style"][1:]), kind, np.random.default_rng(style_seed))
            noise["style"] = np.repeat(style, len(noise["style"]), axis=0)
        scale = np.full((len(noise["style"]), 1), temperature or 1.0, "float32")
        samples += [strip_special(row) for row in compiled.predict_on_batch((noise, scale))]
    return samples[:n]


def as_text(run, samples):
    """Returns samples, lists of ids, as lists of tokens and as lines of text."""
    tokens = [[run.vocabulary.tokens[i] for i in ids] for ids in samples]
    return tokens, [run.vocabulary.decode(ids) for ids in samples]


def without_unknown(sequences):
    """Returns the `Sequences` that have no unknown words."""
    unknown = np.add.reduceat(sequences.ids == UNK, sequences.starts[:-1]) if len(sequences) else np.zeros(0)
    kept = Sequences.from_list([sequences[i] for i in np.flatnonzero(unknown == 0)])
    kept.changes = sequences.changes | {"with unknown words left out": len(sequences) - len(kept)}
    return kept


def drop_unknown(corpus, splits):
    """Returns the splits, dict of `Sequences`, without unknown words, and updates the description."""
    splits = {name: without_unknown(split) for name, split in splits.items()}
    corpus.description = describe(corpus, splits)
    return splits


def check_sizes(splits, batch_size):
    """Raises `UserError` if texts without unknown words are too few: in train fewer than a batch, else none."""
    for name, sequences in splits.items():
        if len(sequences) < (batch_size if name == "train" else 1):
            raise UserError(
                f"only {len(sequences)} {name} texts have no unknown word; raise --top-words, use --unknown keep"
                + (", or lower --batch-size" if len(sequences) else "")
            )


def load_likelihood_generator(run, build):
    """Returns the generator of a run as it was after training by likelihood, or None if there was no such phase.

    Args:
        run: opened `Run`.
        build: the script's function that builds a model from options and vocabulary.
    """
    if run.dry_run or not (run.directory / LIKELIHOOD).exists():
        return None
    model = build(run.options, run.vocabulary)
    run.load_weights(LIKELIHOOD, model)
    return model.sampling_generator


class Sampler:
    """Samples from a trained text GAN.

    Args:
        run: opened `Run` with its model.
        build: the script's function that builds a model.
    """

    def __init__(self, run, build):
        self.run, self.build = run, build

    @functools.cached_property
    def likelihood(self):
        """The generator as it was after training by likelihood, or None if the run has not kept it."""
        return load_likelihood_generator(self.run, self.build)

    def sample(self, n=1, seed=1, **settings):
        """Samples n sentences, list of str; settings: temperature, top_k, top_p, style_seed, length, see `write`."""
        return as_text(self.run, write(self.run, n, seed=seed, **settings))[1]
