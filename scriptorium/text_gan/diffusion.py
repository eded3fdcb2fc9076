"""Diffusion-GAN (Wang et al. 2023): a discriminator of sentences with as much noise as it can cope with."""

import keras
from keras import ops

DEPTHS = (5.0, 500.0)  # fewest and most steps of the diffusion
BETAS = (1e-4, 0.02)  # of the first and the last step
SIGMA = 0.5  # standard deviation of the noise
PACE = 1.0  # change of the depth at a time, in steps


def diffused(critic, embedded, depth, seed):
    """Adds the noise of a random number of diffusion steps to sentences.

    Noise N(0, SIGMA^2) on rows over the vocabulary becomes noise of covariance SIGMA^2 W^T W on embedded words.

    Args:
        critic: `text_gan.Critic`.
        embedded: float (batch, positions, width).
        depth: scalar, the current depth; the number of steps of a sentence is uniform below it.
        seed: `keras.random.SeedGenerator`.

    Returns:
        noisy embedded words, and the share (batch,) of all steps that each sentence went through.
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
    """Returns the logistic loss of the scores (batch,) of real and generated sentences, and a dict to report.

    `sure` is the mean sign of the scores of real sentences: 1 if the discriminator is right about all of them.
    """
    means = ops.mean(real), ops.mean(written)
    reported = {"real": means[0], "fake": means[1], "mean_difference": means[0] - means[1]}
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(written)), reported | {
        "sure": ops.mean(ops.sign(real))
    }


def next_depth(depth, sure, target):
    """Returns the next depth: higher if the discriminator is more certain than the target, else lower."""
    return ops.clip(depth + PACE * ops.sign(sure - target), *DEPTHS)
