"""Up to how many devices is a script worth it? A model of a training step, from times measured on one device.

    python benchmarks/scale.py [--only SCRIPT ...] [--devices 2 4 8] [--bandwidth GB/S] [--latency MICROSECONDS]

On N devices a step takes the longer of

    computing and exchanging    compute(batch / N) + 2 (N - 1) / N * gradients / bandwidth + 2 (N - 1) * latency
    reading                     the next batch, which is made while this one is computed

compute(rows) is measured: a training step of the default model, all of it, on that many rows. Gradients are float32, as
many as trainable weights, summed in a ring. Bandwidth and latency are those of the connection between two devices; the
defaults are those of PCIe 4.0. What is not in the model: waiting for the slowest device, and kernels that start late;
with TensorFlow, the exchange of what the loss is made of, the loss, which every device computes for all rows, and in
text_gan.py the turn of a player that is not due, which is computed and taken back.
"""

import argparse
import importlib
import statistics
import tempfile
import time
from unittest import mock

import common
from scriptorium.training.fit import keras_feed

import keras
import numpy as np

SCRIPTS = {
    "chars": [],
    "words": [],
    "sentences": [],
    "names_vae": [],
    "transformer_vae": [],
    "text_gan": [],
    "text_gan, adversarial": ["--pretrain-epochs", "0", "--critic-warmup", "0"],
}
WARM, STEPS = 3, 10


class Captured(BaseException):
    """Raised instead of training."""


def measure(script, options, rows=None):
    """Returns the seconds of a step, the seconds to make its batch, the rows, and the number of trainable weights."""
    module = importlib.import_module(script)
    batch = [] if rows is None else ["-b", str(rows)]
    with tempfile.TemporaryDirectory() as logdir:
        argv = ["-T", logdir, "-o", "0", *options, *batch]
        with mock.patch.object(module, "fit_run", side_effect=Captured) as fit_run:
            try:
                module.main(module.parse_args(argv))
            except Captured:
                run, train = fit_run.call_args.args[:2]
        model = run.model
        if hasattr(model, "begin_epoch"):
            model.begin_epoch(0)
        train.go_to(0, 0)
        began = time.perf_counter()
        for i in range(STEPS):
            train[i]
        reading = (time.perf_counter() - began) / STEPS
        # All widths of these batches are compiled before they are timed.
        seconds = [timed(model, train) for _ in range(WARM)][-1]
        weights = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        run.close()
    keras.utils.clear_session()
    return seconds, reading, train.batch_size, weights


def timed(model, train):
    """Returns the median seconds of the first steps."""
    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            float(next(iter(logs.values())))  # waits for the step
            times.append(time.perf_counter() - self.began)

    model.fit(keras_feed(train, STEPS), callbacks=[Clock()], verbose=0, shuffle=False)
    return statistics.median(times)


def exchange(weights, devices, bandwidth, latency):
    """Returns the seconds of an all-reduce of float32 gradients in a ring."""
    return 2 * (devices - 1) / devices * 4 * weights / (bandwidth * 1e9) + 2 * (devices - 1) * latency * 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="*", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--devices", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--bandwidth", type=float, default=20, help="GB/s between two devices")
    parser.add_argument("--latency", type=float, default=20, help="microseconds per message")
    args = parser.parse_args()
    started, rows = time.monotonic(), []
    for name in args.only:
        script, options = name.split(",")[0], SCRIPTS[name]
        alone, reading, batch, weights = measure(script, options)
        row = {"script": name, "batch": batch, "weights": f"{weights:,}", "step, ms": f"{1000 * alone:.0f}"}
        row["reading, ms"] = f"{1000 * reading:.1f}"
        for devices in args.devices:
            part = measure(script, options, batch // devices)[0]
            together = part + exchange(weights, devices, args.bandwidth, args.latency)
            row[f"{devices} devices"] = f"{alone / max(together, reading):.2f}"
        rows.append(row)
        print(row, flush=True)
    title = f"Speedup by several devices, predicted ({args.bandwidth:g} GB/s, {args.latency:g} microseconds)"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
