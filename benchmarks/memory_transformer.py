"""Memory of training transformer_vae.py on long texts with and without recomputation, and the time of its windows.

    python benchmarks/memory_transformer.py [--rounds 5]

Each row of the first table is a process of its own; the memory is the most that was resident, that of the interpreter
and its libraries counted. The second table is the time of a training step, the median of the rounds, over the length.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import common

MEMORY = {  # 840 tokens: a digit of 28 rows
    "all kept": [],
    "every third kept": ["--recompute", "3"],
    "every sixth kept": ["--recompute", "6"],
    "windows of 200, all kept": ["--window", "200"],
    "windows of 200, every third kept": ["--window", "200", "--recompute", "3"],
}
TEXTS = 16
LENGTHS = (256, 512, 1024, 2048)
WINDOWS = {"all at once": [], "windows of 128": ["--window", "128"]}


def model_of(argv, length):
    sys.path.insert(0, str(common.ROOT))
    import training  # isort: skip
    import transformer_vae

    args = transformer_vae.parse_args([*argv, "--dropout", "0", "-m", str(length), "--level", "char"])
    training.set_dtype("float32")
    model = transformer_vae.build(common.options_of(args), range(100))
    model.compile(transformer_vae.Adam(1e-3), jit_compile=False)
    return model


def work(argv, length, batch, rounds):
    """Prints the seconds of a training step, the most that was resident in MiB, and how large the gradient was."""
    import numpy as np

    model, seconds = model_of(argv, length), []
    ids = np.random.default_rng(1).integers(4, 100, (batch, length)).astype("int32")
    for _ in range(rounds + 1):
        started = time.perf_counter()
        logs = model.train_on_batch(ids, return_dict=True)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps([statistics.median(seconds[1:]), peak, float(logs["nll"])]))


def measured(argv, length, batch, rounds):
    command = [sys.executable, __file__, "--worker", json.dumps([argv, length, batch, rounds])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(*json.loads(args.worker))
    started, rows = time.monotonic(), []
    for name, argv in MEMORY.items():
        seconds, peak, nll = measured(["--decoder-layers", "6", *argv], 840, TEXTS, args.rounds)
        rows.append(
            {f"6 blocks, {TEXTS} texts of 840 tokens": name, "most resident (MiB)": round(peak), "step (s)": seconds}
        )
        rows[-1]["of all kept"] = f"{peak / rows[0]['most resident (MiB)']:.0%}"
        rows[-1]["nll after the last step"] = nll
        print(rows[-1], flush=True)
    body = common.table(rows)
    rows = []
    for length in LENGTHS:
        row = {"tokens": length}
        for name, argv in WINDOWS.items():
            seconds, _, _ = measured(argv, length, 2, args.rounds)
            row[f"{name}: step (s)"], row[f"{name}: of the first"] = seconds, seconds
            row[f"{name}: of the first"] /= (rows or [row])[0][f"{name}: step (s)"]
        rows.append(row)
        print(row, flush=True)
    common.append(
        "Memory and time of transformer_vae.py on long texts",
        body + "\n\n" + common.table(rows),
        time.monotonic() - started,
    )
    return None


if __name__ == "__main__":
    main()
