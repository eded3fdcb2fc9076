"""The devices that the backend computes on, and a suitable number format."""

import os
from pathlib import Path

from scriptorium import UserError

import keras


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
        import jax

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


class SharedBatches(keras.distribution.DataParallel):
    """Gives each device equally many rows of a batch; a batch of which that is impossible goes to all devices.

    They then all compute the same, which costs one step of a single device, usually the last of an epoch. So no row is
    made up: the loss, statistics over a batch and random numbers are those of one device.
    """

    def get_data_layout(self, data_shape):
        """Returns how an array of a batch is laid out: see `keras.distribution.DataParallel`."""
        if data_shape[0] % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def use_devices(count):
    """Computes on several devices from now on; call it before anything is built.

    Args:
        count: number of devices, or "auto" for all that this backend can train on.

    Returns:
        The number of devices.

    Raises:
        UserError: there are not as many, or this backend trains on one alone.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        if count not in (1, "auto"):
            raise UserError(f"--devices {count}: with {backend}, training uses one device; use KERAS_BACKEND=jax.")
        return 1
    devices = keras.distribution.list_devices()
    count = len(devices) if count == "auto" else count
    if count > len(devices):
        raise UserError(f"--devices {count}: JAX has {len(devices)} here.")
    if count > 1:
        keras.distribution.set_distribution(SharedBatches(devices=devices[:count], auto_shard_dataset=False))
    return count


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
