"""Runs a script on virtual CPU devices, in a process of its own, because a backend decides on its devices once.

python tests/backends/virtual_devices.py chars --devices 2 ...
python tests/backends/virtual_devices.py first_losses SCRIPT FOLDER OUT --devices 2 ...      see first_losses.py
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
        from backends.first_losses import losses, write_uneven_texts

        script, folder, out, *more = argv
        with tempfile.TemporaryDirectory() as logdir:
            found = losses(script, Path(folder), Path(logdir), *more, write=write_uneven_texts)
        Path(out).write_text(json.dumps(found), encoding="utf-8")
    else:
        script = importlib.import_module(name)
        script.main(script.parse_args(list(argv)))


if __name__ == "__main__":
    main(*sys.argv[1:])
