"""Measure trials a minute by pack size, or seconds an epoch by number of rows.

`--backend jax|tensorflow --pack 1,8,32,128,512`, or `--rows 10000,100000,1000000`.
"""

import argparse
import os

from benchmarks.results import publish


def main() -> None:
    """Read the arguments, choose Keras's backend before anything imports it, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--pack", type=_numbers, default=[1, 8], help="pack sizes")
    parser.add_argument("--widths", type=_numbers, default=[64, 256, 768], help="units a layer")
    parser.add_argument("--rows", type=_numbers, help="measure large data instead")
    parser.add_argument("--n-inputs", type=int, default=768, help="width of an embedding")
    parser.add_argument("--seconds", type=float, default=20, help="how long each is measured")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.rows:
        from benchmarks.pack_speed.rows import measure_rows

        rows = [measure_rows(options.backend, n, options.n_inputs) for n in options.rows]
        publish(f"pack_rows_{options.backend}", {"backend": options.backend, "rows": rows})
        return
    from benchmarks.pack_speed.device import describe_device
    from benchmarks.pack_speed.packs import measure_packs

    device = describe_device()
    found = measure_packs(options, device)
    kind = "gpu" if device["is_gpu"] else "cpu"
    publish(f"pack_speed_{options.backend}_{kind}", {"backend": options.backend, **found})


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
