"""Define the sections of a sweep's configuration: each setting, with its unit and default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shared.config.space import Choices, Section, as_list, require_distinct
from shared.training.params import Task


def _as_files(value: Any) -> Any:
    """Take one file for a list of it, and null for an empty one."""
    return () if value is None else (value,) if isinstance(value, str | Path) else value


def _require_encoding(name: str | None) -> str | None:
    try:
        b"    ".decode(name or "utf-8", "ignore")
    except LookupError as error:
        raise ValueError(f"{error}; Python's are meant, such as utf-8, utf-16 or cp1252") from error
    return name


class DataConfig(Section):
    """What to learn from, and how it is divided."""

    csv: Annotated[tuple[Path, ...], BeforeValidator(_as_files)] = ()
    """The files, one or several, or patterns such as `texts/*.csv`: CSV with a header, JSON lines,
    Parquet or Arrow, each told by its content, and any of them in gzip. One column holds the text,
    one of 0 and 1 each label, or one the class."""
    encoding: Annotated[str | None, AfterValidator(_require_encoding)] = None
    """The encoding of CSV and JSON lines, such as cp1252. null: UTF-16 if the file begins with its
    mark, else UTF-8."""
    separator: Literal["comma", "semicolon", "tab", "pipe"] | None = None
    """What separates a CSV's fields: comma, semicolon, tab or pipe. null: what parts its header."""
    text_column: str = "text"
    """The column that holds the text."""
    label_columns: Annotated[
        tuple[str, ...], BeforeValidator(as_list), AfterValidator(require_distinct)
    ] = ()
    """The label columns; empty: every column but the text whose values are all 0 or 1, true or
    false, yes or no, t or f, y or n."""
    list_column: str | None = None
    """The column that lists each row's labels, separated by `;`, `|` or `,`, or as a list: then
    there are no label columns. null: each label has its column."""
    class_column: str | None = None
    """The column that names each row's class, if a text has one of several classes: then there
    are no label columns. null: there are labels."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of the rows kept for the one measurement at the end."""
    valid_fraction: float = Field(0.2, gt=0, lt=1)
    """The share of the other rows that gives each trial its validation loss."""

    @property
    def task(self) -> Task:
        """What is learnt: several labels a text, or one of several classes."""
        return "multilabel" if self.class_column is None else "multiclass"

    @property
    def file_names(self) -> str:
        """The names of the files without their folders; empty where there is no file."""
        return ", ".join(path.name for path in self.csv)

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        ways = ("class_column", "list_column", "label_columns")
        given = [way for way in ways if getattr(self, way)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: leave one out")
        return self


Backend = Literal["auto", "torch", "torch-bf16", "openvino", "openvino-bf16", "openvino-int8"]
QUANTISED = ("openvino-int8",)
"""The backends whose vectors differ from float32's; those of all others agree with each other."""


class EncoderConfig(Section):
    """How a text becomes a vector."""

    name: str = "all-MiniLM-L6-v2"
    """A sentence-transformers model: a local folder, the packaged MiniLM, or a name on the hub."""
    max_seq_length: int | None = Field(None, gt=0)
    """The longest input in tokens; longer texts are cut. null: the encoder's own limit."""
    prompt: str | None = None
    """A text put before every input, for encoders trained with one (`query: `)."""
    backend: Backend = "auto"
    """What computes the vectors; openvino's need the extra of that name. auto: the fastest that
    agrees with float32, measured on the texts; openvino-int8, whose vectors differ, is none."""
    batch_tokens: int | None = Field(None, gt=0)
    """Tokens a forward pass, padding included. null: 2,048 on a CPU, 16,384 on a GPU."""
    n_workers: int | None = Field(None, ge=0)
    """Ray processes that encode, each with a worker's CPUs and GPUs. 0: none, the driver does it.
    null: on a Ray cluster as many as it has places for workers, on one machine none."""

    @property
    def full_name(self) -> str:
        """What a study calls the encoder: its name, and how it differs from others of this name."""
        settings = {
            "max_seq_length": self.max_seq_length,
            "prompt": self.prompt,
            "backend": self.backend if self.backend in QUANTISED else None,
        }
        said = ", ".join(f"{key}={value!r}" for key, value in settings.items() if value is not None)
        return f"{self.name} ({said})" if said else self.name

    @property
    def identity(self) -> "EncoderConfig":
        """What vectors depend on: not batches, processes, or which backend of those that agree."""
        backend = self.backend if self.backend in QUANTISED else "auto"
        return self.model_copy(update={"backend": backend, "batch_tokens": None, "n_workers": None})


MAX_SEED = 2**31 - 1
"""Folds and repeats add to a seed, and NumPy and scikit-learn take none from 2**32 on."""


class SamplerConfig(Section):
    """Optuna's TPESampler."""

    n_startup_trials: int = Field(10, ge=0)
    """Trials drawn at random before the sampler learns from them."""


class PrunerConfig(Section):
    """Optuna's MedianPruner."""

    n_startup_trials: int = Field(5, ge=0)
    """Trials that must be complete before any is pruned."""
    n_warmup_steps: int = Field(0, ge=0)
    """Epochs of a trial before it can be pruned."""
    interval_steps: int = Field(1, gt=0)
    """Epochs between two looks at the median."""


Objective = Literal["validation_loss", "ap_weighted", "ap_macro", "n_parameters", "latency_ms"]
"""What trials are compared by; average precision is maximised, all else is minimised."""
QUALITIES = ("validation_loss", "ap_weighted", "ap_macro")
"""The objectives that say how well a head does, not what it costs."""


class StudyConfig(Section):
    """The study and its budget."""

    name: str | None = Field(None, min_length=1)
    """The study's name in its storage. null: what the run directory is called as it begins."""
    n_trials: int = Field(100, gt=0)
    """The budget: trials that finish, complete or pruned. Failed ones do not count."""
    timeout_s: float | None = Field(None, gt=0)
    """The longest search in seconds, earlier starts of the study counted in. null: no limit."""
    objective: Choices[Objective] = ("validation_loss",)
    """What trials are compared by: their validation loss, or the weighted or macro average
    precision on the validation rows at the epoch of the least loss. They report their loss after
    each epoch, and are pruned by it, in any case. A list of several: the Pareto front is searched,
    and no trial is pruned; beside these there are n_parameters, the size of the head, and
    latency_ms, the least time of its forward pass for one row. The first chooses the best trial;
    an average precision that comes first is also what the result is told by."""
    n_folds: int | None = Field(None, ge=2)
    """Folds that each trial is measured on, instead of the one split; its value is their mean. It
    trains on the first one alone, where it may be pruned, and on the others if it was not. null:
    the one split."""
    n_repeats: int = Field(1, gt=0)
    """How often the rows are divided into such folds, each time anew; more needs n_folds."""
    target_value: float | None = None
    """The objective's value at which the search is good enough and ends. null: no target."""
    seed: int = Field(42, ge=0, le=MAX_SEED)
    """What splits, samplers, initial weights and shuffling are derived from. One worker with one
    trial at a time finds the same again, whatever interrupts it between trials; others race."""
    sampler: SamplerConfig = SamplerConfig()
    """How the next parameters are chosen."""
    pruner: PrunerConfig = PrunerConfig()
    """Which trials are stopped early."""

    @model_validator(mode="after")
    def _check(self) -> "StudyConfig":
        if self.n_repeats > 1 and self.n_folds is None:
            raise ValueError(f"n_repeats needs n_folds, but got n_repeats={self.n_repeats} alone")
        if self.objective[0] not in QUALITIES:
            raise ValueError(
                f"the first objective must be one of {', '.join(QUALITIES)}, because it chooses the"
                f" best trial, but is {self.objective[0]}"
            )
        if self.target_value is not None and not self._can_be(self.target_value):
            raise ValueError(
                f"target_value must be one that {self.objective[0]} can have, but is"
                f" {self.target_value:g}"
            )
        if self.is_multi_objective and self.target_value is not None:
            raise ValueError(
                "target_value needs a single objective: of several, none says when a search is good"
                " enough; leave it out, and limit n_trials or timeout_s"
            )
        return self

    @property
    def is_multi_objective(self) -> bool:
        """Whether trials are compared by several objectives."""
        return len(self.objective) > 1

    def _can_be(self, value: float) -> bool:
        """Say whether the first objective can have a value: no loss is below 0, no AP above 1."""
        return value >= 0 and (value <= 1 or self.objective[0] == "validation_loss")


class TrainingConfig(Section):
    """The training of one head, the same for every trial and fold."""

    max_epochs: int = Field(200, gt=0)
    """The most passes over the training rows."""
    early_stopping_patience: int = Field(5, gt=0)
    """Epochs without a better validation loss after which training stops, at its best weights."""
    reduce_lr_patience: int = Field(1, gt=0)
    """Epochs without a better validation loss after which the learning rate falls."""
    reduce_lr_factor: float = Field(0.1, gt=0, lt=1)
    """What the learning rate is multiplied by when it falls."""
    min_learning_rate: float = Field(1e-5, ge=0)
    """The learning rate below which it does not fall."""
    matrix_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """What the embeddings are kept in on the device; heads are trained in float32 all the same."""


class WorkersConfig(Section):
    """The processes that train trials."""

    min: int = Field(1, gt=0)
    """How many workers there must be within `start_timeout_s`, or the search gives up."""
    max: int | None = Field(None, gt=0)
    """How many workers there may be. null: as many as this machine or the Ray cluster holds. A
    cluster that grows is asked for what the budget still needs."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """Cores that Ray sets aside for each worker, which computes on one."""
    gpus_per_worker: float = Field(0.0, ge=0)
    """GPUs that each worker takes; 0.25 puts four workers on one."""
    start_timeout_s: float = Field(600.0, gt=0)
    """How long to wait for `min` workers, in seconds; a cluster may have to start machines."""
    pack: Literal["auto"] | Annotated[int, Field(gt=0)] = "auto"
    """Heads that a worker trains at a time. auto: one on a CPU, what the memory holds on a GPU."""
    heartbeat_interval_s: float = Field(5.0, gt=0)
    """How often a worker shows that its trials are worked on, in seconds."""
    heartbeat_grace_s: float = Field(30.0, gt=0)
    """Seconds without a heartbeat after which a trial is taken from its worker and run again."""
    max_retries: int = Field(5, ge=0)
    """How often a trial is run again whose worker died; handing it back in order is not counted."""
    checkpoint_interval_s: float = Field(30.0, ge=0)
    """How often a trial is kept to be gone on from, in seconds. 0: after each of its epochs."""
    store: str | None = None
    """Where arrays, checkpoints and the bundle are kept: a folder, or a URL such as
    s3://bucket/folder, that all workers reach. null: the run directory."""
    pool: Literal["ray", "inline"] = "ray"
    """Where workers run: Ray processes, or one worker in this process, for debugging."""

    @property
    def is_single(self) -> bool:
        """Whether one worker trains all trials, unless others are attached."""
        return self.max == 1 or self.pool == "inline"

    @model_validator(mode="after")
    def _check(self) -> "WorkersConfig":
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max must not be below min, but got {self.max} < {self.min}")
        if self.gpus_per_worker > 1 and not self.gpus_per_worker.is_integer():
            raise ValueError(
                "gpus_per_worker must be a share of one GPU or a whole number of them, but is"
                f" {self.gpus_per_worker:g}"
            )
        if self.heartbeat_grace_s < 2 * self.heartbeat_interval_s:
            raise ValueError(
                "heartbeat_grace_s must be at least twice heartbeat_interval_s, or a heartbeat that"
                f" is a little late costs a trial, but got {self.heartbeat_grace_s:g} and"
                f" {self.heartbeat_interval_s:g}"
            )
        return self


EnsembleSource = Literal["best", "top", "greedy"]


class EnsembleConfig(Section):
    """The ensemble that the search ends in."""

    n_folds: int = Field(5, ge=2)
    """Folds, and so members of each trial."""
    source: EnsembleSource = "best"
    """Whose members it has: the best trial's; the top_k best trials', in equal shares; or theirs in
    the shares that greedy selection gives them by their out-of-fold predictions."""
    top_k: int = Field(5, ge=2)
    """How many of the best trials `top` and `greedy` train members of."""
    kernel: bool = False
    """Whether `greedy` may also choose a kernel machine on the embeddings. It ranks well where rows
    are few; the bundle then holds the embeddings of up to 4,096 of them, in 6 MB or more."""

    @model_validator(mode="after")
    def _check(self) -> "EnsembleConfig":
        if self.kernel and self.source != "greedy":
            raise ValueError(f"kernel needs source: greedy, but got source: {self.source}")
        return self


class DecisionsConfig(Section):
    """How probabilities become decisions: a bundle is made anew with others without training."""

    threshold: Literal["f1", "precision", "recall", "cost", "half"] = "f1"
    """What each label's threshold is chosen for, on out-of-fold probabilities. f1: the highest F1;
    precision: the most recall at a precision of at least `floor`; recall: the most precision at a
    recall of at least `floor`; cost: the least cost of wrong decisions; half: it is 0.5."""
    floor: float = Field(0.9, gt=0, le=1)
    """The least precision or recall, where `threshold` is one of these."""
    false_positive_cost: float = Field(1.0, gt=0)
    """What giving a label wrongly costs, where `threshold` is cost."""
    false_negative_cost: float = Field(1.0, gt=0)
    """What missing a label costs, where `threshold` is cost."""
    calibration: Literal["auto", "none", "temperature", "isotonic"] = "auto"
    """How each label's probability is made the share of rows that have it. auto: the simplest that
    is as good as any on out-of-fold probabilities, within their noise."""


class WatchConfig(Section):
    """What a sweep shows of itself while it runs."""

    metrics_port: int | None = Field(None, ge=1, le=65535)
    """The port that the driver serves its figures on, for Prometheus. null: on none."""
    metrics_host: str = "127.0.0.1"
    """The address that it listens on; it has no passwords. 0.0.0.0: all of this machine's."""
