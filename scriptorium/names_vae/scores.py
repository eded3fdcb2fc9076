"""Scores of a VAE of names, whose latents stand a position apart and whose prior may be learnt.

Besides what `inference.py` asks of a model it has `log_prior` and `guess`.
"""

import collections

from scriptorium.data import corpora
from scriptorium.data.vocabulary import strip_special
from scriptorium.names_vae.codec import drawn, in_batches, prior_draws
from scriptorium.scores import metrics
from scriptorium.vae import inference

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

BEAM = 5  # hypotheses of exact_match_beam


def guesses(model, sequences, lengths, size=256):
    """Returns z_mean and z_log_var, float32 (n, *latent_shape), by the prefix encoder from the first `lengths` (n,)."""
    both, function = np.zeros((2, len(sequences), *model.latent_shape), "float32"), inference.compiled(model, "guess")
    for i in range(0, len(sequences), size):
        rows = np.arange(i, min(i + size, len(sequences)))
        inputs = sequences.inputs(rows, model.latent_shape[0])
        both[:, rows] = function.predict_on_batch((inputs, lengths[rows].astype("int32")))
    return both


def evaluate(model, sequences, max_length, iw_samples=0, seed=1, progress=None):
    """Scores a model on names; see `inference.evaluate` and docs/names_vae.md."""
    tokens = int(sequences.lengths.sum())
    if model.options["no_latent"]:
        nll = inference.likelihoods(model, sequences, np.zeros((len(sequences), *model.latent_shape), "float32"))
        return {"nll": float(nll.mean()), "nats_per_char": float(nll.sum() / tokens)}
    inside = np.arange(model.latent_shape[0])[None] < sequences.lengths[:, None]
    z_mean, z_log_var = inference.posteriors(model, sequences)
    labels = sequences.labels
    prior = prior_draws(model, labels, (seed, 2))
    # Behind a name the posterior is the prior.
    z = prior_draws(model, labels, (seed, 2), drawn(z_mean, z_log_var, seed), sequences.lengths)
    nll = inference.likelihoods(model, sequences, z)
    log_prior = in_batches(model, "log_prior", z, labels)
    squares = (z - z_mean) ** 2 * np.exp(-z_log_var)
    log_posterior = -0.5 * np.sum(np.log(2 * np.pi) + z_log_var + squares, axis=-1)
    kl = np.sum(inside * (log_posterior - log_prior), axis=1)
    bound = nll + kl
    scores = {"neg_elbo": float(bound.mean()), "nll": float(nll.mean()), "kl": float(kl.mean())}
    if iw_samples:
        bound = inference.importance_weighted(model, sequences, z_mean, z_log_var, iw_samples, seed, progress=progress)
        scores |= {"iw_nll": float(bound.mean()), "iw_samples": iw_samples}
    scores["nats_per_char"] = float(bound.sum() / tokens)
    flat = [a.reshape(len(a), -1) for a in (z, z_mean, z_log_var, np.broadcast_to(inside[..., None], z.shape))]
    # What is drawn at a position that another name does not have is as likely there as under the prior of its labels.
    rest = np.zeros((len(z), len(z)), "float32")
    for told in np.unique(labels, axis=0):
        of, each = (
            np.all(labels == told, axis=1),
            in_batches(model, "log_prior", z, np.broadcast_to(told, labels.shape)),
        )
        behind = np.cumsum(each[:, ::-1], axis=1)[:, ::-1]
        rest[:, of] = np.pad(behind, [(0, 0), (0, 1)])[:, sequences.lengths[of]]
    scores["mutual_information"] = metrics.mutual_information(*flat[:3], given=flat[3], log_rest=rest)
    scores["active_units"] = active_units(z_mean, inside)
    if model.prefix_encoder:
        lengths = np.floor(np.random.default_rng(seed).random(len(sequences)) * sequences.lengths)
        guessed = drawn(*guesses(model, sequences, lengths), seed)
        scores["nll_from_prefix"] = float(inference.likelihoods(model, sequences, guessed).mean())
    scores["nll_from_prior"] = float(inference.likelihoods(model, sequences, prior).mean())
    forced = np.zeros((len(z), model.latent_shape[0]), "int32")
    means = prior_draws(model, labels, (seed, 2), z_mean, sequences.lengths)
    start = {"z": means, "labels": labels, "forced": forced}
    wanted = [strip_special(sequences[i]) for i in range(len(sequences))]
    for name, beam in (("exact_match", 1), ("exact_match_beam", BEAM)):
        written = [strip_special(ids) for ids in inference.write(model, start, max_length, beam=beam)[0]]
        scores[name] = metrics.exact_match(wanted, written)
    return scores


def active_units(z_mean, inside):
    """Returns how many numbers of z vary by at least `ACTIVE_VARIANCE` over the names that have their position."""
    seen = inside.sum(axis=0).clip(1)[:, None]
    mean = np.sum(z_mean * inside[..., None], axis=0) / seen
    variance = np.sum((z_mean - mean) ** 2 * inside[..., None], axis=0) / seen
    return int(np.sum(variance >= metrics.ACTIVE_VARIANCE))


class Known:
    """The names of a training split, to say of a name whether it is one of them, else which is nearest.

    Args:
        names: sequence of str.
    """

    def __init__(self, names):
        self.names = list(dict.fromkeys(names))
        self.seen = set(self.names)

    def nearest(self, names):
        """Returns the training name that is nearest to each name, and how many edits away: a list of (str, int)."""
        found = []
        for i in range(0, len(names), 256):
            distances = process.cdist(names[i : i + 256], self.names, scorer=Levenshtein.distance, dtype=np.uint16)
            places = distances.argmin(axis=1)
            found += [(self.names[p], int(row[p])) for p, row in zip(places, distances, strict=True)]
        return found

    def describe(self, names):
        """Returns each name with "seen", or "new" and its nearest name and edit distance, as a list of str."""
        return [
            f"{name}  (new; {nearest}: {distance})" if distance else f"{name}  (seen)"
            for name, (nearest, distance) in zip(names, self.nearest(names), strict=True)
        ]

    def shares(self, names):
        """Returns the shares of `names` that are different from each other and that are in no training text."""
        counts = collections.Counter(names)
        return {
            "unique": len(counts) / max(1, len(names)),
            "new": sum(name not in self.seen for name in names) / max(1, len(names)),
        }


def known_names(run):
    """Returns `Known` of the names that a run learnt from, None where they are not there any more."""
    corpus = corpora.if_there(run.options)
    return Known(corpus.train) if corpus else None
