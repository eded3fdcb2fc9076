"""Share: puts a trained run into a folder that you can give to anybody.

The folder holds what using the model takes, and no more: weights in half precision, options, vocabulary, curve, test
scores, samples, and a model card (README.md) that says what the model is, what it was trained on, how good it is, and
how to use it. Paths of your machine are left out. What remains of the text is in the vocabulary and in the samples;
how many of the samples are training texts is counted.

Try:
    python share.py RUN my-model                           a run by name or path
    python sentences.py --sample my-model                  use it, as anybody can who has the folder
    python homotopy.py --run my-model
"""

import json
import os
import shlex
import shutil
from pathlib import Path

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command
from scriptorium.streams import note
from scriptorium.training import finding, overview, storage
from scriptorium.training.console import readable
from scriptorium.training.finding import BEST, FORMAT
from scriptorium.training.main_scores import ON_TEST

import numpy as np

FACTS = (  # what config.json keeps
    *("format", "script", "options", "seed", "versions", "backend", "started", "corpus", "parameters"),
    *("device", "epochs_done", "epochs_asked", "minutes", "command", "processor"),
)
KINDS = {
    "chars": "A character RNN: it continues any text, character by character.",
    "words": "A word RNN: it continues a text word by word, and says how likely any text is.",
    "sentences": "A Sentence VAE: it encodes a sentence as a point of a latent space, and decodes any point.",
    "names_vae": "A VAE of names: it invents names, of a language, near a name, or with a given beginning.",
    "transformer_vae": "A transformer VAE: it encodes a short text as a short code, and decodes any code.",
    "text_gan": "A text GAN: it writes sentences.",
}
RUNNING_TEXT = ("chars",)  # scripts whose samples are pieces of a running text
LONGEST_TEXT = 20_000_000  # characters of a running text that is searched for copies
LINE = 40  # characters: shorter lines of a running text occur twice by chance
SHOWN = 10  # samples on the card


# The folder -----------------------------------------------------------------------------------------------------------


def half_precision(model):
    """Returns the weights of a model in half precision, a dict of name -> array.

    Raises:
        UserError: a weight is too large for half precision.
    """
    from scriptorium.training import weights

    arrays = {}
    for name, array in weights.values(weights.weights_of(model)).items():
        with np.errstate(over="ignore"):
            arrays[name] = array.astype("float16") if array.dtype.kind == "f" else array
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{name} does not fit half precision: its largest number is {np.abs(array).max():g}")
    return arrays


def without_paths(value):
    """Returns a value in which each path is only the name of its file."""
    if isinstance(value, str) and (os.sep in value or "/" in value):
        flag, equals, path = value.rpartition("=") if value.startswith("-") else ("", "", value)
        return f"{flag}{equals}{Path(path).name}"
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return value


def config_of(run, name):
    """Returns what config.json holds in a shared folder."""
    config = {key: run.config[key] for key in FACTS if key in run.config}
    config["changed"] = {key: value for key, (value, _) in run.changed.items()}
    for part in ("options", "changed", "corpus"):
        config[part] = {key: without_paths(value) for key, value in config[part].items()}
    config["options"] |= {"name": name, "logdir": "runs"}
    if "command" not in config:
        words = without_paths(overview.words_of(run.config))
        config["command"] = shlex.join(["python", f"{run.script}.py", *words])
    # With float32, generated text is the same on every machine.
    return config | {"packed": True, "dtype": "float32"}


def draw(codec, count, seed):
    """Returns texts that a model samples with the settings of its run, list of str."""
    run = codec.run
    search = ("beam",) if run.options.get("beam", 1) > 1 else ()
    names = [name for name in ("temperature", "top_k", "top_p", *search) if run.options.get(name) is not None]
    return codec.sample(count, seed=seed, **{name: run.options[name] for name in names})


def copied(run, samples):
    """Returns which samples are training texts, list of bool, or None if the text is not there or is too long.

    Of a running text, a sample counts if one of its longer lines is a line of the text.
    """
    from scriptorium.data import corpora, running_text
    from scriptorium.scores.comparison import copies

    options, fingerprint = run.options, run.config["corpus"].get("fingerprint")
    if run.script not in RUNNING_TEXT:
        corpus = corpora.reload_or_none(options, fingerprint)
        return None if corpus is None else copies(samples, corpus.train).tolist()
    settings = {"limit": options["limit"], "level": options["level"], "size": options["top_words"]}
    try:
        text = running_text.read(options["task"], options["data"], vocabulary=run.vocabulary, **settings)
    except (UserError, OSError):
        return None
    if text.fingerprint != fingerprint or len(text.train) > LONGEST_TEXT:
        return None
    known = {line for line in run.vocabulary.decode(text.train).splitlines() if len(line) >= LINE}
    # The last line is cut off.
    return [any(line in known for line in sample.splitlines()[:-1]) for sample in samples]


# The model card -------------------------------------------------------------------------------------------------------


def card(config, scores, samples, copies, *, is_rounded=False, license_name=None):
    """Returns the model card, Markdown with a block of metadata.

    Args:
        config: as in config.json.
        scores: dict of name -> number, perhaps empty.
        samples: list of str.
        copies: which samples are training texts, list of bool; None if unknown.
        is_rounded: whether the scores are those of the rounded weights.
        license_name: its identifier, or None.
    """
    script, name, corpus = config["script"], config["options"]["name"], config["corpus"]
    metadata = {
        "library_name": "keras",
        "pipeline_tag": "text-generation",
        **({"license": license_name} if license_name else {}),
        "tags": ["scriptorium", script.replace("_", "-")],
    }
    epochs = f"{config.get('epochs_done')} epochs, {config.get('minutes', 0):.0f} minutes"
    parts = [
        "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in metadata.items()), "---"]),
        f"# {name}",
        KINDS[script],
        f"{config['parameters']:,} parameters, in half precision. Trained with `{config['command']}`"
        f" ({epochs}, {config.get('device', 'unknown device')}, seed {config['seed']}).",
        "## Use",
        "With Scriptorium, the collection of scripts that trained it; PATH stands for this folder:",
        block(uses(script)),
        "## Data",
        f"{corpus.get('description', corpus.get('name'))}.",
        "## Scores",
        score_table(scores, is_rounded),
        "## Samples",
        f"The first {min(SHOWN, len(samples))} of {len(samples)}, with the settings of the run and nothing left out"
        f" (samples.txt has all). {copies_in_words(copies)}",
        block((("\n\n" if script in RUNNING_TEXT else "\n").join(samples[:SHOWN])).split("\n")),
        "## Limits",
        "A small model that writes what resembles its training text, without knowing what is true. It repeats the"
        " mistakes and prejudices of that text, and may repeat parts of it word for word. The vocabulary (vocab.json)"
        " and the samples come from that text.",
    ]
    return "\n\n".join(parts) + "\n"


def block(lines):
    """Returns lines as literal text in Markdown."""
    return "\n".join(f"    {line}".rstrip() for line in lines)


def uses(script):
    """Returns commands that use a shared run."""
    lines = [f"python {script}.py --sample PATH"]
    if script in ("sentences", "names_vae", "transformer_vae"):
        lines.append("python homotopy.py --run PATH")
    return [*lines, "python -c \"import scriptorium; print(scriptorium.load('PATH').sample(5))\""]


def score_table(scores, rounded):
    """Returns test scores as a Markdown table, the main ones first; `rounded`: they are those of rounded weights."""
    if not scores:
        return "The run was not scored."
    names = [name for name in ON_TEST if name in scores]
    names += [name for name in scores if name not in names]
    cells = ((name, f"{v:,.4g}" if isinstance(v := scores[name], float) else v) for name in names)
    about = "On the test split" + (":" if rounded else ", before the weights were rounded to half precision:")
    return "\n".join([about, "", "| score | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells)])


def copies_in_words(copies):
    """Returns how many samples are training texts, as a sentence."""
    if copies is None:
        return "Whether some of them are training texts is unknown: the text was not there to compare."
    return f"{sum(copies)} of them are training texts, word for word."


# Command line ---------------------------------------------------------------------------------------------------------


def share(codec, folder, count, seed, license_name):
    """Writes the shared folder of an opened run, whole or not at all.

    Args:
        codec: as `trained.load` returns.
        folder: Path that does not exist.
        count: number of samples.
        seed: int, of the samples.
        license_name: see `card`.
    """
    run, temporary = codec.run, folder.with_name(f"{storage.TEMPORARY}{os.getpid()}-{folder.name}")
    samples = draw(codec, count, seed)
    copies = copied(run, samples)
    config = config_of(run, folder.name)
    scores = storage.read_json(run.directory / "eval.json") if (run.directory / "eval.json").exists() else {}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        storage.save_arrays(temporary / BEST, {"format": FORMAT, "script": run.script}, half_precision(run.model))
        storage.write_json(temporary / "config.json", config)
        vocabulary = json.dumps(run.vocabulary.to_json(), ensure_ascii=False, separators=(",", ":"))
        storage.write_text(temporary / "vocab.json", vocabulary + "\n")
        for name in ("history.csv", "eval.json"):
            if (run.directory / name).exists():
                shutil.copyfile(run.directory / name, temporary / name)
        between = "\n\n" if run.script in RUNNING_TEXT else "\n"
        storage.write_text(temporary / "samples.txt", between.join(samples) + "\n")
        shown = {name: value for name, value in scores.items() if name not in overview.UNCOMPARED}
        text = card(config, shown, samples, copies, is_rounded=run.is_bundled, license_name=license_name)
        storage.write_text(temporary / "README.md", text)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{readable(folder)}: {size:,} bytes, with a model card (README.md). To use it:")
    print(*(f"  {line.replace('PATH', shlex.quote(str(readable(folder))))}" for line in uses(run.script)), sep="\n")
    note(
        f"What leaves your machine of the text: {len(run.vocabulary):,} entries of vocab.json, and {len(samples)}"
        f" samples. {copies_in_words(copies)} Read both files before you publish them."
    )
    if not scores:
        note(f"The run has no test scores: `python {run.script}.py --eval {run.name}` computes them; then share again.")


def parse_args(argv=None):
    parser = Parser("share", __doc__)
    parser.add_argument("run", metavar="RUN", help="name or path of a trained run")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to put it; must not exist yet")
    add = parser.group("what")
    add("--samples", type=bounded(int, 1, 10_000), default=100, metavar="N", help="how many samples to include")
    add("-r", "--seed", type=bounded(int, 0), default=1, help="random seed of the samples")
    about = "license of the model for the card, such as mit or cc-by-4.0; you decide, so there is no default"
    add("--license", metavar="ID", help=about)
    add = parser.group("run")
    add("-T", "--logdir", metavar="DIR", default=finding.RUNS, help="folder of the runs", older=["--tb-directory"])
    return parser.parse(argv)


def main(args):
    if os.path.lexists(args.folder):
        raise UserError(f"{args.folder} already exists: delete it first, or choose another folder")
    finding.find(args.run, args.logdir, to_use=True)  # before Keras is loaded
    from scriptorium.training import trained

    share(trained.load(args.run, args.logdir), args.folder, args.samples, args.seed, args.license)


if __name__ == "__main__":
    command(main, parse_args)
