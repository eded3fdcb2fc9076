"""What a run of names_vae.py is used for: names are read to latents, latents drawn and moved, names written from them.

A run has the `options` and the `vocabulary` it was trained with and its `model`. Shapes: labels (n, kinds),
z (n, positions, 2 * latent_dim), numpy arrays both.
"""

from scriptorium import UserError
from scriptorium.data import corpora
from scriptorium.data.batches import encode_texts
from scriptorium.data.labels import UNKNOWN, Labels
from scriptorium.data.vocabulary import PAD, UNK
from scriptorium.vae import inference

import numpy as np

SPREAD = 0.66  # of draws from the prior, in its deviations
GUIDANCE = 0.5  # of names in a language that is asked for
STEPS, STEP = 128, 0.2  # random steps to a name's clearest code, and their length in deviations of the posterior


def labels_of(run):
    return Labels(run.options["labels"])


def classes_of(run, corpus):
    """Returns the classes of every text, dict of split -> int32 (texts, kinds); a new run learns its labels here."""
    if run.is_new and "labels" not in run.options:
        run.options["labels"] = Labels.of(corpus.labels and corpus.labels["train"]).kinds
        rows = labels_of(run).encode_all(corpus.labels and corpus.labels["train"], len(corpus.train))
        found, counts = np.unique(rows, axis=0, return_counts=True)
        run.options["label_counts"] = [
            [*row, count] for row, count in zip(found.tolist(), counts.tolist(), strict=True)
        ]
    found = corpus.labels or {}
    return {split: labels_of(run).encode_all(found.get(split), len(getattr(corpus, split))) for split in corpora.SPLITS}


def draw_labels(run, n, labels, seed=1):
    """Returns the classes of n names as often as training names have them, int (n, kinds); `labels` (kinds,) hold."""
    rows = np.array(run.options.get("label_counts") or [[*labels, 1]])
    fitting = rows[np.all((rows[:, :-1] == labels) | (np.array(labels) == UNKNOWN), axis=1)]
    if not len(fitting):
        return np.tile(labels, (n, 1))
    shares = fitting[:, -1] / fitting[:, -1].sum()
    return np.random.default_rng((seed, 3)).choice(fitting[:, :-1], n, p=shares)


def guided(run, z, labels, guidance=GUIDANCE):
    """Moves z away from what the prior expects without the labels, to where it expects z with them.

    What Ho and Salimans (2022) do to the score of a diffusion model, here at the mean of each number of z.

    Args:
        z: float32 (n, positions, 2 * latent_dim), drawn with the labels.
        labels: int (n, kinds).
        guidance: factor of the way between the two means.
    """
    if run.options["no_latent"] or not guidance:
        return z
    labels = np.asarray(labels, "int32")
    means = (in_batches(run.model, "expected", z, told) for told in (labels, np.full_like(labels, UNKNOWN)))
    return z + guidance * np.subtract(*means)


def read_names(run, texts):
    """Returns `util.Sequences` of names as they are typed, `label<TAB>name` or the name alone."""
    pairs = [text.rpartition("\t") for text in texts]
    labels = labels_of(run).encode_all([label for label, _, _ in pairs], len(pairs))
    most = run.options["positions"] - 1
    return encode_texts((name for _, _, name in pairs), run.vocabulary, None, most, prompt=True, labels=labels)


def _posteriors(run, texts):
    """Returns the names, `util.Sequences`, and their z_mean and z_log_var, float32 (n, positions, 2 * latent_dim)."""
    if run.options["no_latent"]:
        raise UserError(f"{run.name} is a language model without a latent space (--no-latent): it cannot encode")
    names = read_names(run, texts)
    return names, *inference.posteriors(run.model, names)


def encode(run, texts):
    """Reads names to their posteriors: z_mean and z_log_var, float32 (n, positions, 2 * latent_dim) each.

    Behind a name, where there is no posterior, z_mean is a draw from the prior, of the same random numbers for all.
    """
    names, z_mean, z_log_var = _posteriors(run, texts)
    unknown = labels_of(run).encode_all(None, len(z_mean))
    return prior_draws(run.model, unknown, 0, z_mean, names.lengths, alike=True, spread=SPREAD), z_log_var


def guess(run, prefix, labels, n):
    """Returns z_mean and z_log_var, float32 (n, positions, 2 * latent_dim), as the prefix encoder expects them."""
    ids = np.full((1, run.options["positions"]), UNK, "int32")
    ids[0, : len(prefix)] = run.vocabulary.encode(prefix, prompt=True)
    inputs = {"ids": ids, "labels": np.array([labels], "int32")}
    found = inference.compiled(run.model, "guess").predict_on_batch((inputs, np.array([len(prefix)], "int32")))
    return [np.repeat(values, n, axis=0) for values in found]


def decode(run, z, *, labels=None, prefix="", max_length=None, scores=False, **settings):
    """Writes a name from each z (n, positions, 2 * latent_dim); see `inference.write`.

    Args:
        labels: the classes of all names, list of int, or of each, int (n, kinds); None leaves them unknown.
        prefix: what all of them begin with.
        settings: temperature, top_k, top_p, beam, seed.

    Returns:
        list of n str; with `scores` also log p(name|z) in nats, float (n,), without the prefix.
    """
    n, positions = len(z), run.options["positions"]
    forced = np.full((n, positions), PAD, "int32")
    beginning = run.vocabulary.encode(prefix, prompt=True)[: positions - 1]
    forced[:, : len(beginning)] = np.where(beginning == UNK, PAD, beginning)
    labels = labels_of(run).encode("") if labels is None else labels
    given = {
        "z": np.asarray(z, "float32"),
        "labels": np.broadcast_to(np.array(labels, "int32"), (n, np.shape(labels)[-1])),
        "forced": forced,
    }
    ids, log_probs = inference.write(run.model, given, min(max_length or positions, positions), **settings)
    names = [run.vocabulary.decode(row) for row in ids]
    return (names, log_probs) if scores else names


def score(run, texts, z):
    """Returns log p(name|z) in nats of n names, each at its z (n, positions, 2 * latent_dim): float (n,)."""
    return -inference.likelihoods(run.model, read_names(run, texts), z)


def sample_prior(run, n, seed=1, labels=None, spread=SPREAD):
    """Returns n draws from the prior, for labels (n or 1, kinds) or any: float32 (n, positions, 2 * latent_dim).

    Each number is drawn with `spread` times its deviation: 1 is the prior itself, less gives likelier names.
    """
    labels = labels_of(run).encode_all(None, 1) if labels is None else labels
    return prior_draws(run.model, np.broadcast_to(labels, (n, np.shape(labels)[1])), seed, spread=spread)


def clearest(run, names, z_mean, z_log_var, seed=1):
    """Returns a code of each name, float32 in the shape of z_mean, at which the name is likelier than at its z_mean.

    An encoder that reads every name alike does not find the best code of each (Cremer et al. 2018). From the mean,
    moved as far again from what the prior expects, `STEPS` random steps are tried, and kept where p(name|z) grows.

    Args:
        names: `util.Sequences`.
    """
    z = 2 * z_mean - in_batches(run.model, "expected", z_mean, names.labels)
    nll, random = inference.likelihoods(run.model, names, z), np.random.default_rng(seed)
    for _ in range(STEPS):
        other = z + STEP * np.exp(0.5 * z_log_var) * random.standard_normal(z.shape[1:], "float32")
        found = inference.likelihoods(run.model, names, other)
        better = found < nll
        z[better], nll[better] = other[better], found[better]
    return z


def around(run, texts, radius, seed=1, times=1):
    """Draws a z near each name: `radius` deviations of its posterior, and from the prior behind its end.

    At a radius below 1 the middle of the draws moves from the posterior mean, where it is at 1, to the code that gives
    the name back most surely (`clearest`), where it is at 0.

    Returns:
        float32 (n * times, positions, 2 * latent_dim): all draws for the first name, then those for the next.
    """
    names, z_mean, z_log_var = _posteriors(run, texts)
    if radius < 1:
        z_mean += (1 - radius) * (clearest(run, names, z_mean, z_log_var) - z_mean)
    middle, z_log_var, labels, lengths = (
        np.repeat(values, times, axis=0) for values in (z_mean, z_log_var, names.labels, names.lengths)
    )
    near = drawn(middle, z_log_var, (seed, 1), radius)
    return prior_draws(run.model, labels, seed, near, lengths, spread=SPREAD)


def draw(
    run, n, *, style=None, anchor=None, radius=1.0, prefix="", spread=SPREAD, guidance=GUIDANCE, seed=1, **settings
):
    """Returns n names: of a style, near an anchor, with a beginning, or any.

    Args:
        style: a label, or several with commas between. Those that are not given are drawn as often as in training, or
            are unknown beside an anchor or a prefix.
        anchor: name; its posterior takes the place of the prior.
        radius: of the draw around the anchor, in deviations of its posterior, see `around`; 0 gives the anchor back.
        prefix: beginning of the names; its guess by the prefix encoder takes the place of the prior.
        spread: see `sample_prior`; of the guess from a prefix too.
        guidance: towards the style, see `guided`.
        settings: see `decode`.

    Raises:
        UserError: an unknown style, an anchor or a prefix that is too long.
    """
    known = labels_of(run)
    labels = known.asked(style) if style else known.encode("")
    for what, text in (("anchor", anchor or ""), ("prefix", prefix)):
        if len(text) >= run.options["positions"]:
            most = run.options["positions"] - 1
            raise UserError(f"the {what} has {len(text)} characters; names of {run.name} have {most} at most")
    if anchor:
        z = around(run, [f"{known.text(labels)}\t{anchor}"], radius, seed, times=n)
    elif prefix and not run.options["no_latent"] and run.model.prefix_encoder:
        z = drawn(*guess(run, prefix, labels, n), (seed, 1), spread)
    else:
        labels = draw_labels(run, n, labels, seed)
        z = guided(run, sample_prior(run, n, seed, labels, spread), labels, guidance if style else 0)
    return decode(run, z, labels=labels, prefix=prefix, seed=seed, **settings)


def prior_draws(model, labels, seed, z=None, lengths=0, alike=False, spread=1.0):
    """Draws from the prior of a model, and goes on with it behind what is given.

    Args:
        model: NamesVAE.
        labels: int (n, kinds).
        seed: int or tuple of int.
        z: float32 (n, *latent_shape), kept at the first `lengths` positions; None where all is drawn.
        lengths: int or int (n,).
        alike: whether all n are drawn from the same random numbers.
        spread: factor of the deviations.

    Returns:
        float32 (n, *latent_shape).
    """
    shape = (len(labels), *model.latent_shape)
    u = np.random.default_rng(seed).standard_normal((1, *shape[1:]) if alike else shape, "float32")
    u = np.broadcast_to(spread * u, shape)
    z = np.zeros(shape, "float32") if z is None else z
    known = np.broadcast_to(np.arange(shape[1])[None] < np.reshape(lengths, (-1, 1)), shape[:2])
    learnt = model.has_z and model.prior
    return model.prior.inverse(u, labels, z, known) if learnt else np.where(known[..., None], z, u)


def drawn(z_mean, z_log_var, seed, radius=1.0):
    """Returns a draw from each Gaussian, float32, its deviation scaled by `radius`."""
    epsilon = np.random.default_rng(seed).standard_normal(z_mean.shape, "float32")
    return z_mean + radius * np.exp(0.5 * z_log_var) * epsilon


def in_batches(model, name, *arrays, size=256):
    """Returns what a method of a model makes of arrays (n, ...), some hundred rows at a time."""
    function = inference.compiled(model, name)
    parts = [function.predict_on_batch(tuple(a[i : i + size] for a in arrays)) for i in range(0, len(arrays[0]), size)]
    return np.concatenate(parts)
