"""Writes sentences with a trained generator."""

import functools

from scriptorium.data.batches import Sequences
from scriptorium.data.vocabulary import UNK, strip_special
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import Compiled
from scriptorium.text_gan.generator import draw_noise

import keras
import numpy as np
from keras import ops

CHUNK = 250  # sentences that are written at once


@functools.cache
def _writer(generator, greedy, top_k, top_p, length):
    seed = keras.random.SeedGenerator(1)

    def write(inputs):
        noise, temperature = inputs

        def pick(logits, uniform):
            return sampling.sample_logits(logits / temperature, uniform, 0.0 if greedy else 1.0, top_k, top_p)

        uniform = keras.random.uniform((ops.shape(noise["style"])[0], length), seed=seed)
        return sampling.generate(generator.next, generator.start(noise), uniform, pick, scored=False)[0]

    return Compiled(write, generator, seed), seed


def temperature_of(options):
    """Returns the temperature of a run's sentences: 0 where its words are the likeliest ones, if no other is asked."""
    if options["temperature"] is not None:
        return options["temperature"]
    return 0.0 if options["feedback"] == "argmax" and options["mode"] != "mle" else 1.0


def settings_of(options):
    """Returns what `write` is told of the sampling by options, a dict."""
    return {name: options[name] for name in ("temperature", "top_k", "top_p")} | {"length": options["gen_length"]}


def write(run, n, *, temperature=None, top_k=0, top_p=1.0, seed=1, style_seed=None, length=None, generator=None):
    """Writes sentences.

    Args:
        run: opened `Run` with its model.
        n: how many.
        temperature: of the draws; None for that of the run, see `temperature_of`.
        top_k, top_p: see `sampling.filter_logits`.
        seed: int, for all that is random.
        style_seed: int that the noise of whole sentences is drawn from, the same for all; None draws each its own.
        length: words at most, the end counted; None for as many as the run's sentences may have.
        generator: None for that of the run.

    Returns:
        list of n lists of token ids, without the end.
    """
    generator = generator or run.model.writing
    temperature = temperature_of(run.options) if temperature is None else temperature
    compiled, seeds = _writer(
        generator, temperature <= 0, top_k, top_p, min(length or generator.positions, generator.positions)
    )
    seeds.state.assign(keras.random.SeedGenerator(seed).state)
    random, found, kind = np.random.default_rng(seed), [], run.options["noise"]
    shapes = generator.noise_shapes(min(n, CHUNK))
    while len(found) < n:
        noise = {name: draw_noise(shape, kind, random) for name, shape in shapes.items()}
        if style_seed is not None:
            style = draw_noise((1, *shapes["style"][1:]), kind, np.random.default_rng(style_seed))
            noise["style"] = np.repeat(style, len(noise["style"]), axis=0)
        scale = np.full((len(noise["style"]), 1), temperature or 1.0, "float32")
        found += [strip_special(row) for row in compiled.predict_on_batch((noise, scale))]
    return found[:n]


def as_text(run, samples):
    """Returns samples, lists of ids, as lists of tokens and as lines."""
    tokens = [[run.vocabulary.tokens[i] for i in ids] for ids in samples]
    return tokens, [run.vocabulary.decode(ids) for ids in samples]


def known(sequences):
    """Returns `util.Sequences` without those that have unknown words."""
    unknown = np.add.reduceat(sequences.ids == UNK, sequences.starts[:-1]) if len(sequences) else np.zeros(0)
    return Sequences.from_list([sequences[i] for i in np.flatnonzero(unknown == 0)])
