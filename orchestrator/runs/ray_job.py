"""Submit a sweep as a Ray job, which goes on without us, and follow it from anywhere."""

import json
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from orchestrator.data.files import find_files
from orchestrator.runs.run import Run
from orchestrator.terminal.progress import Update, show_progress
from shared.config.sweep import dump_config, with_values
from shared.errors import InputError, TagsweepError
from shared.files import writing

PACKAGES = ("orchestrator", "workers", "shared")
POLL_S = 1.0
"""How often the job's state and log are read."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_PROGRESS = re.compile(r"^(Embedding|Search|Ensemble): (\d+)/(\d+) ?(.*)$")
"""What `tagsweep run` writes of its progress where there is no terminal."""


@dataclass(frozen=True)
class Job:
    """Say where a job is: the cluster's dashboard, and the id that it was submitted under."""

    address: str
    job_id: str


@dataclass(frozen=True)
class JobStatus:
    """Hold what is known of a job from outside: Ray's word for it, and its progress."""

    job_id: str
    address: str
    state: str
    message: str
    stage: str | None
    done: int
    total: int
    detail: str


def launch(run: Run, address: str) -> Job:
    """Submit a run as a job, or return the one that is still at work; remember it in the run.

    The configuration, the CSV and our code travel with it. Secrets do not: what a job is given can
    be read in Ray's dashboard, so the cluster's machines must have TAGSWEEP_STORAGE themselves.
    """
    if run.config.workers.store is None:
        raise InputError(
            "A launched sweep leaves its files in workers.store, which must be set: to a URL such"
            " as s3://bucket/folder, or to a folder that all machines of the cluster share."
        )
    earlier = find_job(run)
    if earlier is not None and read_job(earlier).state not in ENDED:
        return earlier
    client = _client(address)
    job_id = f"{run.study_name}-{time.strftime('%Y%m%d-%H%M%S')}"
    with _working_folder(run) as folder:
        _submit(client, run, job_id, folder)
    job = Job(address, job_id)
    with writing(run.paths.job) as unfinished:
        unfinished.write_text(json.dumps(asdict(job)), encoding="utf-8")
    return job


def find_job(run: Run) -> Job | None:
    """Return the job that the run was launched as, if it was."""
    if not run.paths.job.exists():
        return None
    return Job(**json.loads(run.paths.job.read_text(encoding="utf-8")))


def require_job(run: Run) -> Job:
    """Return the job that the run was launched as; raise InputError when it was not."""
    job = find_job(run)
    if job is None:
        raise InputError(f"{run.paths.root} was not launched. Start it with `tagsweep launch`.")
    return job


def read_job(job: Job) -> JobStatus:
    """Ask the cluster how a job is."""
    with _reaching(job.address):
        info = _client(job.address).get_job_info(job.job_id)
    stage, done, total, detail = None, 0, 0, ""
    for line in read_logs(job).splitlines():
        if found := _PROGRESS.match(line):
            stage, detail = found[1], found[4]
            done, total = int(found[2]), int(found[3])
    message = " ".join(str(info.message or "").split())
    return JobStatus(job.job_id, job.address, str(info.status), message, stage, done, total, detail)


def read_logs(job: Job) -> str:
    """Return all that a job has written."""
    with _reaching(job.address):
        return str(_client(job.address).get_job_logs(job.job_id))


def stop_job(job: Job) -> None:
    """Tell a job to stop; its trials are handed back, and the same launch goes on from there."""
    with _reaching(job.address):
        _client(job.address).stop_job(job.job_id)


def follow(job: Job, console: Console) -> None:
    """Show a job's progress until it has ended; raise TagsweepError when it failed.

    Progress is shown as bars, as if the sweep ran here; all else is written as it comes.
    """
    with _Screen(console) as screen:
        n_seen, state = 0, ""
        while state not in ENDED:
            with _reaching(job.address):
                client = _client(job.address)
                state = str(client.get_job_status(job.job_id))
            log = read_logs(job)
            whole = log if state in ENDED else log[: log.rfind("\n") + 1]
            for line in whole[n_seen:].splitlines():
                screen.show(line)
            n_seen = len(whole)
            time.sleep(0 if state in ENDED else POLL_S)
    if state != "SUCCEEDED":
        raise TagsweepError(
            f"Job {job.job_id} is {state.lower()}. What is finished is kept: the same launch goes"
            " on from there."
        )


class _Screen:
    """Turn the lines of a job's log into bars, one stage after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._open = ExitStack()
        self._update: Update = lambda *_: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def show(self, line: str) -> None:
        found = _PROGRESS.match(line)
        if found is None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        if found[1] != self._stage:
            self._open.close()
            self._stage = found[1]
            progress = show_progress(self._console, self._stage, int(found[3]))
            self._update = self._open.enter_context(progress)
        self._update(int(found[2]), found[4])


@contextmanager
def _working_folder(run: Run) -> Iterator[Path]:
    """Yield a folder with what the job needs: the configuration, and the files of its data."""
    with tempfile.TemporaryDirectory(prefix="launch-") as name:
        folder, config = Path(name), run.config
        copies = []
        for number, path in enumerate(find_files(config.data.csv)):
            copies.append(Path(str(number), path.name))
            (folder / str(number)).mkdir()
            shutil.copyfile(path, folder / copies[-1])
        config = with_values(config, {"data": {"csv": tuple(copies)}})
        (folder / "sweep.yaml").write_text(dump_config(config), encoding="utf-8")
        yield folder


def _submit(client: Any, run: Run, job_id: str, folder: Path) -> None:
    specs = [find_spec(package) for package in PACKAGES]
    code = [str(Path(spec.origin).parent) for spec in specs if spec and spec.origin]
    name = shlex.quote(run.study_name)
    # Its own folder is Ray's to remove; what it has embedded is of use to the next job.
    command = (
        "python -m orchestrator run sweep.yaml --ray-address auto"
        f' --study-name {name} --run-dir "$HOME"/tagsweep/{name}'
    )
    try:
        client.submit_job(
            entrypoint=command,
            submission_id=job_id,
            runtime_env={"working_dir": str(folder), "py_modules": code},
            metadata={"study": run.study_name},
        )
    except RuntimeError as error:
        raise TagsweepError(f"The job was refused: {' '.join(str(error).split())}") from error


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    with _reaching(address):
        return JobSubmissionClient(address)


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn what goes wrong on the way to a cluster into one clear error."""
    try:
        yield
    except (ConnectionError, RuntimeError, OSError) as error:
        raise TagsweepError(
            f"The Ray cluster at {address} cannot be reached: {' '.join(str(error).split())}"
            " Check the address of its dashboard, the way to it, and RAY_AUTH_TOKEN."
        ) from error
