"""Opens the run that a command line asks for.

A run that is opened again keeps its options; an option on the command line that contradicts them is an error, never a
silent change.
"""

import atexit
import contextlib
import datetime
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from scriptorium import UserError
from scriptorium.command_line import ADDED, LARGEST_INT
from scriptorium.data import files
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.nn.device import AT_ONCE, device, join_processes, set_dtype, use_devices
from scriptorium.streams import note
from scriptorium.training import storage
from scriptorium.training.console import readable
from scriptorium.training.finding import BEST, FORMAT, LAST, PRETRAINED, another_format, find, say_unfinished
from scriptorium.training.options import ACTION_OPTIONS, CHANGEABLE, DTYPES, FIXED_GROUPS, TEXT
from scriptorium.training.run import Run, name_is_taken

import keras

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "safetensors", "nltk", "faker")
# Sizes that a saved run may have whatever its weights, which need not show them; other sizes of a model: 1024.
LARGEST = {"max_length": 4096, "positions": 4096, "batch_size": 16_384}


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
    wrong = next((key for key, kind in kinds.items() if not isinstance(config.get(key), kind)), None)
    if not wrong and config.get("format") != FORMAT:
        raise UserError(f"{readable(directory)} {another_format(config)}: train it again.")
    if not wrong and not 0 <= config["seed"] <= LARGEST_INT:
        wrong = "seed"
    if not wrong and config["dtype"] not in DTYPES[1:]:
        wrong = "dtype"
    if not wrong and not all(isinstance(value, str) for value in config["corpus"].values()):
        wrong = "corpus"
    if wrong:
        raise UserError(f"{directory / 'config.json'} is damaged: {wrong} is missing or has a wrong value.")
    if scripts is not None and config["script"] not in scripts:
        raise UserError(f"{readable(directory)} is a run of {config['script']}.py, not of {' or '.join(scripts)}.")
    try:
        vocabulary = Vocabulary.from_json(storage.read_json(directory / "vocab.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'vocab.json'} is damaged: {error}") from error
    return Run(config["script"], directory, config, vocabulary)


def check_options(run, args):
    """Checks the options of a run, which may come from elsewhere, before a model is built from them.

    Args:
        run: `Run`; an option that it lacks gets its default.
        args: any options of its script.

    Raises:
        UserError: an option that no command line gives, or a size that does not fit the saved weights.
    """
    parser, path = args.parser, run.directory / "config.json"
    for dest in vars(args).keys() - run.options.keys() - set(ADDED):
        if dest not in parser.names:
            raise UserError(f"{path} is damaged: {dest} is missing.")
        run.options[dest] = parser.get_default(dest)
    wrong = parser.invalid(run.options)
    shapes = next((s for s in (storage.shapes_of(run.directory / name) for name in (BEST, LAST)) if s), None)
    if not wrong and shapes:
        widest = max(max(shape, default=1) for shape in shapes)
        for dest, value in run.options.items():
            if type(value) is int and (parser.groups.get(dest) == "model" or dest in LARGEST):
                limit = len(shapes) if dest.endswith(("layers", "blocks")) else max(widest, LARGEST.get(dest, 1024))
                wrong = wrong or (dest if value > limit else None)
    if wrong:
        raise UserError(f"{path} is damaged: {wrong} cannot be {str(run.options[wrong])[:100]!r}.")


def open_for_use(which, logdir, scripts=None):
    """Opens a trained run for use, from code that works with the runs of several scripts.

    Args:
        which, logdir, scripts: see `find`.

    Returns:
        `Run`, with its dtype policy set; build its model from `options` and `vocabulary`, then `load_best`.
    """
    run = read(find(which, logdir, scripts, to_use=True), scripts)
    say_unfinished(run)
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
    if args.eval is None and args.sample is None:
        process, processes = join_processes()
        if processes > 1 and args.seed < 0:
            raise UserError("--seed: several processes need the same seed, so give one.")
        if process:
            _keep_to_itself(script, args)
    requested = next((which for which in (args.resume, args.eval, args.sample) if which is not None), None)
    run = _new_run(script, args) if requested is None else _existing_run(script, args, requested)
    run.changed = changed_options(run.options, args.parser, args.given | set(run.config.get("changed") or ()))
    if not run.for_use:
        run.config["changed"] = {name: value for name, (value, _) in run.changed.items()}
    run.config["dtype_reason"] = set_dtype(args.dtype)
    count = 1 if run.for_use else use_devices(args.devices)
    if args.batch_size % count:
        raise UserError(f"--batch-size {args.batch_size} is no multiple of the {count} devices.")
    run.config["dtype"], run.config["device"] = keras.config.dtype_policy().name, device(count)
    run.devices = count
    keras.utils.set_random_seed(run.seed)
    return run


def _keep_to_itself(script, args):
    """Lets a process other than the first print nothing, and write into a folder of its own that ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="scriptorium-")
    atexit.register(folder.cleanup)
    AT_ONCE.append(folder.cleanup)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if args.resume is not None:
        run = find(args.resume, args.logdir, (script,))
        args.resume = run.name
        shutil.copytree(run, Path(folder.name) / script / run.name)
    args.logdir = folder.name


def _new_run(script, args):
    args.parser.check_requirements(args)
    directory = None
    if args.name is not None:
        if not re.fullmatch(r"\w([\w .,+=@-]{0,98}[\w+=@-])?", args.name):
            raise UserError(f"--name {args.name!r} is not a valid folder name: use letters, digits, - and _.")
        directory = Path(args.logdir) / script / args.name
        if directory.exists() and not args.dry_run:
            raise name_is_taken(directory)
    args.seed = _drawn_if_negative(args.seed)
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
    config["options"] = {name: _plain(value) for name, value in vars(args).items() if name not in ADDED}
    directory = None if args.dry_run else directory
    return Run(script, directory, config, is_new=True, logdir=args.logdir, dry_run=args.dry_run)


def _drawn_if_negative(seed):
    return seed if seed >= 0 else secrets.randbelow(2**31)


def _existing_run(script, args, which):
    if args.name is not None:
        raise UserError(f"--name {args.name} is only for a new run; this run already has a name.")
    if args.dry_run and args.resume is not None:
        raise UserError("--dry-run starts a new run; it cannot be used with --resume.")
    run = read(find(which, args.logdir, (script,), to_use=args.resume is None), (script,))
    check_options(run, args)
    run.for_use = args.resume is None
    if run.is_packed and not run.for_use:
        path = readable(run.directory)
        raise UserError(f"{path} was packed for use and cannot be resumed; start a run of your own.")
    if args.sample is not None and "seed" in args.given:
        negative, run.seed = args.seed < 0, _drawn_if_negative(args.seed)
        run.options["seed"] = args.seed = run.seed
        if negative:
            note(f"seed {run.seed}")
    _take_text(run, args)
    _take_options(run, args)
    if run.for_use:
        say_unfinished(run)
    args.parser.check_requirements(args)
    return run


def changed_options(options, parser, given):
    """Returns the options that define a run and differ from the defaults: a dict of name -> (value, default).

    Args:
        options: dict of name -> value, of the run.
        parser: `Parser` of its script.
        given: names of options that were given. A script computes others whose default is None.
    """
    fixed = [dest for dest, group in parser.groups.items() if group in FIXED_GROUPS and dest in options]
    pairs = {dest: (options[dest], _plain(parser.get_default(dest))) for dest in fixed}
    return {
        dest: (value, default)
        for dest, (value, default) in pairs.items()
        if value != default and (default is not None or dest in given)
    }


def _take_options(run, args):
    """Copies the options of a run to `args`, and those that may change from `args` to the run."""
    for dest, value in run.options.items():
        if dest in ACTION_OPTIONS or not hasattr(args, dest):
            continue
        if dest not in args.given:
            setattr(args, dest, run.config["dtype"] if dest == "dtype" else value)
        elif args.parser.groups.get(dest) in FIXED_GROUPS and dest not in (*CHANGEABLE, *TEXT):
            given = _plain(getattr(args, dest))
            if given != value:
                flag = args.parser.flags[dest]
                raise UserError(f"{flag} {given} contradicts {run.name}, which was trained with {flag} {value}.")
        elif args.resume is not None:
            run.options[dest] = _plain(getattr(args, dest))


def _take_text(run, args):
    """Notes whether the command line names a text; `check_text` compares it with the text of the run."""
    run.text_given = bool(args.given & set(TEXT))
    if not run.text_given:
        return
    if args.sample is not None:
        name = files.name_of(args.data) if args.data else args.task if "task" in args.given else None
        if name not in (None, run.config["corpus"].get("name")):
            raise UserError(f"{name} contradicts {run.name}, which was trained on {run.config['corpus'].get('name')}.")
        args.given -= set(TEXT)
    elif "task" in args.given and "data" not in args.given:
        args.data, args.given = None, args.given | {"data"}
