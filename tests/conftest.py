import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.study.tables.study_storage import StudyStorage
from workers import SearchArrays

# Whoever runs the tests in the background has these ignored, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Set before anything imports TensorFlow, Ray or Hugging Face; child processes inherit it.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TF_CPP_MIN_LOG_LEVEL="3",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    RAY_USAGE_STATS_ENABLED="0",
)
for name in [name for name in os.environ if name.startswith("TAGSWEEP_")]:
    if name not in {"TAGSWEEP_TEST_DATA", "TAGSWEEP_SCREENSHOTS"}:
        del os.environ[name]

# Of the processes that tests start, only those that fork commands are measured, for coverage: the
# tracer costs a third of the imports, of each of a sweep's many processes.
if "PYTEST_XDIST_WORKER" in os.environ and "COVERAGE_PROCESS_CONFIG" in os.environ:
    os.environ["COVERAGE_OF_FORKS"] = os.environ.pop("COVERAGE_PROCESS_CONFIG")

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(scope="session")
def emotions_csv() -> Path:
    folder = Path(os.environ.get("TAGSWEEP_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    path = folder / "emotions.csv"
    assert path.exists(), f"{path} is missing: set TAGSWEEP_TEST_DATA to the folder that has it"
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    from orchestrator.runs.database import embedded_postgres

    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        embedded_postgres(Path(folder) / "postgres") as url,
    ):
        yield url


@pytest.fixture
def storage(postgres_url: str) -> Iterator[StudyStorage]:
    from shared.study.tables.storage import open_storage

    opened = open_storage(postgres_url)
    yield opened
    opened.remove_session()
    opened.engine.dispose()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Run an S3 server, and name it in the environment, where child processes find it too."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def bucket(s3_server: str) -> str:
    """Return the URL of a bucket on the S3 server."""
    import s3fs

    s3fs.S3FileSystem(endpoint_url=s3_server).mkdir("tagsweep-tests")
    return "s3://tagsweep-tests"


@pytest.fixture
def study_name(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}-{os.urandom(4).hex()}"


@pytest.fixture(scope="session")
def arrays() -> SearchArrays:
    """Return 160 points of 8 numbers whose signs decide three labels: learnt in a few epochs."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(160, 8)).astype(np.float32)
    labels = (vectors[:, :3] + 0.3 * rng.normal(size=(160, 3)) > 0).astype(np.float32)
    return SearchArrays(vectors, labels, ((np.arange(120), np.arange(120, 160)),))


@pytest.fixture(scope="session")
def class_arrays(arrays: SearchArrays) -> SearchArrays:
    """Return the same points, each of the class of three that is the largest of its numbers."""
    largest = arrays.vectors[:, :3].argmax(axis=1)
    return replace(arrays, labels=np.eye(3, dtype=np.float32)[largest])
