import threading
from contextlib import ExitStack

from sqlalchemy import create_engine, func, select

from shared.study.tables.study import N_READERS, READING, wait_to_read
from shared.study.tables.study_storage import StudyStorage


def test_who_reads_a_whole_study_waits_until_few_others_do(
    storage: StudyStorage, postgres_url: str
) -> None:
    engine, has_read = create_engine(postgres_url), threading.Event()

    def read() -> None:
        with storage.transaction() as connection:
            wait_to_read(connection)
        has_read.set()

    with ExitStack() as others:
        for line in range(N_READERS):
            connection = others.enter_context(engine.begin())
            connection.execute(select(func.pg_advisory_xact_lock(READING, line)))
        reader = threading.Thread(target=read)
        reader.start()
        assert not has_read.wait(0.3)
    assert has_read.wait(30)
    reader.join()
    engine.dispose()
