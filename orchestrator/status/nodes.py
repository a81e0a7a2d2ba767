"""Say what the workers of each node are doing."""

from collections import defaultdict
from dataclasses import dataclass

from orchestrator.status.forecast import Span, busy_share
from orchestrator.status.study_reader import WINDOW_S, Followed


@dataclass(frozen=True)
class NodeStatus:
    """Hold what is known of a machine with running trials, from the study alone.

    `workers` have a running trial; `training` are the trials that have been through an epoch at
    least, `starting` those that wait for a slot or are in their first. `utilisation`, 0 to 1, is
    the share of the last minutes (`WINDOW_S` of the study's reader) in which a worker had a trial
    in training, on average over the node's workers; `silent_s` is since the last heartbeat of any.
    """

    node: str
    workers: int
    training: int
    starting: int
    utilisation: float
    silent_s: float


def nodes_of(followed: Followed, grace_s: float) -> tuple[NodeStatus, ...]:
    """Group the running trials by node, in the order of names.

    A worker counts from its first trial in these minutes on. It trains from the ended trials'
    `seconds` before their end, and since a running one was asked for, if that has been through an
    epoch: what is asked for ahead waits only while another is in training. How many slots a worker
    has is not in the study, so one that trains a single head of hundreds counts as busy. A trial
    whose last heartbeat is older than `grace_s` is taken to have ended with it.
    """
    spans: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for trained in followed.trained:
        spans[trained.node, trained.worker].append(trained.span)
    firsts_s = {place: min(start for start, _ in of_worker) for place, of_worker in spans.items()}
    for trial in followed.running:
        place, start_s = (trial.node, trial.worker), followed.now_s - trial.running_s
        firsts_s[place] = min(start_s, firsts_s.get(place, start_s))
        if trial.step is not None:
            silent_s = trial.silent_s if trial.silent_s > grace_s else 0.0
            spans[place].append((start_s, followed.now_s - silent_s))
    window_start_s = followed.now_s - WINDOW_S
    nodes = []
    for node in sorted({trial.node for trial in followed.running}):
        trials = [trial for trial in followed.running if trial.node == node]
        places = sorted({(node, trial.worker) for trial in trials})
        shares = [
            busy_share(spans[place], max(firsts_s[place], window_start_s), followed.now_s)
            for place in places
        ]
        n_training = sum(trial.step is not None for trial in trials)
        nodes.append(
            NodeStatus(
                node=node,
                workers=len(places),
                training=n_training,
                starting=len(trials) - n_training,
                utilisation=sum(shares) / len(shares),
                silent_s=min(trial.silent_s for trial in trials),
            )
        )
    return tuple(nodes)
