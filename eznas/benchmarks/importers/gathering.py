"""What importers gather: trainings of networks, each with data set, split, epochs and seed, and the table made of them.

A training is three numbers, so that the millions of NAS-Bench-101 take a few hundred megabytes.
"""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy

from eznas.benchmarks.imported import LabelColumn, TimeColumn
from eznas.benchmarks.importers.streams import refuse
from eznas.names import shown

Split_ = Literal["validation", "test", "unstated"]
Label = Literal["mean", "maximum"]
MAX_NETWORKS: Final = 500_000
MAX_COLUMNS: Final = 200
MAX_ARCH: Final = 20_000
"""Characters of the text of a network."""
N_RETESTED: Final = 20_000
"""Networks, evenly spread, of which the agreement of two trainings is computed."""
_DATASET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_MIN_RETESTED: Final = 10
_Column = tuple[str, Split_, int | None]


@dataclass
class _Values:
    """Numbers of one column: of which network, of which seed, and the number."""

    networks: array[int] = field(default_factory=lambda: array("i"))
    seeds: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


class Gathering:
    """Trainings as they are read."""

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        self._facts: dict[str, dict[int, str]] = {"function": {}, "params": {}}
        self._labels: dict[_Column, _Values] = {}
        self._times: dict[tuple[str, int | None], _Values] = {}
        self.scores: dict[str, dict[int, str]] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def network(
        self, text: str, where: str, *, function: str | None = None, params: int | None = None, is_new: bool = False
    ) -> int:
        """The number of a network.

        Args:
            text: of the network.
            where: it was read, for a sentence.
            function: equal for equal networks.
            params: its parameters, as the source counts them.
            is_new: refuse a network that was there before.

        Raises:
            BenchmarkError: if there are too many, or the source contradicts itself.
        """
        number = self._positions.get(text)
        if number is not None and is_new:
            raise refuse(where, "every network once", f"{shown(text)} was there before", "give each file once")
        if number is None:
            if len(self._positions) >= MAX_NETWORKS or len(text) > MAX_ARCH:
                got = f"there are more, or one has {len(text):,} characters"
                raise refuse(where, f"at most {MAX_NETWORKS:,} networks of {MAX_ARCH:,} characters", got)
            number = self._positions[text] = len(self._positions)
        for name, value in (("function", function), ("params", params)):
            if value is not None and self._facts[name].setdefault(number, str(value)) != str(value):
                got = f"it has {shown(str(value))} here and {shown(self._facts[name][number])} before"
                raise refuse(where, f"one {name} of a network", got)
        return number

    def add(
        self, network: int, column: tuple[str, Split_, int | None], percent: object, where: str, *, seed: int = 0
    ) -> None:
        """One accuracy in percent of a training.

        Raises:
            BenchmarkError: if it is none.
        """
        value = number_of(percent)
        if value is None or not 0.0 <= value <= 100.0:
            raise refuse(where, f"a {column[0]} {column[1]} accuracy in percent, 0..100", f"it holds {shown(percent)}")
        if column not in self._labels and (len(self._labels) >= MAX_COLUMNS or not _DATASET.fullmatch(column[0])):
            expected = f"accuracies on at most {MAX_COLUMNS} data sets and lengths of training, each with a plain name"
            raise refuse(where, expected, f"there are more, or one is called {shown(column[0])}")
        _append(self._labels.setdefault(column, _Values()), network, value, seed)

    def add_seconds(self, network: int, dataset: str, epochs: int | None, seconds: object, *, seed: int = 0) -> None:
        """The time of a training; what is no positive number is not known."""
        value = number_of(seconds)
        if value is not None and value > 0.0:
            _append(self._times.setdefault((dataset, epochs), _Values()), network, value, seed)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The lengths of training that were recorded, in order."""
        return tuple(sorted({epochs for _, _, epochs in self._labels if epochs is not None}))

    def table(self, label: Label | Literal["predicted"], *, where: str, max_trainings: int, has_seeds: bool) -> Table:
        """The table of what was gathered.

        A column that fewer than half of the networks have is left out, then networks that lack one of the others. The
        longest training is what a benchmark means by full, so it is never left out.

        Args:
            label: of several trainings; or that there was none.
            where: the files, for a sentence.
            max_trainings: of one network under one recipe; more, or a seed twice, is a file that was given twice.
            has_seeds: whether seeds are the source's.

        Raises:
            BenchmarkError: if nothing is left, or few networks have the longest training.
        """
        n = len(self._positions)
        if n == 0 or not self._labels:
            got = f"it holds {n} networks with {len(self._labels)} kinds of accuracies"
            raise refuse(where, "trained networks", got)
        notes: list[str] = []
        found = {column: _Trainings(values, n) for column, values in self._labels.items()}
        for column, trainings in found.items():
            if trainings.repeated is not None or trainings.counts.max() > max_trainings:
                text = shown(list(self._positions)[trainings.repeated or int(trainings.counts.argmax())])
                raise refuse(
                    where,
                    f"at most {max_trainings} trainings of a network, each of another seed",
                    f"{text} has {int(trainings.counts.max())} of {column[0]} ({column[1]}, {column[2]} epochs), or "
                    "one twice",
                    "give each file once",
                )
        kept = {c: t for c, t in found.items() if 2 * np.count_nonzero(t.counts) >= n}
        for column in (column for column in found if column not in kept):
            n_here = np.count_nonzero(found[column].counts)
            if column[2] is not None and column[2] == max(self.epochs):
                got = f"{n_here} of {n} have one on {column[0]} ({column[1]})"
                expected = f"a training of {column[2]} epochs, the longest, of at least half of the networks"
                raise refuse(where, expected, got, "give the files of those that have it alone")
            notes.append(f"{_said(column)} is recorded for {n_here} of {n} networks only, and is left out.")
        is_whole = np.all([t.counts > 0 for t in kept.values()], axis=0)
        if not is_whole.all():
            lacking = next(text for text, whole in zip(self._positions, is_whole, strict=True) if not whole)
            notes.append(
                f"{np.count_nonzero(~is_whole)} of {n} networks lack an accuracy and are left out, {shown(lacking)} "
                "first."
            )
        rows = np.flatnonzero(is_whole)
        if rows.size == 0:
            raise refuse(where, "networks that have all accuracies", "none has")
        return self._made(kept, rows, label, has_seeds, sorted(notes))

    def _made(
        self,
        kept: dict[_Column, _Trainings],
        rows: npt.NDArray[np.intp],
        label: Label | Literal["predicted"],
        has_seeds: bool,
        notes: list[str],
    ) -> Table:
        texts = list(self._positions)
        names, fields = ["arch"], [[texts[row] for row in rows]]
        for name, facts in self._facts.items():
            if all(int(row) in facts for row in rows):
                names.append(name)
                fields.append([facts[int(row)] for row in rows])
        columns, times = [], []
        for column, trainings in sorted(kept.items(), key=_place):
            counts = trainings.counts[rows]
            several = bool(counts.max() > 1)
            noise, retest = trainings.noise(rows) if several else (None, None)
            columns.append(
                LabelColumn(
                    dataset=column[0], split=column[1], epochs=column[2],
                    label=label if several or label == "predicted" else "recorded",
                    trainings=(int(counts.min()), int(counts.max())), seeds=trainings.seeds if has_seeds else (),
                    noise=noise, retest=retest,
                )
            )  # fmt: skip
            names.append(columns[-1].name)
            fields.append(_numbers((trainings.means if label != "maximum" else trainings.maxima)[rows]))
            if several:
                names += [f"{columns[-1].name}_n", f"{columns[-1].name}_std"]
                fields += [[str(count) for count in counts], _numbers(trainings.deviations[rows])]
        for (dataset, epochs), values in sorted(self._times.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
            spent = _Trainings(values, len(self._positions))
            if np.all(spent.counts[rows] > 0):
                times.append(TimeColumn(dataset=dataset, epochs=epochs))
                names.append(times[-1].name)
                fields.append(_numbers(spent.means[rows]))
        for name, scores in sorted(self.scores.items()):
            names.append(name)
            fields.append([scores.get(int(row), "") for row in rows])
        return Table(
            columns=tuple(columns), times=tuple(times), scores=tuple(sorted(self.scores)), names=tuple(names),
            rows=tuple(zip(*fields, strict=True)), notes=tuple(notes),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is written: columns, and the fields of each row."""

    columns: tuple[LabelColumn, ...]
    times: tuple[TimeColumn, ...]
    scores: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


class _Trainings:
    """The trainings of one column, by network.

    Attributes:
        counts: (n,) trainings of each network.
        means, maxima, deviations: (n,) over them; NaN where there are none, deviations where there is one.
        seeds: that occur.
        repeated: a network of which one seed is there twice.
    """

    def __init__(self, values: _Values, n: int) -> None:
        networks = np.array(values.networks, dtype=np.intp)
        seeds = np.array(values.seeds, dtype=np.int64)
        order = np.lexsort((seeds, networks))
        self._networks, self._seeds = networks[order], seeds[order]
        self._values = np.array(values.values, dtype=np.float64)[order]
        self.counts = np.bincount(networks, minlength=n)
        self.seeds = tuple(np.unique(seeds).tolist())[:100]
        is_again = (np.diff(self._networks) == 0) & (np.diff(self._seeds) == 0)
        self.repeated = int(self._networks[1:][is_again][0]) if is_again.any() else None
        with np.errstate(invalid="ignore", divide="ignore"):
            self.means = np.bincount(networks, weights=np.array(values.values), minlength=n) / self.counts
            squares = np.bincount(self._networks, weights=(self._values - self.means[self._networks]) ** 2, minlength=n)
            self.deviations = np.where(self.counts > 1, np.sqrt(squares / (self.counts - 1)), np.nan)
        self.maxima = np.full(n, np.nan)
        np.fmax.at(self.maxima, self._networks, self._values)

    def noise(self, rows: npt.NDArray[np.intp]) -> tuple[float | None, float | None]:
        """Standard deviation between trainings of one network, pooled; Kendall's tau between first and second."""
        spreads = self.deviations[rows]
        spreads = spreads[np.isfinite(spreads)]
        pooled = float(np.sqrt(np.mean(spreads**2))) if spreads.size else 0.0
        first = np.searchsorted(self._networks, rows)
        first = first[self.counts[rows] > 1]
        if first.size > N_RETESTED:
            first = first[np.linspace(0, first.size - 1, N_RETESTED).astype(int)]
        tau = math.nan
        if first.size >= _MIN_RETESTED:
            tau = float(scipy.stats.kendalltau(self._values[first], self._values[first + 1]).statistic)
        return round(pooled, 6) or None, None if math.isnan(tau) else round(tau, 6)


def _place(item: tuple[_Column, _Trainings]) -> tuple[str, int, bool]:
    """Of a column in a table: by data set, the longest training first, validation before test."""
    (dataset, split, epochs), _ = item
    return dataset, -(epochs or 0), split != "validation"


def _append(values: _Values, network: int, value: float, seed: int) -> None:
    values.networks.append(network)
    values.seeds.append(seed)
    values.values.append(value)


def number_of(value: object) -> float | None:
    """A finite number; None for anything else, truth values and texts too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _numbers(values: npt.NDArray[np.float64]) -> list[str]:
    """As texts, to a millionth; empty where there is none."""
    return ["" if math.isnan(value) else repr(round(value, 6)) for value in values.tolist()]


def _said(column: _Column) -> str:
    dataset, split, epochs = column
    return f"The {dataset} {split} accuracy ({'epochs not stated' if epochs is None else f'{epochs} epochs'})"
