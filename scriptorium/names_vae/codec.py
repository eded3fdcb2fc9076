"""Encodes names, samples latents, decodes names.

Shapes of the numpy arrays: labels (n, kinds), z (n, positions, 2 * latent_dim).
"""

from scriptorium import UserError
from scriptorium.data import corpora
from scriptorium.data.alphabets import alphabets
from scriptorium.data.batches import encode_texts
from scriptorium.data.labels import UNKNOWN, Labels
from scriptorium.data.vocabulary import PAD, UNK
from scriptorium.vae import inference
from scriptorium.vae.codec import Codec

import keras
import numpy as np

MOST_MIXED = 0.001  # share of training names of several alphabets, up to which names are written in one
PRIOR_SCALE = 0.66  # of samples from the prior, in its standard deviations
GUIDANCE = 0.5  # for samples with a label
SEARCH_STEPS, STEP_SIZE = 128, 0.2  # random steps to a name's best code, and their size in deviations of the posterior


def labels_of(run):
    return Labels(run.options["labels"])


def classes_of(run, corpus):
    """Returns the classes of every text, dict of split -> int32 (texts, kinds).

    A new run collects its labels here, and notes whether each name keeps to one alphabet.
    """
    train = corpus.labels and corpus.labels["train"]
    if run.is_new and "labels" not in run.options:
        run.options["labels"] = Labels.of(train).kinds
        rows = labels_of(run).encode_all(train, len(corpus.train))
        classes, counts = np.unique(rows, axis=0, return_counts=True)
        rows_and_counts = zip(classes.tolist(), counts.tolist(), strict=True)
        run.options["label_counts"] = [[*row, count] for row, count in rows_and_counts]
        mixed = sum(len(alphabets(name)) > 1 for name in corpus.train)
        run.options["one_alphabet"] = mixed <= MOST_MIXED * len(corpus.train)
    labels = corpus.labels or {}
    return {
        split: labels_of(run).encode_all(labels.get(split), len(getattr(corpus, split))) for split in corpora.SPLITS
    }


def mean_latents(z_mean, lengths):
    """Returns one point per name: the mean of the latents at its positions, (n, 2 * latent_dim)."""
    return z_mean.sum(axis=1) / lengths[:, None]


def label_embeddings(layer):
    """Returns the layers of an encoder, decoder or prior that depend on the labels of a run, not on its names."""
    return layer.here.labels if hasattr(layer, "here") else layer.inputs.context.labels


class NamesCodec(Codec):
    """Encodes, decodes and samples with a trained VAE of names."""

    def __init__(self, run):
        super().__init__(run)
        self.labels, self.positions = labels_of(run), run.options["positions"]

    def read(self, texts):
        """Returns `Sequences` of typed names, `label<TAB>name` or the name alone."""
        pairs = [text.rpartition("\t") for text in texts]
        labels = self.labels.encode_all([label for label, _, _ in pairs], len(pairs))
        names = (name for _, _, name in pairs)
        return self.short_enough(encode_texts(names, self.run.vocabulary, prompt=True, labels=labels))

    def posteriors(self, texts):
        """Returns the names, `Sequences`, and z_mean and z_log_var of their posteriors."""
        names = self.read(texts)
        return names, *super().encode(texts)

    def encode(self, texts):
        """Encodes names: z_mean and z_log_var of their posteriors, float32 (n, positions, 2 * latent_dim) each.

        After the end of a name there is no posterior: z_mean is a draw from the prior, with the same noise for all.
        """
        names, z_mean, z_log_var = self.posteriors(texts)
        unknown = self.labels.encode_all(None, len(z_mean))
        rest = {"shared_noise": True, "scale": PRIOR_SCALE}
        return prior_draws(self.run.model, unknown, 0, z_mean, names.lengths, **rest), z_log_var

    def encode_prefix(self, prefix, labels, n):
        """Returns z_mean and z_log_var, float32 (n, positions, 2 * latent_dim), that the prefix encoder infers."""
        ids = np.full((1, self.positions), UNK, "int32")
        ids[0, : len(prefix)] = self.run.vocabulary.encode(prefix, prompt=True)
        inputs = {"ids": ids, "labels": np.array([labels], "int32")}, np.array([len(prefix)], "int32")
        latents = inference.compiled_method(self.run.model, "encode_prefix").predict_on_batch(inputs)
        return [np.repeat(values, n, axis=0) for values in latents]

    def decode(self, z, *, labels=None, prefix="", max_length=None, scores=False, **settings):
        """Decodes a name from each z; see `Codec.decode`.

        Args:
            labels: classes for all names, list of int, or for each, int (n, kinds); None leaves them unknown.
            prefix: what all names begin with.

        Returns:
            list of n str; with `scores` also log p(name|z) in nats, float (n,), without the prefix.
        """
        n, positions = len(z), self.positions
        forced = np.full((n, positions), PAD, "int32")
        beginning = self.run.vocabulary.encode(prefix, prompt=True)[: positions - 1]
        forced[:, : len(beginning)] = np.where(beginning == UNK, PAD, beginning)
        labels = np.array(self.labels.encode("") if labels is None else labels, "int32")
        labels = np.broadcast_to(labels, (n, labels.shape[-1]))
        start = {"z": np.asarray(z, "float32"), "labels": labels, "forced": forced}
        length = min(max_length or positions, positions)
        ids, log_probs = inference.write(self.run.model, start, length, **settings)
        names = [self.run.vocabulary.decode(row) for row in ids]
        return (names, log_probs) if scores else names

    def sample_prior(self, n, seed=1, labels=None, scale=PRIOR_SCALE):
        """Returns n draws from the prior, given labels (n or 1, kinds) or none: float32 (n, positions, 2 * latent_dim).

        `scale` multiplies the standard deviations: 1 is the prior itself, and less gives more likely names.
        """
        labels = self.labels.encode_all(None, 1) if labels is None else labels
        labels = np.broadcast_to(labels, (n, np.shape(labels)[1]))
        return prior_draws(self.run.model, labels, seed, scale=scale)

    def near(self, text, normal):
        """Returns codes near a name, drawn from its posterior and, after its end, from the prior; see `Codec.near`."""
        label, _, name = text.rpartition("\t")
        labels = self.labels_near(name, self.labels.encode(label))
        z = self.sample_near([f"{self.labels.text(labels)}\t{name}"], 1.0, times=len(normal))
        return z, {"labels": labels}

    def sample(
        self, n=1, seed=1, *, label=None, anchor=None, radius=1.0, prefix="", prior_scale=PRIOR_SCALE,
        guidance=GUIDANCE, **settings,
    ):  # fmt: skip
        """Samples n names: with a label, near an anchor, with a given beginning, or any.

        Args:
            n: number of names.
            seed: int.
            label: a label, or several separated by commas. Kinds without a label are read from the anchor, left unknown
                with a prefix, or else drawn as often as in training.
            anchor: a name, whose posterior replaces the prior.
            radius: distance from the anchor in deviations of its posterior, see `sample_near`.
            prefix: beginning of the names; the latents that the prefix encoder infers from it replace the prior.
            prior_scale: see `sample_prior`; also scales the draw from the prefix encoder.
            guidance: toward the label, see `guide`.
            settings: see `decode`.

        Raises:
            UserError: an unknown label, or an anchor or a prefix that is too long.
        """
        labels = self.labels.parse(label) if label else self.labels.encode("")
        for what, text in (("anchor", anchor or ""), ("prefix", prefix)):
            if len(text) >= self.positions:
                most = self.positions - 1
                raise UserError(f"the {what} has {len(text)} characters; names of {self.run.name} have at most {most}")
        if anchor:
            labels = self.labels_near(anchor, labels)
            z = self.sample_near([f"{self.labels.text(labels)}\t{anchor}"], radius, seed, times=n)
        elif prefix and self.has_latent and self.run.model.prefix_encoder:
            z = draw(*self.encode_prefix(prefix, labels, n), (seed, 1), prior_scale)
        else:
            labels = self.draw_labels(n, labels, seed)
            z = self.sample_prior(n, seed, labels, prior_scale)
            z = self.guide(z, labels, guidance) if label else z
        return self.decode(z, labels=labels, prefix=prefix, seed=seed, **settings)

    def labels_near(self, anchor, labels):
        """Returns labels, list of int; an unknown one is the class that the supervisor reads from an anchor's code."""
        head = self.run.model.heads.get("z")
        if not head or UNKNOWN not in labels:
            return labels
        names, z_mean, _ = self.posteriors([f"{self.labels.text(labels)}\t{anchor}"])
        mask = np.arange(z_mean.shape[1])[None] < names.lengths[:, None]
        guesses = (1 + int(np.argmax(keras.ops.convert_to_numpy(logits)[0, 1:])) for logits in head(z_mean, mask))
        return [known or guess for known, guess in zip(labels, guesses, strict=True)]

    def draw_labels(self, n, labels, seed=1):
        """Draws the classes of n names, int (n, kinds), from those training names that match `labels`."""
        rows = np.array(self.run.options.get("label_counts") or [[*labels, 1]])
        fitting = rows[np.all((rows[:, :-1] == labels) | (np.array(labels) == UNKNOWN), axis=1)]
        if not len(fitting):
            return np.tile(labels, (n, 1))
        shares = fitting[:, -1] / fitting[:, -1].sum()
        return np.random.default_rng((seed, 3)).choice(fitting[:, :-1], n, p=shares)

    def guide(self, z, labels, guidance=GUIDANCE):
        """Moves z from the prior's mean without labels toward its mean with them.

        This is classifier-free guidance (Ho and Salimans 2022), applied to the mean of each number of z.

        Args:
            z: float32 (n, positions, 2 * latent_dim), drawn with the labels.
            labels: int (n, kinds).
            guidance: factor on the difference of the two means.
        """
        if not self.has_latent or not guidance:
            return z
        labels = np.asarray(labels, "int32")
        both = labels, np.full_like(labels, UNKNOWN)
        return z + guidance * np.subtract(*(in_batches(self.run.model, "expected", z, given) for given in both))

    def refine_code(self, names, z_mean, z_log_var, seed=1):
        """Returns a code for each name, in the shape of z_mean, at which the name is more likely than at z_mean.

        An amortized encoder does not find the best code of each name (Cremer et al. 2018). The search starts at the
        mean, moved twice as far from the prior's mean, tries `SEARCH_STEPS` random steps and keeps those that raise
        p(name|z).

        Args:
            names: `Sequences`.
        """
        model, random = self.run.model, np.random.default_rng(seed)
        z = 2 * z_mean - in_batches(model, "expected", z_mean, names.labels)
        nll = inference.nll_of_each(model, names, z)
        for _ in range(SEARCH_STEPS):
            other = z + STEP_SIZE * np.exp(0.5 * z_log_var) * random.standard_normal(z.shape[1:], "float32")
            other_nll = inference.nll_of_each(model, names, other)
            better = other_nll < nll
            z[better], nll[better] = other[better], other_nll[better]
        return z

    def sample_near(self, texts, radius, seed=1, times=1):
        """Draws a z near each name, from its posterior scaled by `radius` and, after its end, from the prior.

        As the radius falls from 1 to 0, the center of the draws moves from the posterior mean to the code that
        reconstructs the name most reliably (`refine_code`).

        Returns:
            float32 (n * times, positions, 2 * latent_dim): all draws for the first name, then for the next.
        """
        names, z_mean, z_log_var = self.posteriors(texts)
        if radius < 1:
            z_mean += (1 - radius) * (self.refine_code(names, z_mean, z_log_var) - z_mean)
        middle, z_log_var, labels, lengths = (
            np.repeat(values, times, axis=0) for values in (z_mean, z_log_var, names.labels, names.lengths)
        )
        near = draw(middle, z_log_var, (seed, 1), radius)
        return prior_draws(self.run.model, labels, seed, near, lengths, scale=PRIOR_SCALE)


def prior_draws(model, labels, seed, z=None, lengths=0, shared_noise=False, scale=1.0):
    """Draws from the prior of a model, also given the first positions of z.

    Args:
        model: NamesVAE.
        labels: int (n, kinds).
        seed: int or tuple of int.
        z: float32 (n, *latent_shape), kept at the first `lengths` positions; None to draw all positions.
        lengths: int or int (n,).
        shared_noise: whether all n use the same random numbers.
        scale: factor on the standard deviations.

    Returns:
        float32 (n, *latent_shape).
    """
    shape = (len(labels), *model.latent_shape)
    u = np.random.default_rng(seed).standard_normal((1, *shape[1:]) if shared_noise else shape, "float32")
    u = np.broadcast_to(scale * u, shape)
    z = np.zeros(shape, "float32") if z is None else z
    known = np.broadcast_to(np.arange(shape[1])[None] < np.reshape(lengths, (-1, 1)), shape[:2])
    learned = model.has_latent and model.prior
    return model.prior.inverse(u, labels, z, known) if learned else np.where(known[..., None], z, u)


def draw(z_mean, z_log_var, seed, radius=1.0):
    """Returns a draw from each Gaussian, float32, with its standard deviation times `radius`."""
    epsilon = np.random.default_rng(seed).standard_normal(z_mean.shape, "float32")
    return z_mean + radius * np.exp(0.5 * z_log_var) * epsilon


def in_batches(model, name, *arrays, size=256):
    """Applies a method of a model to arrays (n, ...), `size` rows at a time."""
    function = inference.compiled_method(model, name)
    parts = [function.predict_on_batch(tuple(a[i : i + size] for a in arrays)) for i in range(0, len(arrays[0]), size)]
    return np.concatenate(parts)
