"""Look at what the device does meanwhile: how long it is idle, and which kernels take its time."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

COMPILATION = "/jax/core/compile/backend_compile_duration"


def count_compilations() -> list[float]:
    """Return a list that each compilation from now on adds its seconds to."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILATION:
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seconds


def traced(work: Callable[[], object]) -> dict[str, Any]:
    """Do some work, and return the share of it in which the device was idle, and its kernels.

    Nothing is known of a CPU.
    """
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        with jax.profiler.trace(folder):
            work()
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    streams = [
        list(line.events)
        for plane in data.planes
        if plane.name.startswith("/device:GPU")
        for line in plane.lines
        if line.name.startswith("Stream")
    ]
    if not streams:
        return {"idle_share": None, "kernels": {}}
    events = [event for stream in streams for event in stream]
    kernels: Counter[str] = Counter()
    for event in events:
        kernels[event.name[:60]] += event.duration_ns
    total = sum(kernels.values())
    spans = [(event.start_ns, event.start_ns + event.duration_ns) for event in events]
    shares = {name: round(ns / total, 3) for name, ns in kernels.most_common(12)}
    return {"idle_share": round(1 - _busy_share(spans), 3), "kernels": shares}


def _busy_share(spans: Iterable[tuple[float, float]]) -> float:
    """Return the share of the time from first to last that spans cover, overlaps once."""
    ordered = sorted(spans)
    begin, end, busy = ordered[0][0], ordered[0][0], 0.0
    for start, stop in ordered:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return busy / (end - begin)
