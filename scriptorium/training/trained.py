"""Opens the trained VAE of any script, for what works with them all: the one that is named, or the newest that fits.

Beside homotopy.py. A script is known by its `build`, `encode`, `decode`, `score` and `sample_prior` alone, and by
`on_the_way` where it has settings of `decode` for the points of a walk.
"""

import importlib
import math
from pathlib import Path

from scriptorium import ROOT, UserError
from scriptorium.training import storage
from scriptorium.training.console import readable
from scriptorium.training.opening import newest_first, open_path, pretrained, say_pretrained
from scriptorium.training.run import BEST, FORMAT, LAST, another_format

# Nothing but these is ever imported because a run names it.
SCRIPTS = ("sentences", "names_vae", "transformer_vae")
# Options that choose among the runs, spelt as in the script that trained them.
FILTERS = {
    "embedding_dim": (int, "-E", "--embedding-dim", "--embedding_size", "--embedding-size"),
    "units": (int, "-L", "--units", "--num_units", "--lstm-hidden-size"),
    "latent_dim": (int, "-H", "--latent-dim", "--latent_dim", "--hidden-size"),
    "learning_rate": (float, "-l", "--learning-rate", "--learning_rate", "--learn-rate"),
    "batch_size": (int, "-b", "--batch-size", "--batch_size"),
    "max_steps": (int, "--max-steps", "--max_steps"),
    "annealing_pivot": (int, "--annealing-pivot", "--annealing_pivot"),
}


def add_options(parser):
    """Adds the group "run": --run, --logdir, --data, and options of a training that choose among the runs."""
    runs = str(ROOT / "runs")
    group = parser.add_argument_group("run", "the newest that matches; options it was trained with choose")
    add = group.add_argument
    add("--run", metavar="RUN", help="its name or path")
    add("-T", "--logdir", "--tb-directory", default=runs, help="folder that the runs are in")
    add("-D", "--data", "--data_dir", "--data-directory", metavar="PATH", help="the text it was trained on")
    for dest, (kind, *flags) in FILTERS.items():
        add(*flags, dest=dest, type=kind, metavar=kind.__name__.upper(), help="as it was trained")
    add("--keep-prob", "--keep_prob", type=float, default=1.0, help="1 - its word dropout; 1: any, walks drop no words")


def unfit(directory, config, args):
    """Returns why a run is not one that is asked for, None where it is."""
    if config.get("format") != FORMAT:
        return another_format(config)
    options, corpus = config.get("options"), config.get("corpus")
    if not isinstance(options, dict) or not isinstance(corpus, dict):
        return None  # damaged: opening it says so
    if options.get("no_latent"):
        return "is a language model without a latent space"
    if not any((directory / name).exists() for name in (BEST, LAST)):
        return "has no weights yet"
    wanted = {dest: getattr(args, dest) for dest in FILTERS if getattr(args, dest) is not None}
    if args.keep_prob != 1:
        wanted["word_dropout"] = 1 - args.keep_prob
    for dest, value in wanted.items():
        if options.get(dest) is None or not math.isclose(options[dest], value):
            return f"has {dest} {options.get(dest)}, not {value:g}"
    if args.data and corpus.get("name") != Path(args.data).resolve().name:
        return f"was trained on {corpus.get('name')}, not on {args.data}"
    return None


def newest(args):
    """Returns the directory of the newest run that fits; where there is none, of one that comes with the project."""
    own = newest_first(args.logdir, SCRIPTS)
    found = own or pretrained(SCRIPTS)
    if not found:
        raise UserError(f"There is no run in {readable(args.logdir)} yet: `python sentences.py -e 20` makes one.")
    reasons = []
    for path in found:
        reason = unfit(path, storage.read_json(path / "config.json"), args)
        if reason is None:
            if not own:
                say_pretrained(path, args.logdir)
            return path
        reasons.append(f"{path.name} {reason}")
    more = f"; {len(found) - 3} more do not either" if len(found) > 3 else ""
    raise UserError(f"No run in {readable(args.logdir)} matches: {'; '.join(reasons[:3])}{more}.")


def open_vae(args):
    """Opens the run that is asked for.

    Args:
        args: options that `add_options` added.

    Returns:
        `Run` with its model and weights, and the module of its script.

    Raises:
        UserError: there is none, none matches, or it is damaged.
    """
    run = open_path(args.run or newest(args), args.logdir, SCRIPTS)
    reason = unfit(run.directory, run.config, args)
    if reason:
        raise UserError(f"{run.name} {reason}.")
    return _with_model(run)


def opened(which, logdir, scripts=SCRIPTS):
    """Opens a run by its name or path, as `open_vae` does."""
    return _with_model(open_path(which, str(logdir), scripts))


def _with_model(run):
    try:
        script = importlib.import_module(run.script)
        run.model = script.build(run.options, run.vocabulary)
    except ModuleNotFoundError as error:
        raise UserError(f"{run.name} needs {error.name}, which is not installed.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run.directory / 'config.json'} is damaged or of another version: {error!r}") from error
    run.load_best(run.model)
    return run, script
