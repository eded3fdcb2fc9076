"""Shared by all benchmarks: runs a script of the collection, and appends results to RESULTS.md."""

import csv
import datetime
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # makes the collection importable for benchmarks that import this module first
RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "torch", "jax", "numpy", "nltk")


def run_script(*argv, text=None):
    """Runs a script of the collection with its output on this console; raises an error if it fails.

    Returns:
        the seconds it took.
    """
    started = time.monotonic()
    subprocess.run([sys.executable, *map(str, argv)], cwd=ROOT, check=True, text=True, input=text)
    return time.monotonic() - started


def started(command):
    """Starts a process to be timed, and waits until it says "ready"; then use `ask`.

    Its threads do not spin while they wait, because that would slow down the process being timed.
    """
    quiet = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    worker = subprocess.Popen(command, env=quiet, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    while (line := worker.stdout.readline()).strip() != "ready":
        if not line:
            raise SystemExit(f"{' '.join(command)} did not start")
    return worker


def ask(worker):
    """Makes a process of `started` do its work once; returns the seconds it reports."""
    print(file=worker.stdin, flush=True)
    return float(worker.stdout.readline())


def answer(step, prepare=lambda number: (), first=0):
    """The other side of `ask`: says "ready", then runs one step per line of input and prints its seconds.

    Args:
        step: function to time.
        prepare: function of the step number that returns the arguments of the step, a tuple; it is not timed.
        first: number of the first step.
    """
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin, first):
        given = prepare(number)
        began = time.perf_counter()
        step(*given)
        print(time.perf_counter() - began, flush=True)


def medians(commands, rounds):
    """Starts the processes of a dict of commands and times them in turn; returns a dict of median seconds."""
    workers = {name: started(command) for name, command in commands.items()}
    times = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name].append(ask(worker))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def torch_training(model, dtype):
    """Returns a function of ids, integers (batch, time), that runs one training step of a torch model with Adam.

    The model is moved to the GPU if there is one.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def step(batch):
        ids = torch.from_numpy(batch).long().to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=dtype != "float32"):
            loss = model(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss.item()

    return step


def backend_workers(backends):
    """Returns the implementations that a table of training speeds compares: dict of name -> (kind, dtype, backend).

    Args:
        backends: the backends of Keras to time this project's models on; the first one also gets plain Keras layers.
    """
    names = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
    workers = {"torch": ("torch", "float32", "torch"), "torch, bfloat16 autocast": ("torch", "mixed_bfloat16", "torch")}
    for dtype in names:
        workers[f"plain Keras on {backends[0]}, {names[dtype]}"] = ("keras", dtype, backends[0])
    for backend in backends:
        for dtype in names:
            workers[f"this project on {backend}, {names[dtype]}"] = ("own", dtype, backend)
    return workers


def choose_backend(backend):
    """Chooses the backend of Keras in a worker process, before Keras is imported."""
    # Several processes share the memory of a GPU.
    os.environ |= {"KERAS_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "1"}


def options_of(args):
    """Returns the options for a script's `build`, a dict, from the result of its `parse_args`."""
    own = ("given", "groups", "flags", "defaults", "argv")  # of `Parser`
    return {name: value for name, value in vars(args).items() if name not in own}


def scores_of(run):
    """Returns the content of a run's eval.json."""
    return json.loads((Path(run) / "eval.json").read_text(encoding="utf-8"))


def corpus_of(codec):
    """Returns the corpus of a run, and the texts of its test split that the model can read."""
    from scriptorium.data import corpora

    run, options = codec.run, codec.run.options
    corpus = corpora.reload(options, labeled=run.script == "names_vae")
    longest = min(options["max_length"], options.get("positions", 1 + options["max_length"]) - 1)
    return corpus, [text for text in corpus.test if len(run.vocabulary.encode(text)) <= longest]


def history_of(run):
    """Returns a run's history.csv as a list of dicts, one for each epoch."""
    with open(Path(run) / "history.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def training_seconds(run):
    """Returns the total seconds of all epochs in a run's history.csv."""
    return sum(float(row["seconds"]) for row in history_of(run))


def minutes_of_best(run, monitors):
    """Returns the minutes of training until the end of a run's best epoch.

    Args:
        run: its folder.
        monitors: names of validation scores to minimize; the first one that the run has counts.
    """
    history = history_of(run)
    monitor = next(name for name in monitors if name in history[0])
    seconds = list(itertools.accumulate(float(row["seconds"]) for row in history))
    return seconds[min(range(len(history)), key=lambda i: float(history[i][monitor]))] / 60


def processor():
    """Returns the name of the processor and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"


def table(rows):
    """Returns a Markdown table of dicts with the same keys, which are the column headings."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(_short(cell) for cell in line) + " |" for line in lines)


def _short(cell):
    return (
        f"{cell:.4g}"
        if isinstance(cell, float) and abs(cell) < 100
        else f"{cell:.2f}"
        if isinstance(cell, float)
        else str(cell)
    )


def append(title, body, seconds, seed=1):
    """Appends a section to RESULTS.md: command, date, versions, machine, seed and time, then the body."""
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    script, *argv = sys.argv
    command = " ".join(["python", os.path.relpath(script, ROOT), *argv])
    facts = [
        f"`{command}`",
        f"{datetime.date.today()}",
        ", ".join(versions),
        processor(),
        f"seed {seed}",
        f"{seconds:.0f} s",
    ]
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(f"\n## {title}\n\n{'; '.join(facts)}\n\n{body}\n")
    print(f"\n{title}\n{body}")
