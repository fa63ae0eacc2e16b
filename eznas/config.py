"""The settings of a run: one frozen model per section, read from TOML, checked before anything starts.

An unknown key is an error that names the nearest known one. The resolved settings are written to the run folder.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from eznas.errors import ConfigError
from eznas.names import nearest

Positive = Annotated[int, Field(strict=True, ge=1)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Dataset = Literal["cifar10", "cifar100", "imagenet16"]


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("every name may occur once only")
    return values


class Section(BaseModel):
    """Settings are data: frozen, typed, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BenchmarkSettings(Section):
    """Which networks and which trained accuracies."""

    name: Literal["nb201"] = "nb201"
    datasets: Annotated[tuple[Dataset, ...], Field(min_length=1), AfterValidator(_distinct)] = ("cifar10",)
    """Each data set is one task; a program's fitness is its worst task."""
    epochs: Literal[12, 200] = 200
    """Of the training the accuracies come from."""
    n_evolve: Annotated[int, Field(strict=True, ge=10)] = 100
    """Networks whose validation accuracies drive evolution."""
    n_select: Annotated[int, Field(strict=True, ge=10)] = 200
    """Other networks whose validation accuracies choose the best proxy of the front."""
    n_report: Annotated[int, Field(strict=True, ge=10)] = 500
    """Yet other networks whose test accuracies are reported."""
    strategy: Literal["stratified", "uniform"] = "stratified"
    """How the networks to evolve on are drawn; those to select and report on are always drawn uniformly."""


class NetworkSettings(Section):
    """The networks the statistics are captured from; a reduced skeleton keeps the ranking at a fraction of the cost."""

    cells_per_stage: Positive = 1
    channels: Positive = 16
    n_classes: Annotated[int, Field(strict=True, ge=1)] = 10
    scheme: Literal["eznas", "default"] = "eznas"
    """Initialisation: of the EZNAS release (Kaiming normal, fan out), or PyTorch's own."""


class ProbeSettings(Section):
    """The batch that excites the networks."""

    images: Literal["auto", "digits", "cifar10", "cifar100", "imagenet16"] = "auto"
    """auto: the images of the first data set if they are at hand, else scikit-learn's digits. All tasks share them."""
    batch_size: Positive = 8
    units: Literal["convolutional", "all"] = "convolutional"
    """The layers that programs read: units of activation, convolution and normalisation, or all convolutions and linear
    layers, stem, shortcuts and classifier among them."""
    input_size: Annotated[int, Field(strict=True, ge=4, multiple_of=4)] = 16
    """Height and width of an image; the networks halve it twice."""
    storage: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type in which the statistics that programs evolve on are kept. The short ones take half the memory, and programs
    still compute in single precision, but on rounded values: with float16 those beyond 65,504 are infinite and those
    below 6e-8, as gradients may be, are 0. Held-out networks are always measured in float32."""


class EvolutionSettings(Section):
    """How programs are varied and selected."""

    primitive_set: Literal["extended", "paper", "labelled"] = "extended"
    """paper: the language of the EZNAS paper; extended: the typed language; labelled: with the words of estimators that
    look at the classes of the images and at the linearised network."""
    regime: Literal["nsga2", "paper"] = "nsga2"
    """nsga2: correlation up, size down, cost down. paper: tournaments on correlation, half newcomers."""
    population_size: Annotated[int, Field(strict=True, ge=4)] = 200
    initial_size: Annotated[int, Field(strict=True, ge=4)] = 600
    """nsga2: random programs before the first selection; small ones share most of their work and are cheap."""
    n_generations: Annotated[int, Field(strict=True, ge=0)] = 20
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """Evolution ends with the generation in which it has taken so long; 0 sets no limit. How far a run with a limit
    comes depends on the machine."""
    crossover: Probability = 0.3
    mutation: Probability = 0.3
    combination: Probability = 0.4
    """nsga2: of two programs by one more operator, the partner chosen by the scores already known. Crossover, mutation
    and combination are relative frequencies."""
    elite_share: Probability = 0.4
    """nsga2: share of the survivors that correlation alone chooses."""
    early_decisions: bool = False
    """nsga2: look at networks in rounds, and no further at programs that can no longer reach the front or the elite."""
    early_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    """Of each early decision."""
    likeness: Annotated[float, Field(gt=0, le=1)] = 0.99
    """nsga2: Spearman's rho from which two programs' rankings count as one, and only the better survives."""
    immigrants: Probability = 0.15
    """Share of every generation that is generated anew."""
    tournament_size: Annotated[int, Field(strict=True, ge=1)] = 4
    max_size: Annotated[int, Field(strict=True, ge=3, le=1000)] = 25
    max_height: Annotated[int, Field(strict=True, ge=2, le=100)] = 10
    initial_height: Annotated[int, Field(strict=True, ge=2, le=100)] = 4
    """Greatest height of random programs."""
    aggregate: Literal["worst", "mean"] = "worst"
    direction: Literal["either", "higher"] = "either"
    """either: a program may also predict by a low score; its direction is then part of the proxy."""


class EvaluationSettings(Section):
    """Where and in which portions programs are evaluated; none of these changes a score."""

    tile_kib: Positive = 2048
    memory_mib: Annotated[int, Field(strict=True, ge=16)] = 1024
    """Of each worker: statistics held in memory, results kept across generations, and what the work itself takes."""
    timeout_seconds: Annotated[float, Field(ge=0)] = 0.0
    """A worker that takes longer over one population is killed; with --workers 1 or more. 0 waits."""
    networks_per_shard: Positive = 8


class ReportSettings(Section):
    """What is measured on held-out networks."""

    front_size: Positive = 10
    """Most discovered proxies shown."""
    baselines: Annotated[tuple[str, ...], AfterValidator(_distinct)] = (
        "parameter_count", "mac_count", "naswot", "naswot_units", "synflow", "jacob_cov", "eznas_a_code",
        "eznas_a_paper",
    )  # fmt: skip
    baseline_batch_size: Annotated[int, Field(strict=True, ge=2)] = 32
    """Images for the published estimators, which were designed for larger batches than programs need."""
    bootstrap: Annotated[int, Field(strict=True, ge=100)] = 1000
    """Resamples of a confidence interval."""
    simplify_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Time limit of simplifying one program."""


class RunConfig(Section):
    """Everything that determines a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")] = "run"
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    checkpoints: Positive = 3
    """Checkpoints kept."""
    benchmark: BenchmarkSettings = BenchmarkSettings()
    networks: NetworkSettings = NetworkSettings()
    probe: ProbeSettings = ProbeSettings()
    evolution: EvolutionSettings = EvolutionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings in a TOML file (or the defaults), with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unreadable file, invalid TOML, unknown or ill-typed key.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Cannot read configuration {path}: {error.strerror or error}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"Configuration {path} is not valid TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    return config_from(table, where=str(path) if path else "the settings")


def changed_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Settings with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unknown or ill-typed key.
    """
    table = config.model_dump(mode="json")
    for override in overrides:
        _override(table, override)
    return config_from(table)


def config_from(table: Mapping[str, Any], *, where: str = "the settings") -> RunConfig:
    """The settings a nested mapping describes.

    Raises:
        ConfigError: unknown or ill-typed key, with the nearest known name.
    """
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_sentence(error, where)) from None


def to_toml(config: RunConfig) -> str:
    """The resolved settings as TOML that `load_config` reads back."""
    data = config.model_dump(mode="json")
    top = [f"{key} = {_toml(value)}" for key, value in data.items() if not isinstance(value, dict)]
    sections = [
        "\n".join([f"\n[{name}]", *(f"{key} = {_toml(value)}" for key, value in section.items())])
        for name, section in data.items()
        if isinstance(section, dict)
    ]
    return "\n".join([*top, *sections]) + "\n"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case _:
            return f"[{', '.join(_toml(item) for item in value)}]"


def _override(table: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set takes section.key=value, got {override!r}; for example --set seed=5")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()  # a bare word is a string
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override!r}: {key!r} is a setting, not a section")
    table[keys[-1]] = value


def _sentence(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = list(_section(first["loc"][:-1]).model_fields)
        dotted = {
            key: f"{name}.{key}"
            for name, section in RunConfig()
            if isinstance(section, Section)
            for key in type(section).model_fields
        } | {key: key for key in RunConfig.model_fields}
        dotted |= {key: ".".join([*map(str, first["loc"][:-1]), key]) for key in known}
        meant = nearest(str(first["loc"][-1]), [*known, *dotted])
        hint = f"did you mean {dotted[meant]!r}?" if meant else f"known keys are {', '.join(known)}"
        return f"Unknown key {path!r} in {where}; {hint}{more}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"Setting {path!r} in {where}: {message}, got {first['input']!r}{more}"


def _section(path: Sequence[int | str]) -> type[BaseModel]:
    section: type[BaseModel] = RunConfig
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        candidates = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return section
