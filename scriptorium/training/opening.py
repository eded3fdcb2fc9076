"""The command line of a script, and the run that it asks for: options, devices, finding and opening runs.

An option means the same in every script. A run that is opened again brings its options with it; one given on the
command line that contradicts it is an error, never a silent change.
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
    config = storage.read_json(directory / "config.json")
    kinds = {"script": str, "options": dict, "seed": int, "dtype": str, "corpus": dict}
    for key, kind in kinds.items():
        if not isinstance(config.get(key), kind):
            raise UserError(f"{directory / 'config.json'} is damaged: {key} is missing or of the wrong kind.")
    if config.get("format") != FORMAT:
        raise UserError(f"{readable(directory)} {another_format(config)}: train it anew.")
    if scripts is not None and config["script"] not in scripts:
        raise UserError(f"{readable(directory)} is a run of {config['script']}.py, not of {' or '.join(scripts)}.")
    try:
        vocabulary = Vocabulary.from_json(storage.read_json(directory / "vocab.json"))
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


# Runs that come with the project have nothing but their weights, in half precision.
PRETRAINED = ROOT / "pretrained"  # runs that come with the project


def pretrained(scripts=None):
    """Returns the directories of the runs that come with the project, in the order of `scripts`; None takes any."""
    return [path.parent for script in scripts or ["*"] for path in sorted(PRETRAINED.glob(f"{script}/*/config.json"))]
