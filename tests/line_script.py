"""A script whose latent space is a line, and runs of it, for tests of what opens the runs of any script."""

import types
from pathlib import Path

from scriptorium.command_line import Parser, bounded
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.vae.codec import Codec

import keras
import numpy as np
from helpers import write_run

TEXTS = ["a cat sees me .", "a cat sees you .", "a dog sees you .", "a dog likes you .", "the dog likes you ."]


class Line(types.ModuleType):
    """Takes the place of names_vae.py: text i lies at (i, 1), and a point is decoded as the nearest text.

    `asked` lists what was decoded: (z, settings).
    """

    def __init__(self):
        super().__init__("names_vae")
        self.asked = []

    def parse_args(self, argv):
        parser = Parser("names_vae", "A line.")
        for flag, default in (("--units", 8), ("--latent-dim", 2)):
            parser.group("model")(flag, type=bounded(int, 1), default=default)
        return parser.parse(argv)

    def build(self, options, vocabulary):
        return keras.layers.Layer()

    def NamesCodec(self, run):
        return LineCodec(run, self.asked)


class LineCodec(Codec):
    def __init__(self, run, asked):
        super().__init__(run)
        self.asked = asked

    def encode(self, texts):
        known = [tuple(self.run.vocabulary.split(text)) for text in TEXTS]
        asked = [tuple(self.run.vocabulary.split(text)) for text in texts]
        z = np.array([[known.index(text) if text in known else 0, 1] for text in asked], "float32")
        return z, 0 * z

    def decode(self, z, **settings):
        self.asked.append((z, settings))
        texts = [TEXTS[int(np.clip(np.round(place), 0, 4))] for place in z[:, 0]]
        return texts, np.arange(len(texts)) - 10.0

    def score(self, texts, z):
        return np.array([-1.0, -2.0])

    def sample_prior(self, n, seed=1):
        return np.random.default_rng(seed).uniform(0, 4, (n, 2)).astype("float32")


def make_run(logdir, script="names_vae", name="line", corpus=None, vocabulary=None, weights=True, **options):
    """Makes the directory of a trained run."""
    directory = Path(logdir) / script / name
    vocabulary = vocabulary or Vocabulary.build(TEXTS, "word")
    corpus = corpus or {"name": "toy", "fingerprint": "", "description": "toy texts"}
    options = {"units": 8, "latent_dim": 2, "word_dropout": 0.25, **options}
    write_run(directory, script, options, vocabulary, corpus, keras.layers.Layer() if weights else None)
    return directory
