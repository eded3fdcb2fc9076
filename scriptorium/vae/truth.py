"""What a VAE makes of the scenes, the corpus whose truth is known: its excess, and whether it writes sentences."""

from scriptorium.data.scenes import scores as scenes_scores
from scriptorium.vae import paths

import numpy as np

PAIRS, POINTS, SAMPLES = 200, 9, 1000  # pairs of sentences, points between them, samples from the prior


def scores(codec, sentences, nll, quick=False):
    """Scores a VAE on sentences of the scenes.

    Args:
        codec: `Codec`.
        sentences: list of str.
        nll: the tightest bound on their mean -log p, in nats per sentence.
        quick: whether to score only a few walks and samples, to try out a script.

    Returns:
        dict of scores: excess_nll, sample_grammatical (at temperature 1), reconstruction_grammatical, kept and kept_*,
        walk_grammatical and walk_new (of the points of greedy walks; new means neither end nor its reconstruction).
    """
    samples = codec.sample(20 if quick else SAMPLES, temperature=1.0)
    found = scenes_scores.of_language_model(sentences, nll, samples)
    if not codec.has_latent:
        return found
    z = codec.encode(sentences)[0]
    again = codec.decode(z)
    pairs = np.random.default_rng(codec.run.seed).integers(len(sentences), size=(4 if quick else PAIRS, 2))
    shares = np.linspace(0, 1, POINTS + 2)[1:-1]
    between = np.concatenate([paths.lerp(z[a], z[b], shares) for a, b in pairs])
    points = codec.decode(between, **codec.walk_settings(np.tile(shares, len(pairs))))
    ends = [{sentences[a], sentences[b], again[a], again[b]} for a, b in pairs]
    found["reconstruction_grammatical"] = scenes_scores.grammatical(again)
    found["walk_grammatical"] = scenes_scores.grammatical(points)
    found["walk_new"] = float(np.mean([point not in ends[i // POINTS] for i, point in enumerate(points)]))
    return found | scenes_scores.kept(sentences, again)
