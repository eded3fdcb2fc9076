"""What demo.py offers for models with a latent space: walks, samples, reconstructions, maps, and names."""

import functools

from scriptorium import UserError
from scriptorium.data import scenes
from scriptorium.data.alphabets import alphabets
from scriptorium.data.labels import LANGUAGES
from scriptorium.names_vae.scores import TrainingNames
from scriptorium.vae import paths
from scriptorium.web.server import Fields
from scriptorium.web.tool import Tool

import numpy as np

TEXT = 300  # maximum characters of a text
MAP = 300  # texts on the map
EXAMPLES = 8  # texts to try
FACTORS = ("tense", "who", "verb", "place", "time")  # of scenes, by which the map can be colored


class Latent(Tool):
    """Interpolates, samples and reconstructs texts with a VAE, and maps their codes.

    Args:
        codec: `Codec`.
    """

    LENGTH = 40  # approximate characters of the example texts

    def __init__(self, codec):
        super().__init__(codec.run)
        self.codec = codec
        self.code_of = functools.lru_cache(256)(self._code_of)

    def about(self):
        return {"examples": self.examples}

    @functools.cached_property
    def examples(self):
        """EXAMPLES texts to try: about LENGTH characters long, in ASCII if possible, and likely under the model."""
        texts = sorted(self.plane[0], key=lambda text: (not text.isascii(), abs(len(text) - self.LENGTH)))[:24]
        likely = self.codec.score(texts, self.codec.encode(texts)[0])
        clearest = sorted(zip(likely / np.array([len(text) for text in texts]), texts, strict=True), reverse=True)
        return [text for _, text in clearest[:EXAMPLES]]

    def unknown_words(self, text):
        """Checks a typed text; returns the words that are not in the vocabulary."""
        if not self.run.vocabulary.split_prompt(text):
            raise UserError("Please enter some text.")
        return self.run.vocabulary.unknown(text)

    def _code_of(self, text):
        return self.codec.encode([text])[0][0]

    def write(self, z, shares=None, drawn=False, **more):
        settings = self.codec.walk_settings(np.zeros(len(z)) if shares is None else shares, drawn=drawn)
        return self.codec.decode(np.asarray(z, "float32"), **settings | more)

    def between(self, fields):
        """Decodes the text at a share of the walk between two texts."""
        texts = [fields.text(name, TEXT, least=1) for name in ("first", "second")]
        share = fields.number("share", 0, 1)
        fields.nothing_else()
        unknown = [word for text in texts for word in self.unknown_words(text)]
        ends = [self.code_of(text) for text in texts]
        z = paths.lerp(*ends, np.array([share]))
        return {"text": self.write(z, np.array([share]))[0], "unknown": list(dict.fromkeys(unknown))}

    def walk(self, fields):
        """Decodes texts at even distances between two texts, which are the ends; see docs/demo.md."""
        texts = [fields.text(name, TEXT, least=1) for name in ("first", "second")]
        points = fields.number("points", 1, 50, 7, int)
        fields.nothing_else()
        unknown = [word for text in texts for word in self.unknown_words(text)]
        shares = np.linspace(0, 1, points + 2)
        z = paths.lerp(*map(self.code_of, texts), shares)
        decoded, log_probs = self.write(z, shares, scores=True)
        decoded[0], decoded[-1] = texts
        log_probs = [*log_probs]
        log_probs[0], log_probs[-1] = self.codec.score(texts, z[[0, -1]])
        steps = [
            {"share": round(float(share), 4), "text": text, "log_prob": round(float(nats), 3), "x": x, "y": y}
            | {"valid": self.valid(text) if self.valid else None}
            for share, text, nats, (x, y) in zip(shares, decoded, log_probs, self.places(z), strict=True)
        ]
        return {"walk": steps, "unknown": list(dict.fromkeys(unknown))}

    def unprompted(self, count, seed, fields, **settings):
        """Samples texts from the prior; settings as for `Codec.decode`."""
        fields.nothing_else()
        more = settings | {"seed": seed} if settings else {}
        return self.write(self.codec.sample_prior(count, seed), np.zeros(count), drawn=True, **more)

    def reconstruct(self, fields):
        """Encodes a text, and decodes its code."""
        text = fields.text("text", TEXT, least=1)
        fields.nothing_else()
        unknown = self.unknown_words(text)
        return {"text": self.write(self.code_of(text)[None])[0], "unknown": unknown}

    @functools.cached_property
    def plane(self):
        """Some texts, their codes, and the plane in which they vary most: texts, codes (n, d), mean, axes (2, d)."""
        texts = self.texts()
        codes = self.codec.encode(texts)[0]
        flat = codes.reshape(len(codes), -1).astype("float64")
        middle = flat.mean(axis=0)
        _, _, axes = np.linalg.svd(flat - middle, full_matrices=False)
        return texts, flat, middle, axes[:2]

    def places(self, z):
        """Returns where codes lie on the map, a list of (x, y)."""
        _, _, middle, axes = self.plane
        return [(round(float(x), 4), round(float(y), 4)) for x, y in (z.reshape(len(z), -1) - middle) @ axes.T]

    def texts(self):
        """Returns validation texts, or samples from the prior if the corpus is no longer available."""
        run, texts = self.run, self.corpus.valid if self.corpus else []
        longest = run.options.get("max_length") or run.options.get("positions") or TEXT
        some = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(3 * MAP, len(texts))).astype(int)]

        def fits(text):
            return text.strip() and len(text) <= TEXT and len(run.vocabulary.split(text)) < longest

        some = [text for text in dict.fromkeys(some) if fits(text) and not run.vocabulary.unknown(text)]
        if len(some) < 20:
            # The model reads them again, so they may not be longer than it can read.
            z, most = self.codec.sample_prior(MAP, 1), max(1, min(longest - 1, run.options["gen_length"]))
            samples = dict.fromkeys(self.write(z, np.zeros(MAP), drawn=True, max_length=most))
            some = [text[:TEXT] for text in samples if fits(text[:TEXT])]
        return some[:MAP]

    def map(self, fields):
        """Returns the coordinates of some texts in the plane, a list of [text, x, y], and what can color them."""
        fields.nothing_else()
        texts, codes, _, _ = self.plane
        points = [[text, x, y] for text, (x, y) in zip(texts, self.places(codes), strict=True)]
        return {"points": points, "columns": self.columns(texts)}

    def columns(self, texts):
        """Returns what the texts of the map can be colored by: dict of name -> list of str."""
        if scenes.are_text_of(self.run.options):
            said = [scenes.grammar().factors(text) for text in texts]
            return {name: [facts.get(name, "none") for facts in said] for name in FACTORS}
        first = [(self.run.vocabulary.split(text) or ["-"])[0].lower() for text in texts]
        sizes = np.array([len(self.run.vocabulary.split(text)) for text in texts])
        edges = np.unique(np.quantile(sizes, [0.25, 0.5, 0.75]).astype(int))
        lengths = [f"up to {edges[i]} tokens" if i < len(edges) else "longer" for i in np.searchsorted(edges, sizes)]
        return {"first token": first, "length": lengths}

    def text_at(self, fields):
        """Decodes the text at a point of the plane: of the codes that lie there, the one most like that of a text.

        It differs from the nearest code in the two directions of the plane alone. A point whose other numbers are the
        mean of all codes is like no text.
        """
        place = np.array([fields.number(axis, -1e3, 1e3) for axis in ("x", "y")])
        fields.nothing_else()
        texts, codes, middle, axes = self.plane
        places = (codes - middle) @ axes.T
        nearest = int(np.argmin(np.sum(((places - place) / places.std(axis=0).clip(1e-9)) ** 2, axis=1)))
        z = (codes[nearest] + (place - places[nearest]) @ axes).reshape(1, *self.run.model.latent_shape)
        return {"text": self.write(z)[0], "near": texts[nearest]}

    def warm(self):
        """Runs everything once, so that no visitor has to wait for compilation."""
        first, second = self.examples[:2]
        self.walk(Fields({"first": first, "second": second}))
        for fields in ({"count": 1}, {"count": 8}):
            self.sample(Fields(fields))
        self.between(Fields({"first": first, "second": second, "share": 0.5}))


class Names(Latent):
    """Samples names of a language, near a name, or with a given beginning."""

    LENGTH = 8

    def __init__(self, codec):
        super().__init__(codec)
        self.labels = sorted(name for kind in codec.labels.kinds.values() for name in kind)

    def about(self):
        return super().about() | {"languages": self.labels}

    def columns(self, texts):
        columns = {"alphabet": [" ".join(sorted(alphabets(text))).capitalize() or "-" for text in texts]}
        if self.corpus is None or not self.corpus.labels:
            return columns
        labels = dict(zip(self.corpus.valid, self.corpus.labels["valid"], strict=True))
        named = [labels.get(text, "-").split("\t")[0] for text in texts]
        return {"language": [LANGUAGES.get(label, label) for label in named]} | columns

    @functools.cached_property
    def known(self):
        return TrainingNames(self.corpus.train) if self.corpus else None

    def names(self, fields):
        """Samples names, with the nearest training name of each."""
        count, seed = fields.number("count", 1, 1000, 12, int), fields.seed()
        most = self.run.options["positions"] - 1
        anchor, prefix = fields.text("anchor", most, ""), fields.text("prefix", most, "")
        radius = fields.number("radius", 0, 5, 1.0)
        label = fields.among("language", ["", *self.labels], "")
        fields.nothing_else()
        temperature = 0.0 if anchor else self.run.options["temperature"]
        settings = {"label": label or None, "anchor": anchor or None, "radius": radius, "prefix": prefix}
        names = self.codec.sample(count, seed, temperature=temperature, **settings)
        near = self.known.nearest(names) if self.known else [(None, None)] * count
        rows = [{"name": n, "nearest": near_n, "distance": d} for n, (near_n, d) in zip(names, near, strict=True)]
        return {"names": rows, "unknown": self.run.vocabulary.unknown(anchor + prefix)}

    def warm(self):
        super().warm()
        name = self.examples[0][: self.run.options["positions"] - 1]
        for fields in ({}, {"count": 1000}, {"anchor": name}, {"prefix": name[:2]}):
            self.names(Fields(fields))
