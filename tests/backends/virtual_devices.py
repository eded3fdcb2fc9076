"""Runs a script on virtual CPU devices, in a process of its own, because a backend decides on its devices once.

python tests/backends/virtual_devices.py chars --devices 2 ...
python tests/backends/virtual_devices.py first_losses SCRIPT FOLDER OUT COUNT ...      see first_losses.py
python tests/backends/virtual_devices.py digit_judge 3
"""

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

DEVICES = 4
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"  # JAX reads it when it is imported
sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 2)]

import keras  # noqa: E402

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * DEVICES)


def main(name, *argv):
    if name == "first_losses":
        first_losses(*argv)
    elif name == "digit_judge":
        judge(int(argv[0]))
    else:
        script = importlib.import_module(name)
        script.main(script.parse_args(list(argv)))


def first_losses(script, folder, out, count, *options):
    """Writes the first losses of a script on one device and on `count` devices."""
    from backends.first_losses import losses, write_uneven_texts

    found = []
    for devices in (1, count):
        with tempfile.TemporaryDirectory() as logdir:
            more = ["--devices", devices, *options]
            found.append(losses(script, Path(folder), Path(logdir), *more, write=write_uneven_texts))
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def judge(count):
    """Trains the judge of digits while a run has several devices; prints how many it has afterward, and its score."""
    from scriptorium.data import digits
    from scriptorium.nn import device, mirrored
    from scriptorium.transformer_vae.digit_judge import Classifier

    from helpers import drawn_digits

    device.use_devices(count)
    texts, labels = digits.texts(*drawn_digits(), 9)
    guesses, _ = Classifier(texts, labels).classify(texts)
    if keras.backend.backend() == "tensorflow":
        again = mirrored.tf.distribute.get_strategy().num_replicas_in_sync
    else:
        again = len(keras.distribution.distribution().device_mesh.devices)
    right = sum(guess == label for guess, label in zip(guesses, labels, strict=True)) / len(labels)
    print(f"{again} devices again, {right} right")


if __name__ == "__main__":
    main(*sys.argv[1:])
