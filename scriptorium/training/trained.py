"""Opens trained runs of any script for use: by name or path, the newest, or the newest that matches some options."""

import importlib
import math
import sys

from scriptorium import ROOT, UserError
from scriptorium.data import files
from scriptorium.training import storage
from scriptorium.training.console import readable
from scriptorium.training.finding import (
    BEST,
    FORMAT,
    LAST,
    RUNS,
    another_format,
    bundled,
    find,
    newest_first,
    say_bundled,
)

# The scripts whose runs can be opened for use, and the class or function in each that opens one. A run can name no
# other module.
SCRIPTS = {
    "sentences": "Codec",
    "names_vae": "NamesCodec",
    "transformer_vae": "TransformerCodec",
    "chars": "open_language_model",
    "words": "open_language_model",
    "text_gan": "open_sampler",
}
VAES = ("sentences", "names_vae", "transformer_vae")
LANGUAGE_MODELS = ("chars", "words")
# Options that choose among the runs, spelled as in the script that trained them, and older spellings.
FILTERS = {
    "embedding_dim": (int, ["-E", "--embedding-dim"], ["--embedding_size", "--embedding-size"]),
    "units": (int, ["-L", "--units"], ["--num_units", "--lstm-hidden-size"]),
    "latent_dim": (int, ["-H", "--latent-dim"], ["--latent_dim", "--hidden-size"]),
    "learning_rate": (float, ["-l", "--learning-rate"], ["--learning_rate", "--learn-rate"]),
    "batch_size": (int, ["-b", "--batch-size"], ["--batch_size"]),
    "max_steps": (int, ["--max-steps"], ["--max_steps"]),
    "annealing_pivot": (int, ["--annealing-pivot"], ["--annealing_pivot"]),
}


def add_options(parser):
    """Adds the group "run" to a `Parser`: --run, --logdir, --data, and training options that select a run."""
    add = parser.group("run")
    add("--run", metavar="RUN", help="name or path of the run; default: the newest one trained with the options below")
    add("-T", "--logdir", metavar="DIR", default=RUNS, help="folder of the runs", older=["--tb-directory"])
    older = ["--data_dir", "--data-directory"]
    add("-D", "--data", metavar="PATH", help="select a run by its text; with --plot, the text to draw", older=older)
    more = parser.group("run", rare=True)
    for dest, (kind, flags, older) in FILTERS.items():
        more(
            *flags,
            dest=dest,
            type=kind,
            metavar={int: "N", float: "X"}[kind],
            help="select a run by this training option",
            older=older,
        )
    about = "select a run by 1 - its word dropout; 1: any run"
    more("--keep-prob", type=float, metavar="X", default=1.0, help=about, older=["--keep_prob"])


def mismatch(directory, config, args):
    """Returns why a run does not match the request, or None."""
    if config.get("format") != FORMAT:
        return another_format(config)
    options, corpus = config.get("options"), config.get("corpus")
    if not isinstance(options, dict) or not isinstance(corpus, dict):
        return None  # damaged: opening it raises the error
    if options.get("no_latent"):
        return "is a language model without a latent space"
    if not any((directory / name).exists() for name in (BEST, LAST)):
        return "has no weights yet"
    requested = {dest: getattr(args, dest) for dest in FILTERS if getattr(args, dest) is not None}
    if args.keep_prob != 1:
        requested["word_dropout"] = 1 - args.keep_prob
    for dest, value in requested.items():
        if options.get(dest) is None or not math.isclose(options[dest], value):
            return f"has {dest} {options.get(dest)}, not {value:g}"
    if args.data is not None and corpus.get("name") != files.name_of(args.data):
        return f"was trained on {corpus.get('name')}, not on {args.data}"
    return None


def newest(args):
    """Returns the directory of the newest run that matches the options, or of a bundled run if there are no others."""
    user_runs = newest_first(args.logdir, VAES)
    runs = user_runs or bundled(VAES)
    if not runs:
        raise UserError(f"There is no run in {readable(args.logdir)} yet: `python sentences.py -e 20` trains one.")
    reasons = []
    for path in runs:
        reason = mismatch(path, storage.read_json(path / "config.json"), args)
        if reason is None:
            if not user_runs:
                say_bundled(path, args.logdir)
            return path
        reasons.append(f"{path.name} {reason}")
    more = f"; {len(runs) - 3} more do not match either" if len(runs) > 3 else ""
    raise UserError(f"No run in {readable(args.logdir)} matches: {'; '.join(reasons[:3])}{more}.")


def load_codec_from_args(args):
    """Returns the `Codec` of the VAE run selected by the options of `add_options`.

    Raises:
        UserError: there is no run, none matches, or it is damaged.
    """
    run = _open(args.run or newest(args), args.logdir, VAES)
    reason = mismatch(run.directory, run.config, args)
    if reason:
        raise UserError(f"{run.name} {reason}.")
    return _load(run)


def load(which, logdir=None, scripts=tuple(SCRIPTS)):
    """Opens a trained run for use, as a `Codec`, a `LanguageModel` or a `Sampler`.

    Args:
        which: the name of a script, for its newest run, or the bundled one if there is none; or the name or path of a
            run.
        logdir: folder of the runs; None for `runs/` of the project.
        scripts: names of the scripts that the run may belong to.

    Raises:
        UserError: there is no such run, or it is damaged.
    """
    logdir = RUNS if logdir is None else logdir
    if which in SCRIPTS:
        which = str(find("", logdir, (which,), to_use=True))
    return _load(_open(str(which), str(logdir), scripts))


def _open(which, logdir, scripts):
    from scriptorium.training import opening  # loads Keras, which a wrong option does not wait for

    return opening.open_for_use(which, logdir, scripts)


def _load(run):
    from scriptorium.training import opening

    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # so that the scripts can be imported from any folder
    try:
        script = importlib.import_module(run.script)
    except ModuleNotFoundError as error:
        raise UserError(f"{run.name} needs {error.name}, which is not installed.") from error
    defaults = script.parse_args([])
    opening.check_options(run, defaults)
    computed = {name for name, value in run.options.items() if value == getattr(defaults, name, None)}
    run.flags = defaults.parser.flags
    run.changed = opening.changed_options(run.options, defaults.parser, run.options.keys() - computed)
    run.load_model(script.build)
    return getattr(script, SCRIPTS[run.script])(run)
