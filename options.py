"""The command line of a script, and the run that it asks for: options, devices, finding and opening runs.

An option means the same in every script. A run that is opened again brings its options with it; one given on the
command line that contradicts it is an error, never a silent change.
"""

import argparse
import contextlib
import datetime
import os
import platform
import secrets
import sys
from importlib import metadata
from pathlib import Path

import keras

import files
from devices import device, set_dtype
from runs import Run, name_is_taken, pretrained, readable
from util import UserError, Vocabulary, number

# Groups of options that a run is made of, and the options among them that may change when it goes on.
FIXED_GROUPS = ("data", "model", "objective", "training")
CHANGEABLE = ("epochs", "save_minutes", "max_steps", "dtype")
# Options that say what to do with a run: they are never taken from one.
PASSING = ("resume", "eval", "sample", "name", "logdir", "dry_run")
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "h5py", "nltk", "faker")
DTYPES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")

# Options ---------------------------------------------------------------------------------------------------------


def add_training_options(parser, epochs, batch_size, learning_rate):
    """Adds the group "training" with the given defaults."""
    group = parser.add_argument_group("training")
    group.add_argument("-e", "--epochs", type=number(int, 0), default=epochs, help="passes over the text, in all")
    group.add_argument(
        "-b",
        "--batch-size",
        "--batch_size",
        "--batchSize",
        type=number(int, 1),
        default=batch_size,
        help="sequences in a step",
    )
    group.add_argument(
        "-l", "--learning-rate", "--learning_rate", "--learn-rate", type=number(float, 1e-9),
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
        type=number(float, 0),
        default=5.0,
        help="largest norm of the gradient; 0 leaves it",
    )
    group.add_argument(
        "--decay", choices=("linear", "cosine", "none"), default="linear", help="how the learning rate falls to 0"
    )
    group.add_argument(
        "--save-minutes", type=number(float, 0), default=5.0, help="minutes between two saves within an epoch"
    )
    group.add_argument(
        "--max-steps", "--max_steps", type=number(int, 1), help="stop after this many training steps in all"
    )
    group.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="auto: mixed_bfloat16 where the device multiplies it natively"
    )


def add_run_options(parser):
    """Adds the group "run"."""
    group = parser.add_argument_group("run")
    beside = os.path.relpath(Path(__file__).resolve().parent / "runs")
    beside = str(Path(__file__).resolve().parent / "runs") if beside.startswith("..") else beside
    group.add_argument("-T", "--logdir", "--tb-directory", default=beside, help="folder that the runs go to")
    group.add_argument("--name", help="name of the new run (default: date and time)")
    which = group.add_mutually_exclusive_group()
    how = {"nargs": "?", "const": "", "metavar": "RUN"}
    which.add_argument("--resume", **how, help="go on training a run: its name or path, or the newest")
    which.add_argument("--eval", **how, help="score a run on the test split")
    which.add_argument("--sample", **how, help="talk to a run")
    group.add_argument("--dry-run", action="store_true", help="two batches of everything; nothing is kept")
    group.add_argument(
        "-o", "--output-every", type=number(int, 0), default=1, help="show samples every so many epochs; 0: never"
    )


def parse(parser, script, argv=None):
    """Parses a command line; nothing is read or written.

    Args:
        parser: `argparse.ArgumentParser`.
        script: name of the script, shown in errors.
        argv: list of str; None takes that of the process.

    Returns:
        The options, with these attributes more: `given`, set of the destinations that were given explicitly; `groups`
        and `flags`, dicts of destination -> title of its group and its first long spelling; `argv`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser.prog = f"{Path(script).stem}.py"
    args = parser.parse_args(argv)
    defaults = {action: action.default for action in parser._actions}
    constants, parser._defaults = parser._defaults, {}
    try:
        for action in defaults:
            action.default = argparse.SUPPRESS
        given = set(vars(parser.parse_args(argv)))
    finally:
        for action, default in defaults.items():
            action.default = default
        parser._defaults = constants
    args.given, args.argv, args.groups, args.flags = given, argv, {}, {}
    for group in parser._action_groups:
        for action in group._group_actions:
            args.groups.setdefault(action.dest, group.title)
            long = [flag for flag in action.option_strings if flag.startswith("--")]
            args.flags.setdefault(action.dest, (long or action.option_strings or [action.dest])[0])
    return args


# Finding and opening ---------------------------------------------------------------------------------------------


def newest_first(logdir, scripts=None):
    """Returns the directories of the runs below `logdir`, the newest first."""
    found = []
    if scripts is None:
        scripts = sorted(p.name for p in Path(logdir).iterdir()) if Path(logdir).is_dir() else []
    for script in scripts:
        found += (path.parent for path in (Path(logdir) / script).glob("[!.]*/config.json"))
    return sorted(found, key=lambda path: (path / "config.json").stat().st_mtime_ns, reverse=True)


def find(which, logdir, scripts=None, to_use=False):
    """Returns the directory of a run.

    Args:
        which: its path or its name; empty or None takes the newest.
        logdir: where runs go.
        scripts: names of the scripts to look for; None takes any.
        to_use: where there is none, one that comes with the project does, and stderr says so.

    Raises:
        UserError: there is no such run; says which there are.
    """
    found, ready = newest_first(logdir, scripts), pretrained(scripts) if to_use else []
    if not which:
        if found:
            return found[0]
        if ready:
            say_pretrained(ready[0], logdir)
            return ready[0]
        kind = f" of {' or '.join(f'{s}.py' for s in scripts)}" if scripts else ""
        raise UserError(f"There is no run{kind} in {readable(logdir)} yet.")
    if (Path(which) / "config.json").is_file():
        return Path(which)
    for path in [*(p for p in [*found, *ready] if p.name == which), Path(logdir) / which]:
        if (path / "config.json").is_file():
            return path
    names = ", ".join(path.name for path in found[:10]) or "none"
    raise UserError(f"There is no run {which}. In {readable(logdir)} there are: {names}{', ...' * (len(found) > 10)}.")


def say_pretrained(directory, logdir):
    """Says on stderr that a run is none of the user's."""
    print(
        f"There is no run of your own in {readable(logdir)} yet; {readable(directory)} comes with the project.",
        file=sys.stderr,
        flush=True,
    )


def read(directory, scripts=None):
    """Opens the run in a directory.

    Args:
        directory: Path.
        scripts: names of the scripts it may be of; None takes any.

    Returns:
        `Run`.

    Raises:
        UserError: it is damaged, or of another script.
    """
    config = files.read_json(directory / "config.json")
    kinds = {"script": str, "options": dict, "seed": int, "dtype": str, "corpus": dict}
    for key, kind in kinds.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"{directory / 'config.json'} is damaged: {key} is missing or of the wrong kind.")
    if scripts is not None and config["script"] not in scripts:
        raise UserError(f"{readable(directory)} is a run of {config['script']}.py, not of {' or '.join(scripts)}.")
    try:
        vocabulary = Vocabulary.from_json(files.read_json(directory / "vocab.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'vocab.json'} is damaged: {error}") from error
    return Run(config["script"], directory, config, vocabulary)


def open_path(which, logdir, scripts=None):
    """Opens a trained run to use it: for what works with the runs of several scripts.

    Args:
        which, logdir, scripts: see `find`.

    Returns:
        `Run`, with its dtype policy set; build its model from `options` and `vocabulary`, then `load_best`.
    """
    run = read(find(which, logdir, scripts, to_use=True), scripts)
    run.config["dtype_reason"] = set_dtype(run.config["dtype"])
    keras.utils.set_random_seed(run.seed)
    return run


def _plain(value):
    """Returns an option as JSON knows it."""
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _versions():
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def open_run(script, args):
    """Opens the run that a command line asks for, and sets the random seed and the dtype policy for its model.

    Args:
        script: name of the script, or its path.
        args: what `training.parse` returned. With --resume, --eval or --sample it takes on the options of the run.

    Returns:
        `Run`; a new one has nothing on disk yet.

    Raises:
        UserError: no such run, a damaged one, one of another script, options that contradict it, a name that is taken.
    """
    script = Path(script).stem
    asked = next((which for which in (args.resume, args.eval, args.sample) if which is not None), None)
    if asked is not None:
        if args.name is not None:
            raise UserError(f"--name {args.name} is for a new run; this one has its name.")
        if args.dry_run and args.resume is not None:
            raise UserError("--dry-run tries a new run; it cannot go on with one.")
        run = read(find(asked, args.logdir, (script,), to_use=args.sample is not None), (script,))
        if args.resume is not None and run.is_pretrained:
            raise UserError(
                f"{readable(run.directory)} was trained to its end and kept for use; start a run of your own."
            )
        _take_options(run, args)
    else:
        if args.seed < 0:
            args.seed = secrets.randbelow(2**31)
        directory = None
        if args.name is not None:
            if args.name in ("", ".", "..") or Path(args.name).name != args.name or args.name.startswith("."):
                raise UserError(f"--name {args.name!r} does not name a directory: take letters, digits, - and _.")
            directory = Path(args.logdir) / script / args.name
            if directory.exists() and not args.dry_run:
                raise name_is_taken(directory)
        config = {
            "script": script,
            "argv": args.argv,
            "versions": _versions(),
            "backend": keras.backend.backend(),
            "seed": args.seed,
            "started": datetime.datetime.now().isoformat(timespec="seconds"),
        }
        config["options"] = {
            k: _plain(v) for k, v in vars(args).items() if k not in ("argv", "flags", "given", "groups")
        }
        directory = None if args.dry_run else directory
        run = Run(script, directory, config, is_new=True, logdir=args.logdir, dry_run=args.dry_run)
    run.config["dtype_reason"] = set_dtype(args.dtype)
    run.config["dtype"], run.config["device"] = keras.config.dtype_policy().name, device()
    keras.utils.set_random_seed(run.seed)
    return run


def _take_options(run, args):
    """Gives `args` the options of a run, and the run those that may change."""
    for dest, value in run.options.items():
        if dest in PASSING or not hasattr(args, dest):
            continue
        if dest not in args.given:
            setattr(args, dest, run.config["dtype"] if dest == "dtype" else value)
        elif args.groups.get(dest) in FIXED_GROUPS and dest not in CHANGEABLE:
            given = _plain(getattr(args, dest))
            if given != value:
                raise UserError(
                    f"{args.flags[dest]} {given} contradicts {run.name},"
                    f" which was trained with {args.flags[dest]} {value}."
                )
        elif args.resume is not None:
            run.options[dest] = _plain(getattr(args, dest))
