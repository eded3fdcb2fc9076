"""The options of text_gan.py that describe its two players and how they train."""

import argparse
import dataclasses

from scriptorium.command_line import bounded
from scriptorium.text_gan.noise import KINDS


@dataclasses.dataclass
class Game:
    """How the two players train: each field is an option of the command line, see `add_objective_options`."""

    mode: str = "gan"
    pretrain_epochs: int = 0
    feedback: str = "both"
    gumbel_temperature: float = 1.0
    gp_weight: float = 10.0
    penalty_share: float = 0.5
    critic_steps: int = 2
    critic_warmup: int = 100
    dynamic_critic_steps: bool = False
    dynamic_weight: float = 1.0
    likelihood_weight: float = 1.0
    discriminator_target: float = 0.6
    ema: float = 0.98
    batch_size: int = 64


# The original's sizes and training.
REFERENCE = {
    "mapping_layers": 8, "backbone_blocks": 6, "output_blocks": 6, "embedding_dim": 64, "units": 512,
    "num_heads": 8, "max_length": 63, "noise": "uniform", "token_input": "noise", "norm": "post",
    "feedback": "argmax", "critic_layers": 2, "critic_blocks": 6, "critic_output_blocks": 6,
    "critic_embedding_dim": 64, "penalty_space": "rows", "hide_after_end": False, "gp_weight": 10.0, "critic_steps": 5,
    "likelihood_weight": 0.0, "adversarial_rate": 1e-4, "critic_rate": 1e-4, "beta_1": 0.0, "beta_2": 0.9, "ema": 0.0,
    "dropout": 0.0, "batch_size": 64, "pretrain_epochs": 0, "penalty_share": 1.0, "critic_warmup": 0, "clip_norm": 0.0,
}  # fmt: skip


def yes_or_no(text):
    """Parses yes or no."""
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is not yes or no")
    return text.lower() in ("yes", "true", "1")


YES_OR_NO = {"type": yes_or_no, "nargs": "?", "const": True, "metavar": "yes|no", "default": False}


def add_model_options(parser):
    size, count = bounded(int, 1), bounded(int, 0)
    add, more = parser.group("model"), parser.group("model", rare=True)
    add("--preset", choices=("reference",), help="reference: all settings as in the original")
    older = ["--embedding_size", "--embedding_size_gen"]
    add("-E", "--embedding-dim", type=size, default=128, help="width of the generator's words", older=older)
    about = "hidden width of the generator's MLPs"
    add("-L", "--units", type=size, default=512, help=about, older=["--hiddenSize"])
    more("--num-heads", type=size, default=4, help="attention heads of both players", older=["--num_heads"])
    about = "layers that map the noise of the whole sentence to its style"
    more("--mapping-layers", type=count, default=2, help=about, older=["--M_gen"])
    about = "generator blocks with noise and attention to the style"
    more("--backbone-blocks", type=size, default=2, help=about, older=["--B_gen"])
    about = "generator blocks after them, without noise"
    more("--output-blocks", type=count, default=1, help=about, older=["--O_gen"])
    about = "distribution of all noise, with mean 0 and variance 1; truncated: a normal without its tails"
    more("--noise", choices=KINDS, default="normal", help=about, older=["--noiseDist"])
    about = "what a new word is made from. last: the word before it; noise, constant: also noise or a learned constant"
    more("--token-input", choices=("last", "noise", "constant"), default="last", help=about)
    about = "pre or post: whether the generator's blocks normalize before or after each part"
    more("--norm", choices=("pre", "post"), default="pre", help=about)
    about = "layers per block of the critic"
    more("--critic-layers", type=size, default=1, help=about, older=["--T_disc"])
    about = "critic blocks before the class token"
    more("--critic-blocks", type=count, default=2, help=about, older=["--B_disc"])
    about = "critic blocks with the class token"
    more("--critic-output-blocks", type=size, default=1, help=about, older=["--O_disc"])
    about = "width of the critic's words; its blocks are twice as wide, because positions are appended"
    more("--critic-embedding-dim", type=size, default=64, help=about, older=["--embedding_size_disc"])
    about = "linear: learned; pca: fixed, from principal components of the words' neighbors"
    more("--critic-embedding", choices=("linear", "pca"), default="linear", help=about)
    about = "halve the length after each critic block before the class token"
    more("--pooling", choices=("none", "average", "max"), default="none", help=about)
    about = "hide what follows the end of a sentence from the critic"
    more("--hide-after-end", **YES_OR_NO, help=about, older=["--HideAfterEnd"])
    add(
        "--dropout",
        type=bounded(float, 0, 0.99999),
        default=0.3,
        help="dropout of the generator, in training by likelihood",
    )


def add_objective_options(parser):
    size, count, weight = bounded(int, 1), bounded(int, 0), bounded(float, 0)
    share, rate = bounded(float, 0, 0.99999), bounded(float, 1e-9)
    add, more = parser.group("objective"), parser.group("objective", rare=True)
    about = "gan: WGAN-GP; mle: likelihood alone; diffusion: Diffusion-GAN"
    add("--mode", choices=("gan", "mle", "diffusion"), default="gan", help=about)
    add("--pretrain-epochs", type=count, help="epochs of likelihood first; default: all but two")
    about = "how the generator learns; see docs/text_gan.md"
    add("--feedback", choices=("both", "draw", "gumbel", "argmax"), default="both", help=about)
    about = "softmax temperature of --feedback gumbel"
    gumbel = "--feedback gumbel", lambda args: args.feedback == "gumbel"
    more("--gumbel-temperature", type=bounded(float, 1e-3), default=1.0, help=about, requires=gumbel)
    add("--gp-weight", type=weight, default=10.0, help="weight of the gradient penalty", older=["--Lambda"])
    about = "gradient of the penalty with respect to: words as the critic embeds them, or rows over the vocabulary"
    more("--penalty-space", choices=("words", "rows"), default="words", help=about, older=["--penalty"])
    about = "share of a batch that the penalty is computed on"
    more("--penalty-share", type=bounded(float, 0.01, 1), default=0.5, help=about)
    add("--critic-steps", type=size, default=2, help="critic steps per generator step", older=["--n_D"])
    about = "critic steps before the first generator step, not with --dynamic-critic-steps"
    more("--critic-warmup", type=count, default=100, metavar="STEPS", help=about)
    about = "instead of a fixed number, train the player whose loss changes faster"
    more("--dynamic-critic-steps", **YES_OR_NO, help=about, older=["--dynamic_n"])
    about = "how much faster the critic's loss must change than the generator's"
    more("--dynamic-weight", type=weight, default=1.0, help=about, older=["--Lambda_n"])
    about = "weight of the likelihood against the critic"
    add("--likelihood-weight", type=weight, default=1.0, help=about, older=["--likelihood"])
    about = "learning rate of the generator against the critic"
    more("--adversarial-rate", type=rate, default=3e-5, help=about, older=["--alpha"])
    more("--critic-rate", type=rate, default=3e-4, help="learning rate of the critic")
    more("--beta-1", type=share, default=0.0, help="beta_1 of Adam, for both players", older=["--Beta1"])
    more("--beta-2", type=share, default=0.9, help="beta_2 of Adam, for both players", older=["--Beta2"])
    about = "--mode diffusion: certainty about real sentences (mean sign) above which noise is added"
    noisy = "--mode diffusion", lambda args: args.mode == "diffusion"
    more("--discriminator-target", type=share, default=0.6, help=about, older=["--target"], requires=noisy)
    about = "momentum of the generator's averaged weights, used for samples; 0: no averaging"
    more("--ema", type=share, default=0.98, metavar="MOMENTUM", help=about, older=["--average"])
