"""The settings of a run: one frozen model per section, read from TOML, checked before anything starts.

An unknown key is an error that names the nearest known one. The resolved settings are written to the run folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from eznas.benchmarks import source_named
from eznas.conditions import DEFAULT_UNITS, Units
from eznas.digests import content_digest
from eznas.errors import ArchitectureError, BenchmarkError, ConfigError
from eznas.fitness import LONGEST_TARGET, parse_target
from eznas.forms import Form, sentence, sentences, toml_of
from eznas.names import one_line
from eznas.spaces import SpaceSettings, nb201, own, space_named

MAX_BYTES: Final = 2**20
"""Largest file of settings that is read."""
Positive = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Size = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("every name may occur once only")
    return values


class Section(Form):
    """Settings are data: frozen, typed, without unknown keys."""


def _settings_of_space(data: Any) -> Any:
    """The settings of the search space that ``space`` names, by the space's own model."""
    if not isinstance(data, Mapping):
        return data
    space = space_named(str(data.get("space", nb201.NAME)))
    try:
        return space.settings.model_validate(dict(data))
    except ValidationError as error:
        raise ValueError(sentence(error, f"the settings of {space.name} networks", space.settings)) from None


Parts = Annotated[int, Field(strict=True, ge=5, le=10_000_000)] | None
OWN = own.NAME
"""Name of the search space, and of the benchmark, of a user's own networks."""


class ProbeSettings(Section):
    """The batch that excites the networks."""

    images: Annotated[str, Field(min_length=1, max_length=1000)] = "auto"
    """auto: the images of the first data set if they are at hand, else scikit-learn's digits. Or digits, cifar10,
    cifar100, imagenet16, an .npz file, a folder with a subfolder of images for each class, or python:module:function.
    All data sets of a benchmark share them."""
    batch_size: Positive = 8
    """Images of a batch."""
    seed: Seed | None = None
    """Of the initialisation of networks and the draw of images; that of the run if not given. Runs that share it share
    what was captured, and the bank."""
    units: Units = DEFAULT_UNITS
    """What programs read of a network. convolutional: units of activation, convolution and normalisation; all: every
    convolution and linear layer as it stands; layers: every one, with the activation that feeds it from further up."""
    input_size: Size | Literal["auto"] = "auto"
    """Height and width of an image. auto: 16 for the cell spaces, whose networks halve it twice; for networks of your
    own the size that they take."""
    channels: Size | Literal["auto"] = "auto"
    """Of an image. auto: 3, and for networks of your own as many as they take."""
    storage: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type in which the statistics that programs evolve on are kept. The short ones take half the memory, and programs
    still compute in single precision, but on rounded values: with float16 those beyond 65,504 are infinite and those
    below 6e-8, as gradients may be, are 0. Held-out networks are always measured in float32."""


class BenchmarkSettings(Section):
    """Which networks and which trained accuracies."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] = "nb201"
    """A benchmark (nb201, nb101, nb101_zero, nb301, nds_darts_in, nds_amoeba_in, nds_enas_in, nds_resnext_a_in,
    nds_darts_fixed_in), an imported table, or python for networks of your own."""
    networks: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    """Of your own: python:package.module:function, which gives (name, module) pairs."""
    accuracies: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    """Of your own networks: a CSV file with a column of names and one of accuracies for each data set."""
    datasets: Annotated[tuple[Name, ...], Field(max_length=1000), AfterValidator(_distinct)] = ()
    """Each data set is one sample; a program's fitness is its worst. None named: cifar10 if the benchmark has it, else
    all that it has."""
    epochs: Positive | None = None
    """Of the training the accuracies come from; the full training if not given."""
    n_evolve: Parts = None
    """Networks whose validation accuracies drive evolution; if not given, 100 of a large benchmark, else a share."""
    n_select: Parts = None
    """Other networks whose validation accuracies choose the best proxy of the front; 200, or a share."""
    n_report: Parts = None
    """Yet other networks whose test accuracies are reported; 500, or a share."""
    strategy: Literal["stratified", "uniform"] = "stratified"
    """How the networks to evolve on are drawn; those to select and report on are always drawn uniformly."""
    folds: Annotated[int, Field(strict=True, ge=2, le=20)] | Literal["auto", "none"] = "auto"
    """Of a cross-fitted report: every network is reported by a search that did not see it, and the delivered proxy is
    evolved on all. auto: 5 for fewer than 150 networks of your own, none otherwise."""

    @model_validator(mode="before")
    @classmethod
    def _own_by_specification(cls, data: Any) -> Any:
        """``name = "python:module:function"`` says both that the networks are one's own, and which."""
        if isinstance(data, Mapping) and str(data.get("name", "")).startswith(f"{OWN}:"):
            return {**data, "name": OWN, "networks": data.get("networks") or data["name"]}
        return data

    @model_validator(mode="after")
    def _files_are_of_own_networks(self) -> BenchmarkSettings:
        """Networks and accuracies say nothing of a known benchmark, which has its own."""
        if not self.is_own and (self.networks or self.accuracies):
            which = "networks" if self.networks else "accuracies"
            raise ValueError(
                f"{which} are named, but those of benchmark {self.name!r} are known; name both networks and accuracies "
                f"with name = {OWN!r} (eznas evolve --networks {OWN}:module:function --accuracies FILE.csv)"
            )
        return self

    @property
    def is_own(self) -> bool:
        """Whether the networks are the user's."""
        return self.name == OWN


class SampleProbe(Section):
    """What excites the networks of one sample, where it differs from the run's probe."""

    images: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    batch_size: Positive | None = None
    input_size: Size | Literal["auto"] | None = None
    channels: Size | Literal["auto"] | None = None


class SampleSettings(BenchmarkSettings):
    """Networks with accuracies under conditions of their own: one of several in a run."""

    settings: Annotated[SpaceSettings, SerializeAsAny(), BeforeValidator(_settings_of_space)] | None = None
    """Of the search space, as in [networks]; the run's if they are of the same space, else the defaults."""
    probe: SampleProbe = SampleProbe()
    """Images, batch and size, where they differ from the run's."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """In the mean over samples; the worst of them knows no weights."""
    left_out: Annotated[bool, Field(strict=True)] = False
    """Nothing is learnt from this sample: the run only reports on it, which says whether formulas hold elsewhere."""

    group: Annotated[str, Field(max_length=100)] = ""
    """two-level: samples of one group are of one kind. Where a run has four kinds or more, one kind after the other is
    left out to learn how long a formula may be and still hold elsewhere. Not given: those of one search space."""

    @model_validator(mode="after")
    def _asks_for_nothing_to_learn_from(self) -> SampleSettings:
        if self.left_out and (self.n_evolve or self.n_select):
            raise ValueError("nothing is learnt from a sample that is left_out; drop its n_evolve and n_select")
        return self

    @model_validator(mode="before")
    @classmethod
    def _settings_follow_the_name(cls, data: Any) -> Any:
        """Settings are of the space of the benchmark unless they say otherwise."""
        settings = data.get("settings") if isinstance(data, Mapping) else None
        if isinstance(settings, Mapping) and "space" not in settings:
            space = space_of_benchmark(str(data.get("name", "nb201")))
            return {**data, "settings": {**settings, "space": space}}
        return data


class EvolutionSettings(Section):
    """How programs are varied and selected."""

    primitive_set: Literal["extended", "paper", "labelled", "roles", "graph", "general", "metrics"] = "extended"
    """paper: the language of the EZNAS paper; extended: the typed language; labelled: with the words of estimators that
    look at the classes of the images and at the linearised network; roles: with the roles of layers, and operators that
    leave layers out; graph: with the words of the graph of layers; general: both of these, with spectra that know no
    scale and aggregations that do not count layers; metrics: arithmetic on the scores of published estimators and on
    counts."""
    regime: Literal["nsga2", "paper", "two-level"] = "nsga2"
    """nsga2: several objectives at once. paper: tournaments on the first objective, half newcomers. two-level: words,
    whose values are kept in a bank, and sentences of words, bred on their numbers by the ten thousand."""
    n_words: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 2_000
    """two-level: words of the lexicon that the run begins with, drawn at random; 0 takes all."""
    n_new_words: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 100
    """two-level: new words of every later generation, varied from those in use."""
    vocabulary: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 3_000
    """two-level: words that sentences may use, those that say most, and on most samples the same; 0 takes all."""
    n_sentences: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] = 100_000
    """two-level: sentences tried in a generation."""
    objectives: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8), AfterValidator(_distinct)] = (
        "tau", "size", "cost",
    )  # fmt: skip
    """What selection maximises, the most important first, which must be one that ranks networks: tau, rho, tau_bound,
    top_tau, level_rho, partial_tau, partial_rho, ndcg; and size, cost, needs of the program, negated."""
    seeds: Annotated[tuple[str, ...], Field(max_length=200), AfterValidator(_distinct)] = ()
    """Programs the search starts from and keeps coming back to: published names, program files, RUN:ID or formulas. A
    run with seeds is reported apart from those that start from nothing."""
    population_size: Annotated[int, Field(strict=True, ge=4, le=1_000_000)] = 200
    """Programs of a generation."""
    initial_size: Annotated[int, Field(strict=True, ge=4, le=1_000_000)] = 600
    """nsga2: random programs before the first selection; small ones share most of their work and are cheap."""
    n_generations: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 20
    """Generations after the first programs."""
    seconds: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Evolution ends with the generation in which it has taken so long; 0 sets no limit. How far a run with a limit
    comes depends on the machine."""
    n_programs: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] = 0
    """Evolution ends with the generation in which so many different programs are evaluated; 0 sets no limit."""
    patience: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0
    """Evolution ends when so many generations in a row found no better program by the first objective; 0 never does."""
    target: Annotated[str, Field(max_length=LONGEST_TARGET)] = ""
    """Evolution ends with the generation in which one program meets all of it, on the networks evolved on: comparisons
    of objectives of the run, size and cost, joined by and, or, such as tau > .8 and size < 10."""
    crossover: Probability = 0.3
    """Of two programs, which exchange a part. Crossover, mutation and combination are relative frequencies."""
    mutation: Probability = 0.3
    """Of one program, of which a part is drawn anew."""
    combination: Probability = 0.4
    """nsga2: of two programs by one more operator, the partner chosen by the scores already known."""
    elite_share: Probability = 0.4
    """nsga2: share of the survivors that the first objective alone chooses."""
    likeness: Annotated[float, Field(gt=0, le=1)] = 0.99
    """nsga2: Spearman's rho from which two programs' rankings count as one, and only the better survives."""
    immigrants: Probability = 0.15
    """Share of every generation that is generated anew."""
    islands: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """nsga2: populations that evolve apart, an equal share of the programs each."""
    migration_interval: Positive = 5
    """Generations from one migration to the next: the best of each island join the next island."""
    migrants: Positive = 3
    """Programs that migrate from each island."""
    tournament_size: Positive = 4
    """Programs of which the best becomes a parent."""
    max_size: Annotated[int, Field(strict=True, ge=3, le=1000)] = 25
    """Most nodes of a program."""
    max_height: Annotated[int, Field(strict=True, ge=2, le=100)] = 10
    """Longest path of a program, in edges."""
    initial_height: Annotated[int, Field(strict=True, ge=2, le=100)] = 4
    """Greatest height of random programs."""
    aggregate: Literal["worst", "mean", "bound"] = "worst"
    """Of each objective that ranks networks, over the tasks; bound: the mean less its standard error over the tasks."""
    direction: Literal["either", "higher"] = "either"
    """either: a program may also predict by a low score; its direction is then part of the proxy."""

    @model_validator(mode="after")
    def _target_speaks_of_objectives(self) -> EvolutionSettings:
        if self.target:
            try:
                parse_target(self.target, self.objectives)
            except ValueError as error:
                raise ValueError(f"target {one_line(self.target, 60)!r}: {error}") from None
        return self

    @model_validator(mode="after")
    def _islands_are_of_some_size(self) -> EvolutionSettings:
        if self.islands > 1 and (self.regime != "nsga2" or self.population_size < 4 * self.islands):
            raise ValueError(
                "islands are of regime nsga2 and have four programs each at least, got "
                f"islands = {self.islands}, regime = {self.regime!r}, population_size = {self.population_size}"
            )
        return self


class EvaluationSettings(Section):
    """Where and in which portions programs are evaluated; none of these changes a score."""

    tile_kib: Positive = 2048
    """Of the tensors that are worked on at once, so that they stay in the processor's cache."""
    memory_mib: Annotated[int, Field(strict=True, ge=16, le=2**24)] = 1024
    """Of each worker: statistics held in memory, results kept across generations, and what the work itself takes."""
    timeout_seconds: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """A worker that takes longer over one population is killed; with --workers 1 or more. 0 waits."""
    networks_per_shard: Positive = 8
    """Networks that are captured, stored and read together."""


class ReportSettings(Section):
    """What is measured on held-out networks."""

    front_size: Positive = 10
    """Most discovered proxies shown."""
    pick: Literal["simplest-within-se", "best", "cheapest-within-se"] = "simplest-within-se"
    """The result of the run: the smallest, or cheapest, formula within one standard error of the best one, or that."""
    baselines: Annotated[tuple[Name, ...], Field(max_length=1000), AfterValidator(_distinct)] = (
        "parameter_count", "mac_count", "naswot", "naswot_units", "synflow", "jacob_cov", "eznas_a_code",
        "eznas_a_paper",
    )  # fmt: skip
    """Published proxies beside which the discovered ones are measured (eznas estimators lists them)."""
    baseline_batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] = 32
    """Images for the published estimators, which were designed for larger batches than programs need."""
    bootstrap: Annotated[int, Field(strict=True, ge=100, le=1_000_000)] = 1000
    """Resamples of a confidence interval."""
    simplify_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Time limit of simplifying one program."""
    badge_networks: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 24
    """Networks of the report on which it is read what the pick does not mind, about 10 scores each; 0 for none."""


class RunConfig(Section):
    """Everything that determines a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")] = "run"
    """Of the run, on its page and in the name of its folder."""
    seed: Seed = 0
    """Of everything that is drawn."""
    checkpoints: Positive = 3
    """Checkpoints kept."""
    benchmark: BenchmarkSettings = BenchmarkSettings()
    """The one benchmark of a run; of several, each is one of the samples."""
    networks: Annotated[SpaceSettings, SerializeAsAny(), BeforeValidator(_settings_of_space)] = nb201.Settings()
    """How networks are built: the settings of the benchmark's search space."""
    probe: ProbeSettings = ProbeSettings()
    samples: Annotated[tuple[SampleSettings, ...], Field(max_length=64)] = ()
    """Several benchmarks in one fitness, each with settings and images of its own, in place of [benchmark]."""
    evolution: EvolutionSettings = EvolutionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="before")
    @classmethod
    def _settings_follow_the_benchmark(cls, data: Any) -> Any:
        """``[networks]`` are settings of the space of ``[benchmark]`` unless they say otherwise."""
        if not isinstance(data, Mapping):
            return data
        given = data.get("benchmark")
        name = given.get("name", "nb201") if isinstance(given, Mapping) else getattr(given, "name", "nb201")
        networks = data.get("networks")
        if networks is None or (isinstance(networks, Mapping) and "space" not in networks):
            return {**data, "networks": {**(networks or {}), "space": space_of_benchmark(str(name))}}
        return data

    @model_validator(mode="after")
    def _one_form_only(self) -> RunConfig:
        if self.samples and self.benchmark != BenchmarkSettings():
            raise ValueError("a run has one [benchmark] or several [[samples]], got both; leave one out")
        for sample in self.samples:
            space_of_benchmark(sample.name)  # raises for a name that is not known
        if self.samples and all(sample.left_out for sample in self.samples):
            raise ValueError("every one of the [[samples]] is left_out, and a run learns from at least one; change one")
        if any(sample.is_own and not sample.networks for sample in self.samples):
            raise ValueError("a sample of your own networks needs networks = 'python:package.module:function'")
        return self

    @property
    def all_samples(self) -> tuple[SampleSettings, ...]:
        """The samples of the run; of the short form the one, with its settings and probe."""
        if self.samples:
            return self.samples
        return (SampleSettings(**self.benchmark.model_dump(), settings=self.networks),)

    def settings_of(self, sample: SampleSettings) -> SpaceSettings:
        """How the networks of a sample are built."""
        if sample.settings is not None:
            return sample.settings
        space = space_of_benchmark(sample.name)
        return self.networks if self.networks.space == space else space_named(space).settings()

    def probe_of(self, sample: SampleSettings) -> ProbeSettings:
        """What excites the networks of a sample."""
        changed = {name: value for name, value in sample.probe.model_dump().items() if value is not None}
        return self.probe.model_copy(update=changed)


def space_of_benchmark(name: str) -> str:
    """Name of the search space of a benchmark's networks.

    Raises:
        BenchmarkError: if there is no such benchmark; names the nearest.
    """
    if name.partition(":")[0] == OWN:
        return OWN
    return source_named(name).space


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings in a TOML file (or the defaults), with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unreadable file, invalid TOML, unknown or ill-typed key.
    """
    return config_from(table_in(path, overrides), where=str(path) if path else "the settings")


def table_in(path: Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a TOML file says (nothing without one), with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unreadable file, invalid TOML, or an override of another form.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES} bytes")
            table = toml_of(content.decode("utf-8"))
        except OSError as error:
            raise ConfigError(f"Cannot read configuration {path}: {error.strerror or error}") from None
        except ValueError as error:
            raise ConfigError(f"Configuration {path} is not valid TOML: {one_line(error)}") from None
    for override in overrides:
        _override(table, override)
    return table


def config_with(table: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """The settings a nested mapping describes, with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unknown or ill-typed key.
    """
    changed = {key: dict(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    for override in overrides:
        _override(changed, override)
    return config_from(changed)


def config_from(table: Mapping[str, Any], *, where: str = "the settings") -> RunConfig:
    """The settings a nested mapping describes.

    Raises:
        ConfigError: unknown or ill-typed key, with the nearest known name.
    """
    try:
        return RunConfig.model_validate(table)
    except (ArchitectureError, BenchmarkError) as error:
        raise ConfigError(f"{str(error).rstrip('.')} (in {where})") from None
    except ValidationError as error:
        raise ConfigError(sentence(error, where, RunConfig)) from None


def problems_of(table: Mapping[str, Any], *, where: str = "the settings") -> tuple[RunConfig | None, tuple[str, ...]]:
    """Everything that is wrong with settings, a sentence each, and the settings without what is wrong.

    The settings are None where what is wrong is not in one key or section.
    """
    left = deepcopy(dict(table))
    problems: list[str] = []
    for names in (left.get("benchmark"), *(left["samples"] if isinstance(left.get("samples"), list) else ())):
        try:
            space_of_benchmark(str(names.get("name", "nb201")) if isinstance(names, dict) else "nb201")
        except (ArchitectureError, BenchmarkError) as error:
            problems.append(f"{str(error).rstrip('.')} (in {where})")
            for key in ("name", "datasets", "settings"):
                names.pop(key, None)
            left.pop("networks", None)
    while True:
        try:
            return RunConfig.model_validate(left), tuple(dict.fromkeys(problems))
        except (ArchitectureError, BenchmarkError) as error:
            return None, (*problems, f"{str(error).rstrip('.')} (in {where})")
        except ValidationError as error:
            problems += sentences(error, where, RunConfig)
            taken = [_without(left, one["loc"]) for one in error.errors()]
            if not all(taken):
                return None, tuple(dict.fromkeys(problems))


def _without(table: dict[str, Any], path: Sequence[int | str]) -> bool:
    """Take what a path leads to, or the last table on the way, out of nested settings; False if there is no key.

    A path may go on with the branch of a union, which is no key.
    """
    place: tuple[dict[str, Any], str] | None = None
    inner: Any = table
    for key in path:
        if isinstance(inner, dict):
            place = inner, str(key)
            inner = inner.get(str(key))
        elif isinstance(inner, list) and isinstance(key, int) and key < len(inner):
            inner = inner[key]
        else:
            break
    if place is None:
        return False
    place[0].pop(place[1], None)
    return True


def recorded_settings(config: RunConfig) -> dict[str, Any]:
    """What the manifest of a run says of its settings: all of them, and their digest."""
    settings = config.model_dump(mode="json", exclude_none=True)
    return {"settings": settings, "settings_digest": content_digest(settings)}


def changed_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Settings with overrides of the form ``section.key=value``.

    Raises:
        ConfigError: unknown or ill-typed key.
    """
    return config_with(config.model_dump(mode="json", exclude_none=True), overrides)


def to_toml(config: RunConfig) -> str:
    """The resolved settings as TOML that `load_config` reads back."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True, exclude_defaults=False))


def _override(table: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set takes section.key=value, got {override!r}; for example --set seed=5")
    try:
        value = toml_of(f"value = {text.strip()}")["value"]
    except ValueError:
        value = text.strip()  # a bare word is a string
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override!r}: {key!r} is a setting, not a section")
    table[keys[-1]] = value
