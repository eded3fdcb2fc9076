"""Encodes, decodes and scores with any trained VAE of sequences.

A model provides `latent_shape`, the shape of one z, and these functions of tensors. Inputs are ids (batch, time), or
with labels a dict (see `Sequences.inputs`); z is (batch, *latent_shape).

    posterior(inputs) -> z_mean, z_log_var                   float32 (batch, *latent_shape) each; the first axis of
                                                             latent_shape may be cut to time
    nll(inputs, z) -> nll                                    float32 (batch,), nats, summed over the tokens
    log_ratio(inputs, z, z_mean, z_log_var) -> log_ratio     log p(z) - log q(z|x), float32 (batch,), nats
    start(z) -> state                                        tuple of tensors (batch, ...)
    step(token (batch,), state) -> logits, state             float32 (batch, vocab_size)

They run compiled, in batches of sequences of similar length; arguments and results are numpy arrays.
"""

import functools

from scriptorium.data.vocabulary import strip_special
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import Compiled
from scriptorium.scores import metrics
from scriptorium.vae import latent

import keras
import numpy as np
from keras import ops


@functools.cache
def compiled_method(model, name):
    """Compiles a method of a model; `predict_on_batch` takes a tuple of its arguments, numpy arrays."""
    return Compiled(lambda arguments: getattr(model, name)(*arguments), model)


@functools.cache
def _log_weight(model):
    def log_weight(arguments):
        inputs, z, z_mean, z_log_var = arguments
        return model.log_ratio(inputs, z, z_mean, z_log_var) - model.nll(inputs, z)

    return Compiled(log_weight, model)


@functools.cache
def _writer(model, max_length, beam, temperature, top_k, top_p):
    seed = keras.random.SeedGenerator(1)

    def pick(logits, uniform):
        return sampling.sample_logits(logits, uniform, temperature, top_k, top_p)

    def write(z):
        state, batch = model.start(z), ops.shape(keras.tree.flatten(z)[0])[0]
        if beam > 1:
            return sampling.beam_search(model.step, state, batch, max_length, beam)
        return sampling.generate(model.step, state, keras.random.uniform((batch, max_length), seed=seed), pick)

    return Compiled(write, model, seed), seed


def _in_batches(lengths, batch_size):
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def posteriors(model, sequences, batch_size=128):
    """Returns z_mean and z_log_var, float32 (n, *latent_shape) each, of `Sequences`, in order."""
    read, both = compiled_method(model, "posterior"), np.zeros((2, len(sequences), *model.latent_shape), "float32")
    for rows in _in_batches(sequences.lengths, batch_size):
        for values, batch in zip(both, read.predict_on_batch((sequences.inputs(rows),)), strict=True):
            values[rows, : batch.shape[1]] = batch
    return both[0], both[1]


def kl_of_each(z_mean, z_log_var):
    """Returns the KL from posteriors to the prior in nats per dimension: arrays (n, latent_dim) -> (n, latent_dim)."""
    return ops.convert_to_numpy(latent.kl_to_standard_normal(*map(ops.convert_to_tensor, (z_mean, z_log_var))))


def nll_of_each(model, sequences, z, batch_size=128):
    """Returns -log p(x|z) in nats, float64 (n,), of `Sequences` at z (n, *latent_shape)."""
    nll = np.zeros(len(sequences))
    for rows in _in_batches(sequences.lengths, batch_size):
        nll[rows] = compiled_method(model, "nll").predict_on_batch(
            (sequences.inputs(rows), np.asarray(z[rows], "float32"))
        )
    return nll


def write(model, z, max_length, *, temperature=0.0, top_k=0, top_p=1.0, beam=1, seed=1, batch_size=128):
    """Writes a sequence from each point of the latent space.

    Args:
        z: float (n, *latent_shape), or a dict of arrays (n, ...), as the `start` of the model expects.
        max_length: maximum number of tokens, including `<eos>`.
        temperature, top_k, top_p: see `sampling.sample_logits`; temperature 0 is greedy.
        beam: above 1, beam search with this many hypotheses instead.
        seed: int; the same seed draws the same sequences.

    Returns:
        ids int32 (n, max_length) and log p(x|z) in nats, float32 (n,).
    """
    writer, generator = _writer(model, max_length, beam, temperature, top_k, top_p)
    generator.state.assign(keras.random.SeedGenerator(seed).state)
    parts = [
        writer.predict_on_batch(keras.tree.map_structure(lambda values, i=i: values[i : i + batch_size], z))
        for i in range(0, len(keras.tree.flatten(z)[0]), batch_size)
    ]
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([log_prob for _, log_prob in parts])


def silent(name, share=None):
    """Reports no progress; the reports pass `Console.phase` instead."""


def importance_weighted_nll(model, sequences, z_mean, z_log_var, samples, seed=1, tokens=4096, progress=silent):
    """Estimates -log p(x) of each sequence by importance sampling from its posterior (Burda et al. 2016).

    Args:
        sequences: `Sequences`, n of them.
        z_mean, z_log_var: float (n, *latent_shape), their posteriors.
        samples: draws per sequence, K.
        tokens: about how many tokens to score at once.
        progress: called with a name and the share that is done, such as `Console.phase`.

    Returns:
        float64 (n,), nats: an upper bound of -log p(x) in expectation, tighter with K.
    """
    random, result, done = np.random.default_rng(seed), np.zeros(len(sequences)), 0
    for rows in _in_batches(sequences.lengths, 16):
        draws, part = [], max(1, tokens // (len(rows) * int(sequences.lengths[rows].max())))
        for start in range(0, samples, part):
            count = min(part, samples - start)
            inputs = sequences.inputs(np.repeat(rows, count))
            mean, log_var = np.repeat(z_mean[rows], count, 0), np.repeat(z_log_var[rows], count, 0)
            z = latent.draw(mean, log_var, random.standard_normal(mean.shape, "float32"))
            draws.append(_log_weight(model).predict_on_batch((inputs, z, mean, log_var)).reshape(len(rows), count))
        result[rows] = -metrics.log_mean_exp(np.concatenate(draws, axis=1))
        done += len(rows)
        progress(f"iw_nll with {samples} samples per text", done / len(sequences))
    return result


def evaluate(model, sequences, max_length, iw_samples=0, seed=1, progress=silent):
    """Scores a model on sequences.

    Args:
        model: see the top of this file, with `has_latent`.
        sequences: `Sequences`.
        max_length: maximum number of tokens of a reconstruction.
        iw_samples: K of iw_nll; 0 leaves it out, and the perplexity then follows from neg_elbo.
        progress: called with the name of what is computed, and perhaps the share that is done.

    Returns:
        dict of floats, in nats per text unless noted otherwise: see docs/sentences.md.
    """
    tokens = int(sequences.lengths.sum())
    progress("the bound")
    if not model.has_latent:
        nll = nll_of_each(model, sequences, np.zeros((len(sequences), *model.latent_shape), "float32"))
        return {"nll": float(nll.mean()), "perplexity": float(np.exp(nll.sum() / tokens))}
    z_mean, z_log_var = posteriors(model, sequences)
    z = latent.draw(z_mean, z_log_var, np.random.default_rng(seed).standard_normal(z_mean.shape, "float32"))
    nll = nll_of_each(model, sequences, z)
    kl = kl_of_each(z_mean, z_log_var).sum(axis=-1)
    scores = {"neg_elbo": float((nll + kl).mean()), "nll": float(nll.mean()), "kl": float(kl.mean())}
    bound = nll + kl
    if iw_samples:
        bound = importance_weighted_nll(model, sequences, z_mean, z_log_var, iw_samples, seed, progress=progress)
        scores |= {"iw_nll": float(bound.mean()), "iw_samples": iw_samples}
    scores["perplexity"] = float(np.exp(bound.sum() / tokens))
    progress("mutual information and reconstructions")
    scores["mutual_information"] = metrics.mutual_information(z, z_mean, z_log_var)
    scores["active_units"] = metrics.active_units(z_mean)
    references = [strip_special(sequences[i]) for i in range(len(sequences))]
    written = [strip_special(ids) for ids in write(model, z_mean, max_length)[0]]
    scores["bleu_4"] = metrics.bleu_4(references, written)
    scores["exact_match"] = metrics.exact_match(references, written)
    return scores
