"""Command-line options for training, and for the run."""

import os

from scriptorium.command_line import bounded, seed
from scriptorium.training.finding import RUNS

# Groups of options that define a run, and the options among them that may change when it is resumed.
FIXED_GROUPS = ("data", "model", "objective", "training")
CHANGEABLE = ("epochs", "save_minutes", "max_steps", "dtype", "devices")
TEXT = ("task", "data", "limit", "layout")  # compared by the fingerprint of the text, not by their names

# Options that choose an action; never restored from a run.
ACTION_OPTIONS = ("resume", "eval", "sample", "name", "logdir", "dry_run", "score", "interactive", "text", "prepared")
DTYPES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


def set_unless_given(args, values):
    """Sets the options in a dict of name -> value that were not given on the command line."""
    for name in values.keys() - args.given:
        setattr(args, name, values[name])


def devices(text):
    """Parses a number of devices, or "auto"."""
    return text if text == "auto" else bounded(int, 1)(text)


# For `requires` of options that only training, scoring or sampling reads.
TRAINING = "training", lambda args: args.eval is None and args.sample is None
EVAL = "--eval", lambda args: args.eval is not None
SAMPLE = "--sample", lambda args: args.sample is not None


def add_training_options(parser, epochs, batch_size, learning_rate, averages=False):
    """Adds the group "training" to a `Parser`, with the given defaults; with `--ema` if a script averages weights."""
    add, more, positive = parser.group("training"), parser.group("training", rare=True), bounded(int, 1)
    add("-e", "--epochs", type=positive, default=epochs, help="passes over the text, in total")
    older = ["--batch_size", "--batchSize"]
    details = "Fewer for a small text, unless given"
    add(
        "-b", "--batch-size", type=positive, default=batch_size, help="sequences per step", older=older, details=details
    )
    older, rate = ["--learning_rate", "--learn-rate"], bounded(float, 1e-9)
    add("-l", "--learning-rate", type=rate, default=learning_rate, help="step size of the optimizer", older=older)
    about, details = "random seed; negative: draw one", "With --sample, another seed gives other samples"
    add("-r", "--seed", type=seed, default=1, help=about, older=["--random-seed"], details=details)
    about = "largest norm of the gradient; 0: no limit"
    more("--clip-norm", type=bounded(float, 0), default=5.0, help=about, older=["--clip_norm"])
    about = "how the learning rate falls to 0"
    more("--decay", choices=("linear", "cosine", "none"), default="linear", help=about)
    if averages:
        about, momentum = "score with averaged weights, such as 0.999", bounded(float, 0, 0.99999)
        more("--ema", type=momentum, default=0.0, metavar="MOMENTUM", help=about, older=["--average"])
    about = "minutes between two saves within an epoch"
    more("--save-minutes", type=bounded(float, 0), default=5.0, help=about)
    more("--max-steps", type=positive, help="stop after this many training steps in total", older=["--max_steps"])
    about = "auto: mixed_bfloat16 where the device multiplies it natively"
    more("--dtype", choices=DTYPES, default="auto", help=about)
    about = "devices to train on; auto: all"
    more("--devices", type=devices, default=1, metavar="N", help=about, requires=TRAINING)


def add_run_options(parser, labeled=False):
    """Adds the group "run" to a `Parser`; `labeled` is whether the texts of the script have labels."""
    add = parser.group("run")
    near = os.path.relpath(RUNS)
    near = RUNS if near.startswith("..") else near
    add("-T", "--logdir", default=near, metavar="DIR", help="folder of the runs", older=["--tb-directory"])
    add("--name", metavar="NAME", help="name of the run; default: date, time, what differs")
    add_one, run = add.exclusive(), {"nargs": "?", "const": "", "metavar": "RUN"}
    add_one("--resume", **run, help="continue training a run: a name or path, or the newest")
    add_one("--eval", **run, help="score a run on its test split, or on another text (-D)")
    add_one("--sample", **run, help="sample from a run: type lines, or pipe them")
    add("--dry-run", action="store_true", help="run two batches of everything and keep nothing")
    if not labeled:
        about, of_file = "keep a large text here, ready for training", ("-D", lambda args: args.data is not None)
        details = "The next start, and other processes, take it from there"
        rare = parser.group("run", rare=True)
        rare("--prepared", metavar="DIR", help=about, details=details, requires=of_file)
    about = "show samples every N epochs, and after the first; 0: never"
    add("-o", "--output-every", type=bounded(int, 0), default=5, help=about)
