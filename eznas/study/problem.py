"""What a run's settings mean on this machine's data: samples of networks, with accuracies, under conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.benchmarks import (
    PARTS,
    Benchmark,
    Part,
    Partition,
    Sample,
    Split,
    folds,
    learning_split,
    load_accuracies,
    load_benchmark,
    partition,
    reporting_split,
    uniform,
)
from eznas.conditions import Batch, Conditions, as_inputs, as_targets
from eznas.errors import BenchmarkError, ConfigError, EznasError
from eznas.fitness import MIN_NETWORKS, Covariates, Labels
from eznas.names import one_line, shown, unknown
from eznas.randomness import stream
from eznas.runs.config import OWN, RunConfig, SampleSettings
from eznas.scoring import covariates_of, resolved_conditions
from eznas.spaces import Architecture, SearchSpace, networks_named
from eznas.spaces.own import space_of
from eznas.statistics import StoreKey, capture, counts
from primitives import PRIMITIVE_SETS, PrimitiveSet

SIZES: Final[Mapping[Part, int]] = {"evolve": 100, "select": 200, "report": 500}
"""Networks of each part of a large benchmark, unless a setting says otherwise."""
LARGE: Final = 2_000
"""Networks from which a benchmark is large; of a smaller one all are dealt."""
FEW: Final = 150
"""Networks of a user's own below which the report is cross-fitted."""
N_FOLDS: Final = 5
GIVEN: Final = "given"
"""What settings say of networks and accuracies that were handed over as objects."""
AGAIN: Final = "hand them over again, to eznas.resume or eznas.extend"
MIN_OWN: Final = 10
"""Fewest networks of a user's own that anything can be learnt from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Given:
    """Networks and accuracies that were handed over as objects.

    Attributes:
        networks: (name, module) pairs, a mapping, or makers of modules; None if the settings name them.
        accuracies: a mapping, rows or a data frame; None if the settings name a file.
        images: (batch, channels, height, width) tensor or array with (batch,) classes; None to draw them.
    """

    networks: Any = None
    accuracies: Any = None
    images: Any = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Family:
    """Networks of one benchmark under one set of conditions, in disjoint parts: a sample for each data set and part.

    Attributes:
        name: unique in a run.
        settings: what the user asked for.
        benchmark: with the accuracies.
        datasets: whose accuracies count.
        parts: networks to evolve on, to select on, to report on.
        splits: the accuracies that each part is looked at with.
        conditions: how the networks are built and excited.
        stored: networks whose statistics are kept; the columns of the score matrix.
    """

    name: str
    settings: SampleSettings
    benchmark: Benchmark
    datasets: tuple[str, ...]
    parts: Partition
    splits: Mapping[Part, Split]
    conditions: Conditions
    stored: tuple[Architecture, ...]
    _covariates: dict[tuple[Architecture, ...], Covariates] = field(default_factory=dict, repr=False)

    def networks(self, part: Part) -> tuple[Architecture, ...]:
        """Of a part."""
        found: tuple[Architecture, ...] = getattr(self.parts, part)
        return found

    def covariates(self, architectures: tuple[Architecture, ...]) -> Covariates:
        """What is known of networks without any score."""
        if architectures not in self._covariates:
            self._covariates[architectures] = covariates_of(architectures, self.conditions)
        return self._covariates[architectures]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What a run's settings mean on this machine's data.

    Attributes:
        config: the settings.
        families: one for each benchmark of the run.
        folds: of a cross-fitted report, for the only family; empty otherwise.
        notes: what was assumed or left out, a sentence each.
    """

    config: RunConfig
    families: tuple[Family, ...]
    folds: tuple[tuple[Architecture, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def learnt(self) -> tuple[Family, ...]:
        """The families that the run learns from."""
        return tuple(family for family in self.families if not family.settings.left_out)

    def families_of(self, part: Part) -> tuple[Family, ...]:
        """The families that have networks in a part: all are reported on."""
        return self.families if part == "report" else self.learnt

    def samples(self, part: Part) -> tuple[Sample, ...]:
        """All samples of a part, family by family."""
        return tuple(
            Sample(
                name=dataset if len(self.families) == 1 else f"{family.name}/{dataset}",
                benchmark=family.benchmark,
                dataset=dataset,
                part=part,
                split=family.splits[part],
                epochs=family.settings.epochs,
                architectures=family.networks(part),
                conditions=family.conditions,
                weight=family.settings.weight,
            )
            for family in self.families_of(part)
            for dataset in family.datasets
        )

    def labels(self, part: Part, *, of_store: bool = False) -> tuple[Labels, ...]:
        """The accuracies of all samples of a part, as labels of columns of a score matrix.

        Args:
            part: the networks of all families in this part, one family after the other, are the columns.
            of_store: the columns are the stored networks of all families instead.
        """
        found = []
        offset = 0
        samples = iter(self.samples(part))
        for family in self.families_of(part):
            networks = family.networks(part)
            held = family.stored if of_store else networks
            place = {arch: offset + position for position, arch in enumerate(held)}
            columns = np.array([place[arch] for arch in networks], dtype=np.int64)
            for _ in family.datasets:
                sample = next(samples)
                group = family.settings.group or family.conditions.space
                found.append(Labels(sample.name, sample.accuracies, columns, family.covariates(networks), group))
            offset += len(held)
        return tuple(found)

    def n_networks(self, part: Part) -> int:
        """Networks of a part, over all families; the data sets of a family share theirs."""
        return sum(len(family.networks(part)) for family in self.families_of(part))

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the samples in a mean."""
        return tuple(sample.weight for sample in self.samples("evolve"))

    def store_keys(self, device: str = "cpu") -> tuple[StoreKey, ...]:
        """What the statistics stores of the run hold that are captured on a device, one for each family that it learns
        from."""
        return tuple(
            StoreKey(
                conditions=family.conditions,
                architectures=family.stored,
                statistics=self.statistics,
                storage=self.config.probe_of(family.settings).storage,
                with_targets=any(s.needs_classes and s.estimator is None for s in self.primitive_set.statistics),
                metrics=self.metrics,
                device=device,
            )
            for family in self.learnt
        )

    def fold(self, number: int) -> Problem:
        """The problem of one search of a cross-fitted report: its fold is reported, all others are learnt from."""
        (family,) = self.families
        held_out = set(self.folds[number])
        others = tuple(arch for arch in family.benchmark.architectures if arch not in held_out)
        evolve, select = _evolve_and_select(family, others, self.config.seed, number)
        parts = Partition(evolve=evolve, select=select, report=self.folds[number])
        return replace(self, families=(replace(family, parts=parts),), folds=())

    @property
    def primitive_set(self) -> PrimitiveSet:
        """The words programs are made of."""
        return PRIMITIVE_SETS[self.config.evolution.primitive_set]

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics that programs may read and a capture must be asked for."""
        return tuple(s.name for s in self.primitive_set.statistics if s.is_on_request)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the statistics that programs may read and published estimators compute."""
        return tuple(s.name for s in self.primitive_set.statistics if s.estimator is not None)


def prepare(config: RunConfig, given: Given | None = None) -> Problem:
    """Read the data and draw the networks that the settings ask for.

    Raises:
        BenchmarkError: if the data lack what is asked.
        ConfigError: if settings contradict each other, or networks of the user's cannot be run.
    """
    samples = config.all_samples
    families: list[Family] = []
    notes: list[str] = []
    for sample in samples:
        name = sample.name
        n_before = sum(other.name.partition(" ")[0] == name for other in families)
        family, more = family_of(config, sample, f"{name} {n_before + 1}" if n_before else name, given)
        families.append(family)
        notes += more
    dealt: tuple[tuple[Architecture, ...], ...] = ()
    n_folds = _n_folds(families)
    if n_folds:
        families, dealt = _cross_fitted(families[0], n_folds, config.seed)
        notes.append(
            f"With {len(families[0].stored)} networks the report is cross-fitted: each network is reported by one of "
            f"{n_folds} searches that did not see it, and the delivered proxy is evolved on all of them."
        )
        if set(families[0].parts.evolve) & set(families[0].parts.select):
            notes.append("They are so few that programs are also chosen on the networks they evolved on.")
        if samples[0].n_evolve or samples[0].n_select or samples[0].n_report:
            notes.append(
                "A cross-fitted report uses all networks, so that n_evolve, n_select and n_report say nothing; "
                "benchmark.folds = 'none' divides the networks once, as they say."
            )
    for family in families:
        for part in ("report",) if family.settings.left_out else PARTS:
            n = len(family.networks(part))
            if n < MIN_NETWORKS:
                raise ConfigError(
                    f"{family.name} has {n} network(s) to {part} on, and at least {MIN_NETWORKS} are needed; ask for "
                    f"more with n_{part}, give more networks, or let folds be 'auto'"
                )
    return Problem(config=config, families=tuple(families), folds=dealt, notes=tuple(notes))


def family_of(
    config: RunConfig, sample: SampleSettings, name: str, given: Given | None
) -> tuple[Family, tuple[str, ...]]:
    """The networks of one sample in their parts, and what was assumed.

    Args:
        config: the settings of the run.
        sample: those of the sample.
        name: of the family in the run.
        given: what was handed over as objects.

    Raises:
        EznasError: as `prepare`.
    """
    notes: list[str] = []
    space: SearchSpace[Any] | None = None
    if sample.is_own:
        architectures, space = own_networks(sample, given)
        benchmark = _own_benchmark(sample, given, architectures)
        notes += benchmark.notes
    else:
        benchmark = load_benchmark(sample.name)
    datasets = _datasets(benchmark, sample)
    learn = learning_split(benchmark, datasets, sample.epochs)
    report = reporting_split(benchmark, datasets, sample.epochs)
    images = _images(given) if sample.is_own else None
    conditions, more = resolved_conditions(
        config, sample, benchmark.architectures[:5], datasets=datasets, family=space, given=images
    )
    notes += more
    if sample.is_own:
        benchmark, left_out = _readable(benchmark, conditions, PRIMITIVE_SETS[config.evolution.primitive_set])
        notes += left_out
    if space is not None:  # nothing but the space itself knows networks that were handed over
        benchmark = replace(benchmark, functions=tuple(map(space.function, benchmark.architectures)))
    parts = (
        _all_reported(benchmark, sample, config.seed)
        if sample.left_out
        else partition(
            benchmark,
            _sizes(benchmark, sample),
            seed=config.seed,
            strategy=sample.strategy,
            dataset=datasets[0],
            split=learn,
            epochs=sample.epochs,
        )
    )
    splits: dict[Part, Split] = {"evolve": learn, "select": learn, "report": report}
    return Family(
        name=name,
        settings=sample,
        benchmark=benchmark,
        datasets=datasets,
        parts=parts,
        splits=splits,
        conditions=conditions,
        stored=parts.evolve,
    ), tuple(notes)


def _all_reported(benchmark: Benchmark, sample: SampleSettings, seed: int) -> Partition:
    """The networks of a sample that is only reported on; of a large benchmark as many as are reported on elsewhere.

    Raises:
        BenchmarkError: if more are asked for than there are.
    """
    networks = benchmark.architectures
    n = sample.n_report or (SIZES["report"] if len(networks) >= LARGE else len(networks))
    return Partition(evolve=(), select=(), report=uniform(networks, n, stream(seed, "left out", benchmark.name)))


def own_networks(
    sample: SampleSettings, given: Given | None
) -> tuple[tuple[Architecture, ...], SearchSpace[Any] | None]:
    """The user's networks, and their space if they were handed over as objects.

    Raises:
        ConfigError: if none are named, or those of a known space are.
        ArchitectureError: if they cannot be had.
    """
    if given is not None and given.networks is not None:
        space = space_of(given.networks)
        return space.named("all"), space
    if not sample.networks:
        raise ConfigError(
            "Networks of your own are named by benchmark.networks (eznas evolve --networks python:module:function "
            "--accuracies FILE.csv), and nothing is named"
        )
    if sample.networks == GIVEN:
        raise ConfigError(f"The networks of this run were handed over as objects; {AGAIN}")
    architectures = networks_named(sample.networks)
    others = [arch.space for arch in architectures if arch.space != OWN]
    if others:
        raise ConfigError(
            f"benchmark.networks names networks of your own, {OWN}:package.module:function, but "
            f"{shown(sample.networks)} are of {others[0]}; set benchmark.name to a benchmark of that space, and leave "
            "networks and accuracies out"
        )
    return architectures, None


def _own_benchmark(sample: SampleSettings, given: Given | None, architectures: Sequence[Architecture]) -> Benchmark:
    source: Any = given.accuracies if given is not None and given.accuracies is not None else sample.accuracies
    if source is None:
        raise ConfigError(
            "Accuracies of your own networks are named by benchmark.accuracies (--accuracies FILE.csv), a file with "
            "a column of names and one of accuracies for each data set, and nothing is named"
        )
    if isinstance(source, str) and source == GIVEN:
        raise ConfigError(f"The accuracies of this run were handed over as objects; {AGAIN}")
    return load_accuracies(Path(source) if isinstance(source, str) else source, architectures)


def _images(given: Given | None) -> Batch | None:
    """Images and classes that were handed over, as tensors."""
    if given is None or given.images is None:
        return None
    try:
        images, classes = given.images
    except (TypeError, ValueError):
        raise ConfigError(
            f"Images are handed over as a pair of images and classes, got {type(given.images).__name__}; give "
            "images=(images, classes)"
        ) from None
    inputs, targets = as_inputs(images), as_targets(classes)
    if inputs.dim() != 4 or targets is None or targets.shape != inputs.shape[:1]:
        raise ConfigError(
            "Images that are handed over have shape (batch, channels, height, width), and their classes (batch,), got "
            f"{tuple(inputs.shape)} and {None if targets is None else tuple(targets.shape)}; give one class each"
        )
    return inputs.float(), targets.long()


def _datasets(benchmark: Benchmark, sample: SampleSettings) -> tuple[str, ...]:
    """The data sets asked for: cifar10 of a known benchmark that has it, all of any other, unless they are named."""
    for name in sample.datasets:
        if name not in benchmark.datasets:
            raise BenchmarkError(
                f"{unknown(f'data set of {benchmark.name}', name, benchmark.datasets)} ({benchmark.provenance}); set "
                "EZNAS_DATA to a folder that has it, or choose another (eznas data status)"
            )
    if sample.datasets:
        return sample.datasets
    return ("cifar10",) if not sample.is_own and "cifar10" in benchmark.datasets else benchmark.datasets


def _sizes(benchmark: Benchmark, sample: SampleSettings) -> tuple[int | None, int | None, int | None]:
    asked = (sample.n_evolve, sample.n_select, sample.n_report)
    if len(benchmark.architectures) < LARGE:
        return asked
    evolve, select, report = (size or default for size, default in zip(asked, SIZES.values(), strict=True))
    return evolve, select, report


def _readable(
    benchmark: Benchmark, conditions: Conditions, language: PrimitiveSet
) -> tuple[Benchmark, tuple[str, ...]]:
    """The networks of a user's own that show what the language reads, and a sentence on those that do not.

    Two images are enough to see it, and one of the probes that differ in their images alone.
    """
    asked = tuple(s.name for s in language.statistics if s.is_on_request)
    asked = tuple(name for name in asked if not name.endswith((".noise", ".perturbed")))
    inputs, targets = conditions.batch(conditions.batch_size)
    labels = targets[:2] if any(s.needs_classes and s.estimator is None for s in language.statistics) else None
    problems: dict[Architecture, str] = {}
    for arch in benchmark.architectures:
        try:
            network = conditions.network(arch)
            if asked:
                capture(network, inputs[:2], seed=0, statistics=asked, targets=labels, units=conditions.units)
            else:
                counts(network, inputs)
        except EznasError as error:
            problems[arch] = one_line(error)
    if not problems:
        return benchmark, ()
    kept = [arch for arch in benchmark.architectures if arch not in problems]
    first, why = next(iter(problems.items()))
    said = (
        f"{len(problems)} network(s) cannot be read with images of {conditions.channels} x {conditions.input_size} x "
        f"{conditions.input_size} and are left out, the first {first.spec}: {why}"
    )
    if len(kept) < MIN_OWN:
        raise ConfigError(f"{said}; {len(kept)} remain, and at least {MIN_OWN} are needed: set probe.input_size")
    return benchmark.of(kept), (f"{said}.",)


# --- cross-fitting ------------------------------------------------------------------------------------------------


def _n_folds(families: Sequence[Family]) -> int:
    """Folds of a cross-fitted report; 0 for none.

    Raises:
        ConfigError: if folds are asked for of several benchmarks.
    """
    asked = [family.settings.folds for family in families]
    if len(families) > 1:
        if any(isinstance(n_folds, int) for n_folds in asked):
            raise ConfigError(
                f"A report is cross-fitted for one benchmark alone, and {len(families)} samples are given; leave folds "
                "out, or evolve on one"
            )
        return 0
    (family,), (n_folds,) = families, asked
    if n_folds == "auto":
        return N_FOLDS if family.settings.is_own and len(family.benchmark.architectures) < FEW else 0
    return 0 if n_folds == "none" else n_folds


def _cross_fitted(family: Family, n_folds: int, seed: int) -> tuple[list[Family], tuple[tuple[Architecture, ...], ...]]:
    everything = family.benchmark.architectures
    dealt = folds(
        family.benchmark,
        n_folds,
        seed,
        dataset=family.datasets[0],
        split=family.splits["evolve"],
        epochs=family.settings.epochs,
    )
    evolve, select = _evolve_and_select(family, everything, seed, n_folds)
    parts = Partition(evolve=evolve, select=select, report=everything)
    return [replace(family, parts=parts, stored=everything)], dealt


def _evolve_and_select(
    family: Family, networks: tuple[Architecture, ...], seed: int, number: int
) -> tuple[tuple[Architecture, ...], tuple[Architecture, ...]]:
    """Two thirds of some networks to evolve on, a third to select on, alike in accuracy; few are used for both."""
    if len(networks) < 3 * MIN_NETWORKS + 3:
        return networks, networks
    first, *_ = folds(
        family.benchmark.of(networks),
        3,
        seed + 1 + number,
        dataset=family.datasets[0],
        split=family.splits["evolve"],
        epochs=family.settings.epochs,
    )
    chosen = set(first)
    return tuple(arch for arch in networks if arch not in chosen), first
