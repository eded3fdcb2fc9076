"""Packs a trained run for use: weights in half precision, options, vocabulary, curve, and the command that trained it.

    python benchmarks/pack.py RUN FOLDER

RUN is the directory of a run, and FOLDER the destination, such as pretrained/sentences/pydocs. The script then scores
the packed run with `--eval FOLDER` and samples from it with `--sample FOLDER`; homotopy.py and demo.py use it too.
"""

import argparse
import importlib
import json
import shutil
import sys
from pathlib import Path

import common
from scriptorium.command_line import command
from scriptorium.training import opening, storage, weights
from scriptorium.training.finding import BEST, FORMAT

import numpy as np

FACTS = (
    *("format", "script", "options", "seed", "versions", "backend", "started", "corpus", "parameters", "device"),
    *("epochs_done", "minutes"),
)
MAX_BYTES = 10_000_000


def command_of(config):
    """Returns the command that trained a run, without its destination."""
    argv, kept = iter(config["argv"]), []
    for word in argv:
        if word in ("-T", "--logdir", "--tb-directory", "--name"):
            next(argv)
        else:
            kept.append(word)
    return " ".join(["python", f"{config['script']}.py", *kept])


def main(args):
    source, target = args.run, args.folder
    run = opening.open_for_use(str(source), source.parent.parent)
    script = importlib.import_module(run.script)
    model = script.build(run.options, run.vocabulary)
    run.load_best(model)
    arrays = {}
    for name, array in weights.values(weights.weights_of(model)).items():
        half = array.astype("float16") if array.dtype.kind == "f" else array
        if not np.isfinite(half).all():
            sys.exit(f"{name} does not fit half precision: its largest number is {np.abs(array).max():g}")
        arrays[name] = half
    made = {"command": command_of(run.config), "packed": True}
    target.mkdir(parents=True, exist_ok=True)
    storage.save_arrays(target / BEST, {"format": FORMAT, "script": run.script}, arrays)
    # With float32, generated text is the same on every machine.
    config = (
        {name: run.config[name] for name in FACTS}
        | made
        | {"processor": common.processor().split(",")[0], "dtype": "float32"}
    )
    config["options"] |= {"name": target.name, "logdir": "runs"}
    storage.write_json(target / "config.json", config)
    shutil.copyfile(source / "history.csv", target / "history.csv")
    vocabulary = json.dumps(run.vocabulary.to_json(), ensure_ascii=False, separators=(",", ":"))
    storage.write_text(target / "vocab.json", vocabulary + "\n")
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size:,} bytes, {made['command']}, {config['minutes']:.1f} minutes")
    if size > MAX_BYTES:
        sys.exit(f"That is more than {MAX_BYTES:,} bytes: train a smaller model.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path, help="directory of a run")
    parser.add_argument("folder", type=Path, help="destination, such as pretrained/sentences/pydocs")
    command(main, parser.parse_args)
