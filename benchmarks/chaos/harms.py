"""List the ways to harm a sweep."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.chaos.database_harms import (
    fill_disk,
    freeze_database,
    kill_database,
    look_from_elsewhere,
    make_read_only,
    take_database_away,
)
from benchmarks.chaos.process_harms import (
    hang_up,
    kill_driver,
    kill_raylet,
    kill_worker,
    stop_worker,
    suspend_worker,
)
from benchmarks.chaos.sweep import Sweep


@dataclass(frozen=True)
class Harm:
    """A way to harm a sweep: how often among all harms, and how often at the least."""

    name: str
    do: Callable[[Sweep, random.Random], bool]
    n_cards: int
    least: int = 1


HARMS = (
    Harm("kill worker", kill_worker, n_cards=3),
    Harm("stop worker", stop_worker, n_cards=2),
    Harm("suspend worker", suspend_worker, n_cards=2),
    Harm("kill driver", kill_driver, n_cards=1),
    Harm("hang up", hang_up, n_cards=1),
    Harm("kill raylet", kill_raylet, n_cards=1),
    Harm("kill database", kill_database, n_cards=2),
    Harm("take database away", take_database_away, n_cards=2, least=2),
    Harm("freeze database", freeze_database, n_cards=1),
    Harm("make read-only", make_read_only, n_cards=1),
    Harm("fill disk", fill_disk, n_cards=1),
    Harm("look from elsewhere", look_from_elsewhere, n_cards=1),
)
