"""Name every file of a run directory; no other module joins paths below it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Locate the files of one run.

    A run directory can be deleted as a whole and nothing of the run remains elsewhere, but for
    the study where `--storage` names a server of the user's own.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The validated configuration that the run was started with."""
        return self.root / "config.yaml"

    @property
    def job(self) -> Path:
        """The job that the run was launched as on a cluster."""
        return self.root / "job.json"

    @property
    def log(self) -> Path:
        """The log of every command run on this directory."""
        return self.root / "tagsweep.log"

    @property
    def events(self) -> Path:
        """What happened in the run, one JSON object a line, for machines."""
        return self.root / "events.jsonl"

    @property
    def embeddings(self) -> Path:
        """The folder of the content-addressed embedding cache."""
        return self.root / "embeddings"

    @property
    def split(self) -> Path:
        """The row numbers of each part of the data, and their fingerprint."""
        return self.root / "split.json"

    @property
    def encoders(self) -> Path:
        """The revisions of the encoders that the run was prepared with, by what it calls them."""
        return self.root / "encoders.json"

    @property
    def database(self) -> Path:
        """The data folder of the embedded PostgreSQL."""
        return self.root / "postgres"

    @property
    def store(self) -> Path:
        """What other machines need too: texts, arrays, checkpoints and the folds trained so far."""
        return self.root / "store"

    @property
    def scores(self) -> Path:
        """The probabilities of the test rows and of the rows out of fold, with their labels."""
        return self.root / "scores.npz"

    @property
    def bundle(self) -> Path:
        """The result: everything that is needed to predict on new text."""
        return self.root / "bundle"

    @property
    def unfinished(self) -> Path:
        """Here while a new result takes the place of an old one, and after a kill in between."""
        return self.root / "result.unfinished"

    @property
    def report(self) -> Path:
        """The page with the result in words and figures, for people; its numbers lie beside it."""
        return self.root / "report" / "index.html"

    @property
    def report_numbers(self) -> Path:
        """What the report says, for programs."""
        return self.root / "report" / "report.json"
