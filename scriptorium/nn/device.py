"""The devices that the backend computes on, and a suitable number format."""

import contextlib
import os
import re
from pathlib import Path

from scriptorium import UserError
from scriptorium.nn import mirrored
from scriptorium.streams import note

import keras

AT_ONCE = []  # functions to call when this process has to end at once

if keras.backend.backend() == "jax":
    import jax


def _gpu():
    """Returns (name, compute capability as a tuple or None) of the first GPU of the backend, or None without one."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            return details.get("device_name", "GPU"), details.get("compute_capability")
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
    elif backend == "jax":
        for device in jax.devices():
            if device.platform == "gpu":
                capability = str(getattr(device, "compute_capability", "") or "")
                return device.device_kind, tuple(map(int, capability.split("."))) if capability else None
    return None


def _processor_has_bfloat16():
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def cores():
    """Returns how many cores of the processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def device(count=1):
    """Returns the name of the device that the backend computes on, or of `count` of them."""
    gpu, processors = _gpu(), cores()
    name = f"GPU ({gpu[0]})" if gpu else f"CPU ({processors} core{'s' if processors != 1 else ''})"
    return name if count == 1 else f"{count} x {name}"


class SameEverywhere(keras.distribution.DataParallel):
    """Puts the same weights and the same batches on all devices; `share_rows` then shares out the work on a batch.

    Token ids are small, so it costs little to send all of them to each device. `keras.distribution.DataParallel` would
    send each its own rows, but only if every batch has the same number of them, a multiple of the devices.
    """

    def get_data_layout(self, data_shape):
        """Returns how an array of a batch is laid out: see `keras.distribution.DataParallel`."""
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def share_rows(arrays):
    """Returns arrays (batch, ...), in any structure, each device to compute its own rows of what follows.

    Where the rows cannot be shared evenly, all devices compute all of them. No row is made up, so a loss, statistics
    over a batch and random numbers are those of one device.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return arrays

    def shared(array):
        if not array.shape or array.shape[0] % distribution.num_model_replicas:
            return array
        axes = [distribution.batch_dim_name] + [None] * (len(array.shape) - 1)
        layout = keras.distribution.TensorLayout(axes, distribution.device_mesh)
        return keras.distribution.distribute_tensor(array, layout)

    return keras.tree.map_structure(shared, arrays)


def join_processes():
    """Joins the other processes that train the same model, on JAX, if environment variables say that there are any.

    They are those of `keras.distribution.initialize`, or of SLURM where `srun` has started several tasks. Call it
    before anything is computed.

    Returns:
        The number of this process, from 0, and how many there are.

    Raises:
        UserError: this backend trains in one process alone.
    """
    asked = os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1")
    if keras.backend.backend() != "jax":
        if asked != "1":
            raise UserError("KERAS_DISTRIBUTION_NUM_PROCESSES: several processes need KERAS_BACKEND=jax.")
        return 0, 1
    if asked == os.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1":
        return 0, 1
    if not jax.distributed.is_initialized():
        keras.distribution.initialize()
    return jax.process_index(), jax.process_count()


@contextlib.contextmanager
def other_processes(how_to_continue):
    """Ends this process with one line if another process of the same training has ended before it was done.

    Args:
        how_to_continue: function that returns a sentence, str.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        # JAX passes on what its runtime says, which begins with a code such as "UNKNOWN: ", as one of these errors.
        from_runtime = keras.backend.backend() == "jax" and re.match("[A-Z_]+: ", str(error))
        if not from_runtime or jax.process_count() == 1:
            raise
        if jax.process_index() == 0:
            cause = str(error).splitlines()[0][:200]
            note(f"Another process of this training has ended, or none can continue: {cause}\n{how_to_continue()}")
        for end in AT_ONCE:
            end()
        os._exit(1)  # an orderly end would wait for the other process


def use_devices(count):
    """Computes on several devices from now on; call it before anything is built.

    Args:
        count: number of devices, or "auto" for all that this backend can train on. Several processes use all of theirs.

    Returns:
        The number of devices.

    Raises:
        UserError: there are not as many, or this backend trains on one alone.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        if count not in (1, "auto"):
            raise UserError(f"--devices {count}: with torch, Keras trains on one device; use KERAS_BACKEND=jax.")
        return 1
    processes = jax.process_count() if backend == "jax" else 1
    if backend == "tensorflow":  # what another run in this process has begun ends
        mirrored.end()
    else:
        keras.distribution.set_distribution(None)
    if count == processes == 1:
        return 1  # without asking for the devices, after which TensorFlow no longer accepts settings
    devices = keras.distribution.list_devices() if backend == "jax" else mirrored.devices()
    count = len(devices) if count == "auto" or processes > 1 else count
    if count > len(devices):
        name = {"jax": "JAX", "tensorflow": "TensorFlow"}[backend]
        raise UserError(f"--devices {count}: {name} has {len(devices)} here; --devices 1 uses one.")
    if count > 1 and backend == "jax":
        keras.distribution.set_distribution(SameEverywhere(devices=devices[:count], auto_shard_dataset=False))
    elif count > 1:
        mirrored.begin(devices[:count])
    return count


@contextlib.contextmanager
def one_device():
    """Builds and trains a model on one device, while others may be in use for the model of the run."""
    with contextlib.ExitStack() as entered:
        if keras.backend.backend() == "tensorflow":
            entered.enter_context(mirrored.interrupted())
        elif whole := keras.distribution.distribution():
            keras.distribution.set_distribution(None)
            entered.callback(keras.distribution.set_distribution, whole)
        yield


def set_dtype(choice):
    """Sets the Keras dtype policy; call it before building a model.

    Args:
        choice: "auto", "float32", "mixed_bfloat16" or "mixed_float16". "auto" is mixed_bfloat16 if the
            device multiplies bfloat16 natively, else float32.

    Returns:
        The reason in a few words; `keras.config.dtype_policy().name` holds the result.
    """
    reason = "as requested"
    if choice == "auto":
        gpu = _gpu()
        native = tuple(gpu[1] or ()) >= (8, 0) if gpu else _processor_has_bfloat16()
        choice = "mixed_bfloat16" if native else "float32"
        reason = (
            f"this {'GPU' if gpu else 'processor'} {'multiplies' if native else 'does not multiply'} bfloat16 natively"
        )
    keras.config.set_dtype_policy(choice)
    return reason
