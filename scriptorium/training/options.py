"""Options of a training and of its run."""

import os

from scriptorium import ROOT
from scriptorium.command_line import bounded

# Groups of options that a run is made of, and the options among them that may change when it goes on.
FIXED_GROUPS = ("data", "model", "objective", "training")
CHANGEABLE = ("epochs", "save_minutes", "max_steps", "dtype")

# Options that say what to do with a run: they are never taken from one.
PASSING = ("resume", "eval", "sample", "name", "logdir", "dry_run")
DTYPES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


def add_training_options(parser, epochs, batch_size, learning_rate):
    """Adds the group "training" with the given defaults."""
    group = parser.add_argument_group("training")
    group.add_argument("-e", "--epochs", type=bounded(int, 0), default=epochs, help="passes over the text, in all")
    group.add_argument(
        "-b",
        "--batch-size",
        "--batch_size",
        "--batchSize",
        type=bounded(int, 1),
        default=batch_size,
        help="sequences in a step",
    )
    group.add_argument(
        "-l", "--learning-rate", "--learning_rate", "--learn-rate", type=bounded(float, 1e-9),
        default=learning_rate, help="size of the optimizer's steps",
    )  # fmt: skip
    group.add_argument(
        "-r",
        "--seed",
        "--random-seed",
        type=int,
        default=1,
        help="for all that is drawn; negative: draw one and print it",
    )
    group.add_argument(
        "--clip-norm",
        "--clip_norm",
        type=bounded(float, 0),
        default=5.0,
        help="largest norm of the gradient; 0 leaves it",
    )
    group.add_argument(
        "--decay", choices=("linear", "cosine", "none"), default="linear", help="how the learning rate falls to 0"
    )
    group.add_argument(
        "--save-minutes", type=bounded(float, 0), default=5.0, help="minutes between two saves within an epoch"
    )
    group.add_argument(
        "--max-steps", "--max_steps", type=bounded(int, 1), help="stop after this many training steps in all"
    )
    group.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="auto: mixed_bfloat16 where the device multiplies it natively"
    )


def add_run_options(parser):
    """Adds the group "run"."""
    group = parser.add_argument_group("run")
    beside = os.path.relpath(ROOT / "runs")
    beside = str(ROOT / "runs") if beside.startswith("..") else beside
    group.add_argument("-T", "--logdir", "--tb-directory", default=beside, help="folder that the runs go to")
    group.add_argument("--name", help="name of the new run (default: date and time)")
    which = group.add_mutually_exclusive_group()
    how = {"nargs": "?", "const": "", "metavar": "RUN"}
    which.add_argument("--resume", **how, help="go on training a run: its name or path, or the newest")
    which.add_argument("--eval", **how, help="score a run on the test split")
    which.add_argument("--sample", **how, help="talk to a run")
    group.add_argument("--dry-run", action="store_true", help="two batches of everything; nothing is kept")
    group.add_argument(
        "-o", "--output-every", type=bounded(int, 0), default=1, help="show samples every so many epochs; 0: never"
    )
