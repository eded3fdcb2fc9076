"""What text_gan.py can be told of its players and of their training, and the vocabulary of a file."""

import argparse

from scriptorium.command_line import bounded

PRESETS = {
    "reference": {
        "mapping_layers": 8, "backbone_blocks": 6, "output_blocks": 6, "embedding_dim": 64, "units": 512,
        "num_heads": 8, "max_length": 63, "noise": "uniform", "token_input": "noise", "norm": "post",
        "feedback": "argmax", "critic_layers": 2, "critic_blocks": 6, "critic_output_blocks": 6,
        "critic_embedding_dim": 64, "penalty": "rows", "hide_after_end": False, "gp_weight": 10.0, "critic_steps": 5,
        "likelihood": 0.0, "adversarial_rate": 1e-4, "critic_rate": 1e-4, "beta_1": 0.0, "beta_2": 0.9, "average": 0.0,
        "dropout": 0.0, "batch_size": 64, "pretrain_epochs": 0, "penalty_share": 1.0, "critic_warmup": 0,
        "clip_norm": 0.0,
    },
}  # fmt: skip


def truth(text):
    """Parses yes or no."""
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text.lower() in ("yes", "true", "1")


def add_model_options(parser):
    size, none, share = bounded(int, 1), bounded(int, 0), bounded(float, 0, 0.99999)
    add = parser.add_argument_group("model").add_argument
    add("--preset", choices=tuple(PRESETS), help="reference: all as the original has it")
    about = "width of the generator's words"
    add("-E", "--embedding-dim", "--embedding_size", "--embedding_size_gen", type=size, default=128, help=about)
    add("-L", "--units", "--hiddenSize", type=size, default=512, help="width within the MLPs of its blocks")
    add("--num-heads", "--num_heads", type=size, default=4, help="heads of the attention, of both players")
    about = "layers that the noise of the whole sentence, its style, goes through"
    add("--mapping-layers", "--M_gen", type=none, default=2, help=about)
    add("--backbone-blocks", "--B_gen", type=size, default=2, help="blocks with noise and attention to the style")
    add("--output-blocks", "--O_gen", type=none, default=1, help="blocks after them, without")
    about = "what all noise is drawn from, of mean 0 and variance 1; truncated: normal without its ends"
    add("--noise", "--noiseDist", choices=("normal", "uniform", "truncated"), default="normal", help=about)
    about = "what a word is made of: the word before it, or beside it noise or a learnt constant"
    add("--token-input", choices=("last", "noise", "constant"), default="last", help=about)
    add("--norm", choices=("pre", "post"), default="pre", help="where the blocks of the generator normalise")
    add("--tied", action="store_true", help="words and softmax share their weights; then words repeat themselves")
    about = "the word that goes back, and how the generator learns from the critic; see the top of the script"
    add("--feedback", choices=("both", "draw", "score", "gumbel", "argmax"), default="both", help=about)
    add("--gumbel-temperature", type=bounded(float, 1e-3), default=1.0, help="of the softmax of --feedback gumbel")
    add("--critic-layers", "--T_disc", type=size, default=1, help="layers of a block of the critic")
    add("--critic-blocks", "--B_disc", type=none, default=2, help="blocks before the class token")
    add("--critic-output-blocks", "--O_disc", type=size, default=1, help="blocks with it")
    about = "width of the critic's words; its blocks are twice as wide, by the positions"
    add("--critic-embedding-dim", "--embedding_size_disc", type=size, default=64, help=about)
    about = "learnt, or principal components of the words' neighbours"
    add("--critic-embedding", choices=("linear", "pca"), default="linear", help=about)
    about = "halves the length after each block of the critic before the class token"
    add("--pooling", choices=("none", "average", "max"), default="none", help=about)
    yes = {"type": truth, "nargs": "?", "const": True, "metavar": "yes|no"}
    about = "whether the critic does not see what follows the end of a sentence"
    add("--hide-after-end", "--HideAfterEnd", **yes, default=False, help=about)
    add("--dropout", type=share, default=0.3, help="of the generator, in training by likelihood")


def add_objective_options(parser):
    size, none, weight = bounded(int, 1), bounded(int, 0), bounded(float, 0)
    share = bounded(float, 0, 0.99999)
    add = parser.add_argument_group("objective").add_argument
    add("--mode", choices=("gan", "mle", "diffusion"), default="gan", help="WGAN-GP, likelihood alone, Diffusion-GAN")
    add("--pretrain-epochs", type=none, help="epochs of likelihood first; default: all but the last two")
    add("--gp-weight", "--Lambda", type=weight, default=10.0, help="weight of the gradient penalty")
    about = "what the gradient of the penalty is of: words as the critic embeds them, or rows over the vocabulary"
    add("--penalty", choices=("words", "rows"), default="words", help=about)
    about = "part of a batch that the penalty is computed of"
    add("--penalty-share", type=bounded(float, 0.01, 1), default=0.5, help=about)
    add("--critic-steps", "--n_D", type=size, default=2, help="of the critic for one of the generator")
    about = "of the critic before the generator's first, not with --dynamic-critic-steps"
    add("--critic-warmup", type=none, default=100, metavar="STEPS", help=about)
    yes = {"type": truth, "nargs": "?", "const": True, "metavar": "yes|no"}
    about = "instead, a step of the player whose loss changes faster"
    add("--dynamic-critic-steps", "--dynamic_n", **yes, default=False, help=about)
    about = "how much faster the critic's is to change than the generator's"
    add("--dynamic-weight", "--Lambda_n", type=weight, default=1.0, help=about)
    about = "weight of the nats a token of real sentences in the generator's loss against the critic"
    add("--likelihood", type=weight, default=1.0, help=about)
    about = "size of the generator's steps against the critic"
    add("--adversarial-rate", "--alpha", type=bounded(float, 1e-9), default=3e-5, help=about)
    add("--critic-rate", type=bounded(float, 1e-9), default=3e-4, help="size of the critic's steps")
    add("--beta-1", "--Beta1", type=share, default=0.0, help="of Adam, for both players")
    add("--beta-2", "--Beta2", type=share, default=0.9, help="of Adam, for both players")
    about = "how sure of real sentences the discriminator of --mode diffusion may be, before there is more noise"
    add("--target", type=share, default=0.6, help=about)
    about = "momentum of the averaged generator, which writes once it is trained; 0: the generator as it is"
    add("--average", type=share, default=0.98, help=about)
