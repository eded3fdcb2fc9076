"""Memory of training transformer_vae.py on long texts with and without recomputation, and time of attention windows.

    python benchmarks/memory_transformer.py [--rounds 5] [--only memory|windows]

Each row of the first table is a separate process; memory is the peak resident size, including the interpreter and its
libraries. The second table is the time of a training step of the decoder alone (the encoder has no windows) by length,
the median over the rounds.
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
    "all": [],
    "every third block": ["--recompute", "3"],
    "every sixth block": ["--recompute", "6"],
    "windows of 200, all": ["--window", "200"],
    "windows of 200, every third block": ["--window", "200", "--recompute", "3"],
}
TEXTS = 16
LENGTHS = (256, 512, 1024, 2048)
WINDOWS = {"full attention": [], "windows of 128": ["--window", "128"]}


def model_of(argv, length, alone=False):
    sys.path.insert(0, str(common.ROOT))
    from scriptorium.nn.device import set_dtype

    import keras
    import numpy as np

    import transformer_vae

    class Alone(keras.Model):
        """The decoder of a model, with the code 0 for each text."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def call(self, ids, training=False):
            zeros = np.zeros((ids.shape[0], *self.model.latent_shape), "float32")
            return self.model.decoder(ids, zeros, zeros[:, 0, 0], training=training)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(self.model.nll_of(x, y_pred))

    args = transformer_vae.parse_args([*argv, "--dropout", "0", "-m", str(length), "--level", "char"])
    set_dtype("float32")
    keras.utils.set_random_seed(1)
    model = transformer_vae.build(common.options_of(args), range(100))
    model = Alone(model) if alone else model
    model.compile(transformer_vae.Adam(1e-3), jit_compile=False)
    return model


def work(argv, length, batch, rounds, alone):
    """Prints the seconds of a training step, the peak resident memory in MiB, and the loss of the last step."""
    import numpy as np

    model, seconds = model_of(argv, length, alone), []
    ids = np.random.default_rng(1).integers(4, 100, (batch, length)).astype("int32")
    for _ in range(rounds + 1):
        started = time.perf_counter()
        logs = model.train_on_batch(ids, return_dict=True)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps([statistics.median(seconds[1:]), peak, float(logs["loss"])]))


def measured(argv, length, batch, rounds, alone=False):
    command = [sys.executable, __file__, "--worker", json.dumps([argv, length, batch, rounds, alone])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("memory", "windows"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(*json.loads(args.worker))
    started, rows = time.monotonic(), []
    for name, argv in MEMORY.items() if args.only != "windows" else ():
        seconds, peak, loss = measured(["--decoder-layers", "6", *argv], 840, TEXTS, args.rounds)
        rows.append({"activations kept": name, "peak resident (MiB)": round(peak), "step (s)": seconds})
        rows[-1]["relative to all"] = f"{peak / rows[0]['peak resident (MiB)']:.0%}"
        rows[-1]["loss of the last step"] = loss
        print(rows[-1], flush=True)
    tables, rows = [f"6 blocks, {TEXTS} texts of 840 tokens:\n\n{common.table(rows)}"] if rows else [], []
    for length in LENGTHS if args.only != "memory" else ():
        row = {"tokens": length}
        for name, argv in WINDOWS.items():
            seconds, _, _ = measured(argv, length, 4, args.rounds, alone=True)
            row[f"{name}: step (s)"], row[f"{name}: relative to the first"] = seconds, seconds
            row[f"{name}: relative to the first"] /= (rows or [row])[0][f"{name}: step (s)"]
        rows.append(row)
        print(row, flush=True)
    tables += [common.table(rows)] if rows else []
    title = "transformer_vae.py on long texts: memory and windows"
    common.append(title, "\n\n".join(tables), time.monotonic() - started)
    return None


if __name__ == "__main__":
    main()
