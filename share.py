"""Share: puts a trained run into a folder that you can give to anybody.

The folder holds what using the model takes, and no more: weights in half precision, options, vocabulary, curve, test
scores, samples, and a model card (README.md) that says what the model is, what it was trained on, how good it is, and
how to use it. Paths of your machine are left out. Only the vocabulary, the labels and the samples still contain parts
of the text; the script counts the samples that repeat training texts.

Try:
    python share.py RUN my-model                           a run by name or path
    python sentences.py --sample my-model                  use it, as anybody can who has the folder
    python homotopy.py --run my-model
"""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command
from scriptorium.data.files import shown
from scriptorium.streams import note
from scriptorium.training import finding, overview, storage, trained
from scriptorium.training.console import readable, short
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
    "names_vae": "A VAE of names: it invents names, in a given language, similar to a given name, or with a beginning.",
    "transformer_vae": "A transformer VAE: it encodes a short text as a short code, and decodes any code.",
    "text_gan": "A text GAN: it writes sentences.",
}
LANGUAGE_MODEL = "The decoder of {}.py alone, without a latent space: a language model."
RUNNING_TEXT = ("chars",)  # scripts whose samples are pieces of a running text
LONGEST_TEXT = 20_000_000  # characters of a running text that is searched for copies
COPIED, STRIDE = 40, 5  # characters that a sample has in common with a running text to count, and steps of the search
PATHS = ("data", "text", "embeddings", "init", "vocab", "score", "prepared")  # options that hold a path
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


def name_of(path):
    """Returns the last part of a path of any system."""
    return shown(re.split(r"[\\/]", path.rstrip("\\/"))[-1])


def without_paths(options):
    """Returns options in which each path is only the name of its file."""
    return {
        name: name_of(value) if name in PATHS and isinstance(value, str) else value for name, value in options.items()
    }


def config_of(run, name):
    """Returns what config.json holds in a shared folder."""
    config = {key: run.config[key] for key in FACTS if key in run.config}
    config["changed"] = without_paths({key: value for key, (value, _) in run.changed.items()})
    config["options"] = without_paths(config["options"]) | {"name": name, "logdir": "runs"}
    # The files of a folder that were not read are nobody's business.
    description = str(config["corpus"].get("description", "")).partition("; not read: ")[0]
    config["corpus"] = config["corpus"] | {"description": description}
    config.setdefault("command", command_of(run))
    # With float32, generated text is the same on every machine.
    return config | {"packed": True, "dtype": "float32"}


def command_of(run):
    """Returns a command that trains such a run again, from the options that differ from the defaults."""
    words = []
    for name, value in without_paths({name: value for name, (value, _) in run.changed.items()}).items():
        words += [run.flags[name]] if value is True else [run.flags[name], str(value)]
    return shlex.join(["python", f"{run.script}.py", *words])


def draw(codec, count, seed):
    """Returns texts that a model samples with the settings of its run, list of str."""
    run = codec.run
    search = ("beam",) if run.options.get("beam", 1) > 1 else ()
    names = [name for name in ("temperature", "top_k", "top_p", *search) if run.options.get(name) is not None]
    return codec.sample(count, seed=seed, **{name: run.options[name] for name in names})


def copied(run, samples):
    """Returns which samples are training texts, list of bool, or None if the text is not there or is too long.

    A sample of running text counts if it has COPIED characters in a row in common with the text.
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
    whole = run.vocabulary.decode(text.train)
    return [repeats(sample, whole) for sample in samples]


def repeats(sample, text):
    """Whether a sample and a text have COPIED characters in a row in common; tries every STRIDE-th place."""
    pieces = (sample[i : i + COPIED] for i in range(0, max(1, len(sample) - COPIED + 1), STRIDE))
    return any(len(piece) == COPIED and piece in text for piece in pieces)


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
    script, options, corpus = config["script"], config["options"], config["corpus"]
    kind = LANGUAGE_MODEL.format(script) if options.get("no_latent") else KINDS[script]
    metadata = {
        "library_name": "keras",
        "pipeline_tag": "text-generation",
        **({"license": license_name} if license_name else {}),
        "tags": ["scriptorium", script.replace("_", "-")],
    }
    done, minutes, size = (config.get(key) for key in ("epochs_done", "minutes", "parameters"))
    how = [
        *([f"{done} epoch{'s' * (done != 1)}"] if isinstance(done, int) else []),
        *([f"{minutes:.0f} minutes"] if isinstance(minutes, (int, float)) and minutes >= 1 else []),
        *(str(config[key]) for key in ("device",) if key in config),
        f"seed {config['seed']}",
    ]
    parts = [
        "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in metadata.items()), "---"]),
        f"# {options['name']}",
        kind,
        f"{f'{size:,} parameters' if isinstance(size, int) else 'Weights'}, in half precision. Trained with"
        f" `{config['command']}` ({', '.join(how)}).",
        "## Use",
        "With Scriptorium, the collection of scripts that trained it; PATH stands for this folder:",
        block(uses(script, not options.get("no_latent"), "PATH")),
        "## Data",
        f"{corpus['description'] or corpus.get('name')}.",
        "## Scores",
        score_table(scores, is_rounded),
        "## Samples",
        f"The first {min(SHOWN, len(samples))} of {len(samples)} unselected samples, drawn with the run's settings;"
        f" samples.txt has all of them. {copies_in_words(copies, script)}",
        block(joined(samples[:SHOWN], script).split("\n")),
        "## Limits",
        "This is a small model. It imitates its training text and does not know what is true. It repeats the mistakes"
        " and prejudices of that text, and may repeat parts of it word for word. The vocabulary (vocab.json), any"
        " labels (config.json) and the samples come from that text.",
    ]
    return "\n\n".join(parts) + "\n"


def block(lines):
    """Returns lines as literal text in Markdown."""
    return "\n".join(f"    {line}".rstrip() for line in lines)


def joined(samples, script):
    """Returns samples as one text."""
    return ("\n\n" if script in RUNNING_TEXT else "\n").join(samples)


def uses(script, has_latent, path):
    """Returns commands that use a shared run."""
    quoted = path if path == "PATH" else shlex.quote(path)
    lines = [f"python {script}.py --sample {quoted}"]
    if has_latent and script in trained.VAES:
        lines.append(f"python homotopy.py --run {quoted}")
    code = f"import scriptorium; print(scriptorium.load({path!r}).sample(5))"
    return [*lines, f'python -c "{code}"' if re.fullmatch(r"[\w./-]+", path) else f"python -c {shlex.quote(code)}"]


def score_table(scores, rounded):
    """Returns test scores as a Markdown table, the main ones first; `rounded`: they are those of rounded weights."""
    if not scores:
        return "The run was not scored."
    names = [name for name in ON_TEST if name in scores]
    names += [name for name in scores if name not in names]
    cells = ((name, short(v) if isinstance(v := scores[name], float) else v) for name in names)
    about = "On the test split" + (":" if rounded else ", before the weights were rounded to half precision:")
    return "\n".join([about, "", "| score | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells)])


def copies_in_words(copies, script):
    """Returns how many samples are training texts, as a sentence."""
    if copies is None:
        return "Whether some of them are training texts is unknown: the text was not there to compare."
    count, running = sum(copies), script in RUNNING_TEXT
    many = "None" if not count else "One" if count == 1 else f"{count}"
    if running:
        return f"{many} of them repeat{'s' * (count <= 1)} {COPIED} characters in a row of the training text."
    return f"{many} of them {'are training texts' if count > 1 else 'is a training text'}, word for word."


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
    config, script = config_of(run, folder.name), run.script
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
        storage.write_text(temporary / "samples.txt", joined(samples, script) + "\n")
        shown = {name: value for name, value in scores.items() if name not in overview.UNCOMPARED}
        text = card(config, shown, samples, copies, is_rounded=bool(scores.get("rounded")), license_name=license_name)
        storage.write_text(temporary / "README.md", text)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{readable(folder)}: {size:,} bytes, with a model card (README.md). To use it:")
    has_latent = not run.options.get("no_latent")
    print(*(f"  {line}" for line in uses(script, has_latent, str(readable(folder)))), sep="\n")
    labels = "the labels in config.json, " if run.options.get("labels") else ""
    parts = f"{len(run.vocabulary):,} entries of vocab.json, {labels}and {len(samples)} samples"
    copied_ones = copies_in_words(copies, script)
    note(f"What leaves your machine of the text: {parts}. {copied_ones} Read these files before you publish them.")
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
    directory = finding.find(args.run, args.logdir, to_use=True)  # before Keras is loaded
    share(trained.load(directory.resolve(), args.logdir), args.folder, args.samples, args.seed, args.license)


if __name__ == "__main__":
    command(main, parse_args)
