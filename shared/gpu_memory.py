"""Let processes share a GPU: each takes what it needs of the memory, up to its part."""

import os
import subprocess

from shared.errors import TagsweepError

USABLE = 0.9
"""The share of the memory that arrays may take: contexts and kernels of each process need some."""
SHARE = "XLA_CLIENT_MEM_FRACTION"
"""The environment variable that JAX reads a process's share from; we do so for the others."""
FORMER_SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""Its former name; JAX does not start where both are set."""


def bound_memory(n_gpus: float) -> None:
    """Have JAX and TensorFlow take memory as they need it, up to that of this process's GPUs.

    `n_gpus` are GPUs as Ray counts them: four processes with 0.25 have one together. With 0 there
    is no bound. What the user has set stays. To be called before either computes: JAX would take
    three quarters of a GPU at once (https://docs.jax.dev/en/latest/201/gpu-memory.html).
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if n_gpus and FORMER_SHARE not in os.environ:
        os.environ.setdefault(SHARE, f"{USABLE * min(1.0, n_gpus):.4f}")


def memory_share() -> float:
    """Return the share of a GPU's memory that this process may take."""
    return float(os.environ.get(SHARE) or os.environ.get(FORMER_SHARE) or USABLE)


def total_bytes() -> int:
    """Return the memory of the first GPU that this process sees; TensorFlow does not tell it.

    Raises TagsweepError when NVIDIA's tool, which comes with its driver, cannot say.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    query = ["--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603  an index, or a GPU's identifier
            ["nvidia-smi", f"--id={first}", *query],  # noqa: S607  it is where the driver put it
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise TagsweepError(
            f"nvidia-smi must say how much memory GPU {first} has, but does not: {error}. Set"
            " workers.pack to a number, or use Keras's backend jax."
        ) from error
    return int(done.stdout) << 20
