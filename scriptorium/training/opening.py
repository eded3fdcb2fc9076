"""Finds and opens the run that a command line asks for.

A run that is opened again keeps its options; an option on the command line that contradicts them is an error, never a
silent change.
"""

import contextlib
import datetime
import platform
import secrets
import sys
from importlib import metadata
from pathlib import Path

from scriptorium import ROOT, UserError
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.nn.device import device, set_dtype
from scriptorium.training import storage
from scriptorium.training.console import readable
from scriptorium.training.options import (
    CHANGEABLE,
    FIXED_GROUPS,
    PASSING,
)
from scriptorium.training.run import FORMAT, Run, another_format, name_is_taken

import keras

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "safetensors", "nltk", "faker")


def newest_first(logdir, scripts=None):
    """Returns the directories of the runs in `logdir`, newest first."""
    runs = []
    if scripts is None:
        scripts = sorted(p.name for p in Path(logdir).iterdir()) if Path(logdir).is_dir() else []
    for script in scripts:
        runs += (path.parent for path in (Path(logdir) / script).glob("[!.]*/config.json"))
    return sorted(runs, key=lambda path: (path / "config.json").stat().st_mtime_ns, reverse=True)


def find(which, logdir, scripts=None, to_use=False):
    """Returns the directory of a run.

    Args:
        which: path or name of the run; empty or None for the newest.
        logdir: folder of the runs.
        scripts: names of the scripts to look for; None for any.
        to_use: if there is no run, fall back to a bundled one, and say so on stderr.

    Raises:
        UserError: there is no such run; the message lists the runs.
    """
    runs, ready = newest_first(logdir, scripts), bundled(scripts) if to_use else []
    if not which:
        if runs:
            return runs[0]
        if ready:
            say_bundled(ready[0], logdir)
            return ready[0]
        kind = f" of {' or '.join(f'{s}.py' for s in scripts)}" if scripts else ""
        raise UserError(f"There is no run{kind} in {readable(logdir)} yet.")
    if (Path(which) / "config.json").is_file():
        return Path(which)
    for path in [*(p for p in [*runs, *ready] if p.name == which), Path(logdir) / which]:
        if (path / "config.json").is_file():
            return path
    names = ", ".join(path.name for path in runs[:10]) or "none"
    raise UserError(f"There is no run {which}. Runs in {readable(logdir)}: {names}{', ...' * (len(runs) > 10)}.")


def say_bundled(directory, logdir):
    """Says on stderr that a bundled run is used."""
    print(
        f"There is no run of your own in {readable(logdir)} yet; using the bundled {readable(directory)}.",
        file=sys.stderr,
        flush=True,
    )


def read(directory, scripts=None):
    """Opens the run in a directory.

    Args:
        directory: Path.
        scripts: names of the scripts that it may belong to; None for any.

    Returns:
        `Run`.

    Raises:
        UserError: the run is damaged, or belongs to another script.
    """
    if PRETRAINED not in directory.resolve().parents:
        storage.check_directory(directory)
    config = storage.read_json(directory / "config.json")
    kinds = {"script": str, "options": dict, "seed": int, "dtype": str, "corpus": dict}
    for key, kind in kinds.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"{directory / 'config.json'} is damaged: {key} is missing or has the wrong type.")
    if config.get("format") != FORMAT:
        raise UserError(f"{readable(directory)} {another_format(config)}: train it again.")
    if scripts is not None and config["script"] not in scripts:
        raise UserError(f"{readable(directory)} is a run of {config['script']}.py, not of {' or '.join(scripts)}.")
    try:
        vocabulary = Vocabulary.from_json(storage.read_json(directory / "vocab.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'vocab.json'} is damaged: {error}") from error
    return Run(config["script"], directory, config, vocabulary)


def open_for_use(which, logdir, scripts=None):
    """Opens a trained run for use, from code that works with the runs of several scripts.

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
    """Returns an option as a plain JSON value."""
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
    """Opens the run that a command line asks for, and sets the random seed and the dtype policy.

    Args:
        script: name or path of the script.
        args: parsed options. With --resume, --eval or --sample they are updated with the options of the run.

    Returns:
        `Run`; a new one has nothing on disk yet.

    Raises:
        UserError: the run does not exist, is damaged, belongs to another script or contradicts the options, or the
            name is taken.
    """
    script = Path(script).stem
    requested = next((which for which in (args.resume, args.eval, args.sample) if which is not None), None)
    if requested is not None:
        if args.name is not None:
            raise UserError(f"--name {args.name} is only for a new run; this run already has a name.")
        if args.dry_run and args.resume is not None:
            raise UserError("--dry-run starts a new run; it cannot be used with --resume.")
        run = read(find(requested, args.logdir, (script,), to_use=args.sample is not None), (script,))
        if args.resume is not None and run.is_bundled:
            raise UserError(
                f"{readable(run.directory)} is a bundled run, which cannot be resumed; start a run of your own."
            )
        _take_options(run, args)
    else:
        if args.seed < 0:
            args.seed = secrets.randbelow(2**31)
        directory = None
        if args.name is not None:
            if args.name in ("", ".", "..") or Path(args.name).name != args.name or args.name.startswith("."):
                raise UserError(f"--name {args.name!r} is not a valid folder name: use letters, digits, - and _.")
            directory = Path(args.logdir) / script / args.name
            if directory.exists() and not args.dry_run:
                raise name_is_taken(directory)
        config = {
            "format": FORMAT,
            "script": script,
            "argv": args.argv,
            "versions": _versions(),
            "backend": keras.backend.backend(),
            "seed": args.seed,
            "started": datetime.datetime.now().isoformat(timespec="seconds"),
            "epochs_done": 0,
            "minutes": 0.0,
        }
        config["options"] = {
            k: _plain(v) for k, v in vars(args).items() if k not in ("argv", "defaults", "flags", "given", "groups")
        }
        directory = None if args.dry_run else directory
        run = Run(script, directory, config, is_new=True, logdir=args.logdir, dry_run=args.dry_run)
    run.in_use = requested is not None and args.resume is None
    run.changed = _changed(run.options, args)
    run.config["dtype_reason"] = set_dtype(args.dtype)
    run.config["dtype"], run.config["device"] = keras.config.dtype_policy().name, device()
    keras.utils.set_random_seed(run.seed)
    return run


def _changed(options, args):
    """Returns the options that define a run and differ from the defaults: a dict of name -> (value, default)."""
    defaults = {dest: _plain(args.defaults[dest]) for dest, group in args.groups.items() if group in FIXED_GROUPS}
    return {d: (options[d], default) for d, default in defaults.items() if d in options and options[d] != default}


def _take_options(run, args):
    """Copies the options of a run to `args`, and those that may change from `args` to the run."""
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


# Bundled runs hold only their weights, in half precision.
PRETRAINED = ROOT / "pretrained"


def bundled(scripts=None):
    """Returns the directories of the bundled runs, in the order of `scripts`; None for all."""
    return [path.parent for script in scripts or ["*"] for path in sorted(PRETRAINED.glob(f"{script}/*/config.json"))]
