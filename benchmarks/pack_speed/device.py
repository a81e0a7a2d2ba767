"""Name the device, and measure what its memory gives: the roof that packs are held to."""

import time
from typing import Any

import keras
import numpy as np

N_BYTES = 1 << 28
N_COPIES = 20


def describe_device() -> dict[str, Any]:
    """Return its name, whether it is a GPU, and its memory's bandwidth in bytes a second."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        name, is_gpu = device.device_kind, device.platform == "gpu"
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        name, is_gpu = details.get("device_name", "cpu"), bool(gpus)
    return {"device": name, "is_gpu": is_gpu, "bytes_per_s": _bandwidth()}


def device_peak_bytes() -> int | None:
    """Return the most memory of the accelerator that was in use, or None without one."""
    if keras.backend.backend() == "jax":
        import jax

        stats = jax.devices()[0].memory_stats()
        return None if stats is None else int(stats["peak_bytes_in_use"])
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def _bandwidth() -> float:
    """Read and write a large array some times, the best of three."""
    array = keras.ops.zeros(N_BYTES // 4)
    rates = []
    for _ in range(3):
        _wait(array)
        started = time.perf_counter()
        for _ in range(N_COPIES):
            array = array + 1.0
        _wait(array)
        rates.append(2 * N_BYTES * N_COPIES / (time.perf_counter() - started))
    return max(rates)


def _wait(array: Any) -> None:
    np.asarray(keras.ops.convert_to_numpy(array[:1]))
