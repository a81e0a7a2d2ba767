from datetime import datetime, timedelta

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

START = datetime(2025, 1, 1)  # noqa: DTZ001  Optuna's times are local
RATE, UNITS = FloatDistribution(0, 0.6), IntDistribution(48, 384, log=True)


def make_trial(
    number: int,
    state: TrialState = TrialState.COMPLETE,
    *,
    epochs: int = 4,
    worker: str = "worker-0",
    start_s: float = 0,
    end_s: float = 1,
) -> FrozenTrial:
    """Return a trial whose loss is the better the higher its dropout, but for some noise."""
    rng = np.random.default_rng(number)
    rate, units = float(rng.uniform(0, 0.6)), int(rng.integers(48, 385))
    values = [1 - rate + float(rng.uniform(0, 0.01)) + 1 / (step + 1) for step in range(epochs)]
    trial = create_trial(
        state=state,
        value=None if state is TrialState.FAIL else min(values),
        params={"dropout0": rate, "n_units_l0": units},
        distributions={"dropout0": RATE, "n_units_l0": UNITS},
        intermediate_values=dict(enumerate(values)),
        user_attrs={"worker": worker, "epochs": epochs},
    )
    trial.number = number
    trial.datetime_start = START + timedelta(seconds=start_s)
    trial.datetime_complete = START + timedelta(seconds=end_s)
    return trial
