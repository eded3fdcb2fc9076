"""Scores a VAE of names, which has latents at each position and perhaps a learned prior.

In addition to the functions in `inference.py`, the model provides `log_prior` and `encode_prefix`.
"""

import collections

from scriptorium.data import corpora
from scriptorium.data.vocabulary import strip_special
from scriptorium.names_vae.codec import draw, in_batches, prior_draws
from scriptorium.scores import metrics
from scriptorium.vae import inference

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

BEAM = 5  # hypotheses of exact_match_beam


def guesses(model, sequences, lengths, size=256):
    """Infers z_mean and z_log_var, float32 (n, *latent_shape), from prefixes of `lengths` (n,)."""
    both, function = (
        np.zeros((2, len(sequences), *model.latent_shape), "float32"),
        inference.compiled_method(model, "encode_prefix"),
    )
    for i in range(0, len(sequences), size):
        rows = np.arange(i, min(i + size, len(sequences)))
        inputs = sequences.inputs(rows, model.latent_shape[0])
        both[:, rows] = function.predict_on_batch((inputs, lengths[rows].astype("int32")))
    return both


def evaluate(model, sequences, max_length, iw_samples=0, seed=1, progress=inference.silent):
    """Scores a model on names; see `inference.evaluate` and docs/names_vae.md."""
    tokens = int(sequences.lengths.sum())
    progress("the bound")
    if not model.has_latent:
        nll = inference.nll_of_each(model, sequences, np.zeros((len(sequences), *model.latent_shape), "float32"))
        return {"nll": float(nll.mean()), "nats_per_char": float(nll.sum() / tokens)}
    inside = np.arange(model.latent_shape[0])[None] < sequences.lengths[:, None]
    z_mean, z_log_var = inference.posteriors(model, sequences)
    labels = sequences.labels
    prior = prior_draws(model, labels, (seed, 2))
    # After the end of a name the posterior is the prior.
    z = prior_draws(model, labels, (seed, 2), draw(z_mean, z_log_var, seed), sequences.lengths)
    nll = inference.nll_of_each(model, sequences, z)
    log_prior = in_batches(model, "log_prior", z, labels)
    squares = (z - z_mean) ** 2 * np.exp(-z_log_var)
    log_posterior = -0.5 * np.sum(np.log(2 * np.pi) + z_log_var + squares, axis=-1)
    kl = np.sum(inside * (log_posterior - log_prior), axis=1)
    bound = nll + kl
    scores = {"neg_elbo": float(bound.mean()), "nll": float(nll.mean()), "kl": float(kl.mean())}
    if iw_samples:
        bound = inference.importance_weighted_nll(
            model, sequences, z_mean, z_log_var, iw_samples, seed, progress=progress
        )
        scores |= {"iw_nll": float(bound.mean()), "iw_samples": iw_samples}
    scores["nats_per_char"] = float(bound.sum() / tokens)
    progress("mutual information and reconstructions")
    flat = [a.reshape(len(a), -1) for a in (z, z_mean, z_log_var, np.broadcast_to(inside[..., None], z.shape))]
    # At positions that the other name does not have, its posterior is the prior given its labels.
    rest = np.zeros((len(z), len(z)), "float32")
    for given in np.unique(labels, axis=0):
        of, each = (
            np.all(labels == given, axis=1),
            in_batches(model, "log_prior", z, np.broadcast_to(given, labels.shape)),
        )
        after = np.cumsum(each[:, ::-1], axis=1)[:, ::-1]
        rest[:, of] = np.pad(after, [(0, 0), (0, 1)])[:, sequences.lengths[of]]
    scores["mutual_information"] = metrics.mutual_information(*flat[:3], given=flat[3], log_rest=rest)
    scores["active_units"] = active_units(z_mean, inside)
    if model.prefix_encoder:
        lengths = np.floor(np.random.default_rng(seed).random(len(sequences)) * sequences.lengths)
        guessed = draw(*guesses(model, sequences, lengths), seed)
        scores["nll_from_prefix"] = float(inference.nll_of_each(model, sequences, guessed).mean())
    scores["nll_from_prior"] = float(inference.nll_of_each(model, sequences, prior).mean())
    forced = np.zeros((len(z), model.latent_shape[0]), "int32")
    means = prior_draws(model, labels, (seed, 2), z_mean, sequences.lengths)
    start = {"z": means, "labels": labels, "forced": forced}
    references = [strip_special(sequences[i]) for i in range(len(sequences))]
    for name, beam in (("exact_match", 1), ("exact_match_beam", BEAM)):
        written = [strip_special(ids) for ids in inference.write(model, start, max_length, beam=beam)[0]]
        scores[name] = metrics.exact_match(references, written)
    return scores


def active_units(z_mean, inside):
    """Returns how many numbers of z have a variance of at least `ACTIVE_VARIANCE` over the names with that position."""
    seen = inside.sum(axis=0).clip(1)[:, None]
    mean = np.sum(z_mean * inside[..., None], axis=0) / seen
    variance = np.sum((z_mean - mean) ** 2 * inside[..., None], axis=0) / seen
    return int(np.sum(variance >= metrics.ACTIVE_VARIANCE))


class TrainingNames:
    """The names of a training split: says whether a name is new, and which training name is nearest.

    Args:
        names: sequence of str.
    """

    def __init__(self, names):
        self.names = list(dict.fromkeys(names))
        self.seen = set(self.names)

    def nearest(self, names):
        """Returns the nearest training name of each name and its edit distance: a list of (str, int)."""
        pairs = []
        for i in range(0, len(names), 256):
            distances = process.cdist(names[i : i + 256], self.names, scorer=Levenshtein.distance, dtype=np.uint16)
            places = distances.argmin(axis=1)
            pairs += [(self.names[p], int(row[p])) for p, row in zip(places, distances, strict=True)]
        return pairs

    def describe(self, names):
        """Returns each name with "seen", or "new" and its nearest name and edit distance, as a list of str."""
        return [
            f"{name}  (new; {nearest}: {distance})" if distance else f"{name}  (seen)"
            for name, (nearest, distance) in zip(names, self.nearest(names), strict=True)
        ]

    def novelty(self, names):
        """Returns the share of distinct names and the share of names that are not in the training split."""
        counts = collections.Counter(names)
        return {
            "unique": len(counts) / max(1, len(names)),
            "new": sum(name not in self.seen for name in names) / max(1, len(names)),
        }


def training_names(run):
    """Returns `TrainingNames` of the names that a run was trained on, or None if they can no longer be read."""
    corpus = corpora.reload_or_none(run.options, run.config["corpus"].get("fingerprint"))
    return TrainingNames(corpus.train) if corpus else None
