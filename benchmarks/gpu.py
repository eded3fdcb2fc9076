"""One command for a machine with a GPU: every script trains, stops, resumes and samples there, and is timed.

    python benchmarks/gpu.py [--backends jax torch] [--steps 200] [--seconds 120] [--only PART ...]

For each backend and each script, on the script's default text: `train` trains for some steps; `resume` does the same
with a stop in the middle, and compares the weights; `sample` writes eight texts. JAX compiles a program for each width
of a batch; `resume` finds them compiled, so its tokens per second are those of a long training. `speed` times training
steps against the same models in torch, which uses cuDNN's LSTM and scaled_dot_product_attention. Every command ends
after --seconds; what went wrong is a row of the table. Works without TensorFlow; without a GPU it runs on the CPU.
"""

import argparse
import csv
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
from scriptorium import BACKENDS
from scriptorium.training import storage
from scriptorium.training.trained import SCRIPTS

import numpy as np

PARTS = ("train", "resume", "sample", "speed")
PROGRAMS = os.path.join(tempfile.gettempdir(), "scriptorium-programs")


def run(argv, backend, seconds, text=None):
    """Runs a Python command on a backend of Keras.

    Returns:
        its output, what went wrong ("" if nothing did), and the seconds it took.
    """
    kept = {"JAX_COMPILATION_CACHE_DIR": PROGRAMS, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    environment = os.environ | {"KERAS_BACKEND": backend} | kept
    began, command = time.monotonic(), [sys.executable, *map(str, argv)]
    try:
        done = subprocess.run(
            command, cwd=common.ROOT, env=environment, input=text, timeout=seconds, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode(errors="replace"), f"not done after {seconds} s", seconds
    lines = done.stderr.strip().splitlines()
    wrong = f"exit {done.returncode}: {lines[-1] if lines else ''}" if done.returncode else ""
    return done.stdout, wrong, time.monotonic() - began


def speed_of(directory):
    """Returns the tokens per second of a run's last epoch, without its first step, which compiles."""
    with open(directory / "history.csv", encoding="utf-8", newline="") as file:
        return float(list(csv.DictReader(file))[-1].get("tokens_per_second") or "nan")


def difference(first, second):
    """Returns how far the last weights of two runs are apart, in words."""
    arrays = [storage.load_arrays(run / "last.safetensors")[1] for run in (first, second)]
    if all(np.array_equal(array, arrays[1][name]) for name, array in arrays[0].items()):
        return "equal to the bit"
    parts = [name for name in arrays[0] if name.startswith("model/") and arrays[0][name].dtype.kind == "f"]
    most = max(float(np.abs(arrays[0][name] - arrays[1][name]).max(initial=0)) for name in parts)
    return f"weights differ by at most {most:.2g}"


def try_script(script, backend, parts, args, logdir):
    """Yields a row of the table for each part of a script."""

    def row(part, wrong, seconds, speed="", result=""):
        speed = f"{speed:,.0f}" if speed else ""
        return {
            "backend": backend, "script": script, "part": part, "seconds": f"{seconds:.0f}", "tokens/s": speed,
            "result": wrong or result,
        }  # fmt: skip

    command = [f"{script}.py", "-T", logdir, "-o", 0]
    straight, stopped = (logdir / script / name for name in ("straight", "stopped"))
    output, wrong, seconds = run([*command, "--name", "straight", "--max-steps", args.steps], backend, args.seconds)
    device = next((line.split("  ", 1)[1].strip() for line in output.splitlines() if line.startswith("device")), "")
    yield row("train", wrong, seconds, "" if wrong else speed_of(straight), device)
    if wrong:
        return
    if "resume" in parts:
        half = [*command, "--name", "stopped", "--max-steps", max(1, args.steps // 2)]
        _, wrong, seconds = run(half, backend, args.seconds)
        if not wrong:
            again = [f"{script}.py", "-T", logdir, "--resume", "stopped", "--max-steps", args.steps]
            _, wrong, more = run(again, backend, args.seconds)
            seconds += more
        result = ("", "") if wrong else (speed_of(stopped), difference(straight, stopped))
        yield row("resume", wrong, seconds, *result)
    if "sample" in parts:
        asked = [f"{script}.py", "-T", logdir, "--sample", "straight", "--num-samples", 8]
        output, wrong, seconds = run(asked, backend, args.seconds, text="\n")
        written = [line.strip("> ") for line in output.splitlines()]  # without the prompt
        yield row("sample", wrong, seconds, result=next(filter(None, written), "nothing was written")[:60])


def time_steps(backends, args):
    """Yields a row for each implementation in the speed tables."""
    for table in ("speed_rnn", "speed_transformer"):
        names = json.loads(run([f"benchmarks/{table}.py", "--list"], backends[0], args.seconds)[0])
        for case in names:
            command = [f"benchmarks/{table}.py", "--only", case, "--json", "--backends", *backends]
            output, wrong, _ = run(command, backends[0], 2 * args.seconds)
            rows = [] if wrong else json.loads(output.splitlines()[-1])
            if wrong:
                yield {"model": case, "implementation": wrong, "tokens/s": "", "relative to torch": ""}
            yield from rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, help="default: jax and torch, if installed")
    parser.add_argument("--scripts", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--steps", type=int, default=200, help="training steps of each script")
    parser.add_argument("--seconds", type=int, default=120, help="the longest that one command may take")
    args = parser.parse_args()
    installed = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
    backends, began, rows, speeds = args.backends or installed, time.monotonic(), [], []
    if not backends:
        parser.error("neither jax nor torch is installed")
    try:
        if set(args.only) - {"speed"}:
            for backend in backends:
                for script in args.scripts:
                    with tempfile.TemporaryDirectory() as logdir:
                        for row in try_script(script, backend, args.only, args, Path(logdir)):
                            rows.append(row)
                            print(*row.values(), sep="  ", flush=True)
        if "speed" in args.only and "torch" in installed:
            for row in time_steps(backends, args):
                speeds.append(row)
                print(*row.values(), sep="  ", flush=True)
    finally:
        tables = [common.table(part) for part in (rows, speeds) if part]
        if tables:
            common.append(f"All scripts, {args.steps} steps", "\n\n".join(tables), time.monotonic() - began)


if __name__ == "__main__":
    main()
