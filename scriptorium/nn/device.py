"""The device that the backend computes on, and a suitable number format."""

import os
from pathlib import Path

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


def device():
    """Returns the name of the device that the backend computes on."""
    gpu, count = _gpu(), cores()
    return f"GPU ({gpu[0]})" if gpu else f"CPU ({count} core{'s' if count != 1 else ''})"


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
