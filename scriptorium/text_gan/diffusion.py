"""Diffusion-GAN (Wang et al. 2023): a discriminator of sentences in as much noise as it can see through."""

import keras
from keras import ops

DEPTHS = (5.0, 500.0)  # of the diffusion, in steps, at least and at most
BETAS = (1e-4, 0.02)  # of its first and its last step
SIGMA = 0.5  # deviation of its noise
PACE = 1.0  # steps that its depth changes at a time


def diffused(critic, embedded, depth, seed):
    """Puts sentences into noise of a random number of steps.

    Noise of rows over the vocabulary, N(0, SIGMA^2), is noise of covariance SIGMA^2 W^T W of embedded words.

    Args:
        critic: `critic.Critic`.
        embedded: float (batch, positions, width).
        depth: scalar, the steps that there are so far; how many a sentence gets is uniform below it.
        seed: `keras.random.SeedGenerator`.

    Returns:
        embedded words, and the share (batch,) of all steps that each sentence went through.
    """
    batch, width = ops.shape(embedded)[0], embedded.shape[-1]
    depth = keras.random.uniform((batch,), seed=seed) * depth
    log_kept = ops.cumsum(ops.log(1 - ops.linspace(*BETAS, int(DEPTHS[1]) + 1)))
    kept = ops.exp(ops.take(log_kept, ops.cast(depth, "int32")))[:, None, None]
    root = ops.linalg.cholesky(critic.products() + 1e-6 * ops.eye(width))
    normal = keras.random.normal(ops.shape(embedded), seed=seed)
    noisy = ops.sqrt(kept) * embedded + SIGMA * ops.sqrt(1 - kept) * ops.matmul(normal, ops.transpose(root))
    return noisy, depth / DEPTHS[1]


def discriminator_loss(real, written):
    """Returns the logistic loss of the scores (batch,) of real and written sentences, and what is shown of it.

    `sure` is the mean sign of the scores of real ones: 1 where the discriminator is right about all.
    """
    means = ops.mean(real), ops.mean(written)
    found = {"real": means[0], "fake": means[1], "mean_difference": means[0] - means[1]}
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(written)), found | {"sure": ops.mean(ops.sign(real))}


def next_depth(depth, sure, target):
    """Returns the steps that there are next: more where the discriminator is surer than it should be, else fewer."""
    return ops.clip(depth + PACE * ops.sign(sure - target), *DEPTHS)
