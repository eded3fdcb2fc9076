"""Scores of an autoencoder of texts: reconstruction, interpolation and sampling.

In addition to the functions in `inference.py`, the model provides `is_correct` and `gaussian`.
"""

import math

from scriptorium.data.vocabulary import PAD, strip_special
from scriptorium.scores import metrics
from scriptorium.vae import inference, latent, paths

import numpy as np
from keras import ops

PAIRS, POINTS, SAMPLES = 200, 9, 1000  # pairs of texts, points between them, samples from the prior
LEVEL = 0.05  # significance level of the permutation test
BEAM = 4  # hypotheses for the scores that end in _beam


def interval(successes, count):
    """Returns the 95% confidence interval of a share (Wilson 1927): lower and upper bound."""
    if not count:
        return 0.0, 1.0
    z, share = 1.959964, successes / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - half, middle + half


def share(name, flags):
    """Returns the share of True under a name, and its confidence interval under name_95."""
    low, high = interval(int(np.sum(flags)), len(flags))
    return {name: float(np.mean(flags)) if len(flags) else 0.0, f"{name}_95": f"{low:.3f} .. {high:.3f}"}


def teacher_forced(model, sequences, z, batch_size=128):
    """Returns the accuracy of tokens, predicted from the true tokens before them, and whether whole texts are right."""
    right, tokens, texts = inference.compiled_method(model, "is_correct"), [], []
    for i in range(0, len(sequences), batch_size):
        rows = np.arange(i, min(i + batch_size, len(sequences)))
        ids = sequences.inputs(rows)
        each = np.asarray(right.predict_on_batch((ids, np.asarray(z[rows], "float32"))))
        tokens.append(each[ids != PAD])
        texts.append(each.all(axis=1))
    return float(np.concatenate(tokens).mean()), np.concatenate(texts)


def mmd_test(codes, seed=1, permutations=200, most=500, kernel="imq"):
    """Tests whether codes are draws from N(0, 1) by their MMD (Gretton et al. 2012).

    Args:
        codes: float (n, d).
        permutations: permutations of the joint sample, which give the threshold.
        most: maximum number of codes to use.

    Returns:
        The MMD between codes and as many draws, and the value it exceeds only 5% of the time if both samples come from
        one distribution.
    """
    random = np.random.default_rng(seed)
    codes = codes[random.permutation(len(codes))[:most]].astype("float32")
    n, both = len(codes), np.concatenate([codes, random.standard_normal(codes.shape, "float32")])
    similar = np.array(ops.convert_to_numpy(latent.similarities(*[ops.convert_to_tensor(both)] * 2, kernel)), "float64")
    np.fill_diagonal(similar, 0)
    # Row i marks the first sample: the codes, and then half of both at random.
    first = np.zeros((1 + permutations, 2 * n))
    first[0, :n] = 1
    for row in first[1:]:
        row[random.permutation(2 * n)[:n]] = 1
    within = [np.sum(half @ similar * half, 1) for half in (first, 1 - first)]
    between = np.sum(first @ similar * (1 - first), 1)
    value, *null = sum(within) / (n * max(n - 1, 1)) - 2 * between / n**2
    return float(value), float(np.quantile(null, 1 - LEVEL))


def walks(z, pairs, points=POINTS):
    """Returns the points between pairs of codes, without the ends, and their shares of the walk.

    Shapes: float32 (pairs * points, *latent_shape) and (pairs * points,).
    """
    shares = np.linspace(0, 1, points + 2)[1:-1]
    between = np.concatenate([paths.slerp(z[a], z[b], shares) for a, b in pairs])
    return between.astype("float32"), np.tile(shares, len(pairs))


def walk_noise(shares, level):
    """Returns the noise levels at shares of a walk between two texts, of which draws from the prior have `level`.

    In the middle either code has half of the power. So the noise has twice the odds there, and none at the ends.
    """
    return 2 * level / (1 + level) * 4 * shares * (1 - shares)


def write(model, z, max_length, noise_level=0.0, beam=1):
    """Decodes codes z (n, *latent_shape) to ids (n, max_length) at one noise level, or one for each code."""
    level = np.broadcast_to(np.asarray(noise_level, "float32"), len(z))
    return inference.write(model, {"z": np.asarray(z, "float32"), "noise_level": level}, max_length, beam=beam)[0]


def evaluate(
    model, sequences, max_length, iw_samples=0, seed=1, progress=inference.silent, vocabulary=None, check=None,
    noise_level=0.0, quick=False,
):  # fmt: skip
    """Scores a model on texts.

    Args:
        model: `TransformerVAE`.
        sequences, max_length, progress: see `inference.evaluate`.
        iw_samples: K of iw_nll; 0 leaves it out, as does a code without a deviation.
        vocabulary: `Vocabulary`.
        check: function of a list of texts that returns whether each one is valid, or None.
        noise_level: for decoding draws from the prior; for walks, see `walk_noise`.
        quick: whether to score only a few walks and samples, to try out a script.

    Returns:
        dict of scores: nats per text (nll, kl, neg_elbo, iw_nll), shares with their intervals (accuracies and
        exact_match at the mean of the code, walk_*, sample_*), bleu_4, active_units, mmd and its mmd_threshold. Texts
        are decoded greedily, or by a beam search of BEAM for names that end in _beam.
    """
    random = np.random.default_rng(seed)
    progress("the bound")
    z_mean, z_log_var = inference.posteriors(model, sequences)
    z = latent.draw(z_mean, z_log_var, random.standard_normal(z_mean.shape, "float32"))
    nll = inference.nll_of_each(model, sequences, z)
    scores = {"nll": float(nll.mean())}
    if model.gaussian:
        kl = inference.kl_of_each(z_mean, z_log_var).sum(axis=(1, 2))
        scores |= {"kl": float(kl.mean()), "neg_elbo": float((nll + kl).mean())}
        if iw_samples:
            codes = z_mean, z_log_var
            bound = inference.importance_weighted_nll(model, sequences, *codes, iw_samples, seed, progress=progress)
            scores |= {"iw_nll": float(bound.mean()), "iw_samples": iw_samples}
    scores["token_accuracy"], whole = teacher_forced(model, sequences, z_mean)
    scores |= share("sequence_accuracy", whole)
    scores["mmd"], scores["mmd_threshold"] = mmd_test(z.reshape(len(z), -1), seed)
    scores["active_units"] = metrics.active_units(z_mean.reshape(len(z), -1))
    texts, references = vocabulary.decode_all(sequences), [strip_special(sequences[i]) for i in range(len(sequences))]
    pairs = random.integers(len(texts), size=(4 if quick else PAIRS, 2))
    between, shares = walks(z_mean, pairs)
    prior = random.standard_normal((20 if quick else SAMPLES, *model.latent_shape), "float32")
    for how, beam in (("", 1), ("_beam", BEAM)):
        progress(f"reconstructions, walks and samples{', with beam search' if how else ''}")
        again, walked, sampled = (
            write(model, codes, max_length, level, beam)
            for codes, level in ((z_mean, 0.0), (between, walk_noise(shares, noise_level)), (prior, noise_level))
        )
        again = [strip_special(ids) for ids in again]
        scores |= share(f"exact_match{how}", [a == b for a, b in zip(references, again, strict=True)])
        if not how:
            scores["bleu_4"] = metrics.bleu_4(references, again)
        walked, sampled = ([vocabulary.decode(ids) for ids in rows] for rows in (walked, sampled))
        new = [text not in [texts[j] for j in pairs[i // POINTS]] for i, text in enumerate(walked)]
        scores |= share(f"walk_new{how}", new)
        scores[f"sample_unique{how}"] = len(set(sampled)) / len(sampled)
        if check:
            new_texts = [text for text, is_new in zip(walked, new, strict=True) if is_new]
            scores |= share(f"walk_valid{how}", check(new_texts))
            scores |= share(f"sample_valid{how}", check(sampled))
    return scores
