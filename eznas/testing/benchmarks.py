"""The contract of a benchmark."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Final

import numpy as np

from eznas.benchmarks import Benchmark, Split, folds, learning_split, partition, reporting_split
from eznas.errors import BenchmarkError
from eznas.randomness import stream
from eznas.spaces import SPACES, Architecture

N_LOOKED_AT: Final = 100
"""Architectures, drawn at random, that are looked at one by one."""


def check_benchmark(benchmark: Benchmark) -> None:
    """Checks that a benchmark keeps its promises, for a test of your own as for the known ones.

    Its architectures are distinct, of one space and in that space's text form; its tables are percent, read-only and
    agree with what look-ups give; splits and epochs are stated; it says in one sentence where it comes from; it can be
    learnt from, reported on, and divided without an architecture in two parts.

    Raises:
        AssertionError: with one sentence on the first promise that is broken.
        EznasError: if it cannot be divided, or an architecture is not in its space.
    """
    _check_texts(benchmark)
    _check_architectures(benchmark)
    _check_tables(benchmark)
    _check_look_ups(benchmark)
    _check_parts(benchmark)


def _check(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


def _check_texts(benchmark: Benchmark) -> None:
    name = benchmark.name
    _check(bool(name) and name.isprintable(), f"a benchmark has a printable name, not {name!r}")
    for text in (benchmark.provenance, *benchmark.notes):
        is_one = text.isprintable() and text.endswith(".") and not re.search(r"[.!?] +[A-Z]", text)
        _check(is_one, f"the provenance and each note of {name} are one sentence, but one is {text!r}")


def _check_architectures(benchmark: Benchmark) -> None:
    architectures = benchmark.architectures
    _check(len(set(architectures)) == len(architectures) > 0, f"the architectures of {benchmark.name} are distinct")
    spaces = {arch.space for arch in architectures}
    _check(spaces == {benchmark.space}, f"all architectures of {benchmark.name} are of its space, but some of {spaces}")
    space = SPACES.get(benchmark.space)
    if space is None:
        return
    functions = dict(zip(architectures, benchmark.functions or (), strict=False))  # empty where none are recorded
    for arch in _some(benchmark):
        _check(space.named(arch.spec) == (arch,), f"{arch.spec!r} of {benchmark.name} is written as its space does")
        function = functions.get(arch)
        is_right = function is None or function == space.function(arch)
        _check(is_right, f"functions of {benchmark.name} are those of its space, but {arch.spec!r} has {function!r}")


def _check_tables(benchmark: Benchmark) -> None:
    name, shape = benchmark.name, (len(benchmark.architectures),)
    _check(len(benchmark.tables) > 0, f"{name} records accuracies")
    for column, table in benchmark.tables.items():
        dataset, split, epochs = column
        where = f"the table {column} of {name}"
        is_named = isinstance(dataset, str) and bool(dataset) and isinstance(split, Split)
        _check(is_named and (epochs is None or epochs >= 1), f"{where} states data set, split and epochs (or None)")
        _check(table.shape == shape and table.dtype == np.float64, f"{where} is one float64 per architecture")
        _check(bool(np.all((table >= 0.0) & (table <= 100.0))), f"{where} holds percent in 0..100")
        _check(bool(table.max() > 1.0), f"{where} holds percent, but all of it lies in 0..1, as fractions would")
        _check(bool(np.ptp(table) > 0.0), f"{where} holds accuracies that differ")
        _check(not table.flags.writeable, f"{where} is read-only")
    for (dataset, epochs), seconds in benchmark.seconds.items():
        where = f"the times of {dataset} ({epochs}) in {name}"
        _check(seconds.shape == shape and bool(np.all(seconds > 0.0)), f"{where} are one positive number each")
        _check(not seconds.flags.writeable, f"{where} are read-only")
    known = set(benchmark.datasets)
    _check(set(benchmark.label_noise) <= known, f"the label noise of {name} is of its data sets")
    unstated = {dataset for dataset, split, _ in benchmark.tables if split is Split.TEST}
    _check(benchmark.predicted <= known, f"the predicted accuracies of {name} are of its data sets")
    _check(benchmark.unstated_splits <= unstated, f"labels of {name} whose split is not stated are filed under test")


def _check_look_ups(benchmark: Benchmark) -> None:
    some = _some(benchmark)
    position = {arch: number for number, arch in enumerate(benchmark.architectures)}
    for (dataset, split, epochs), table in benchmark.tables.items():
        found = benchmark.accuracies(some, dataset, split, epochs)
        is_equal = np.array_equal(found, table[[position[arch] for arch in some]])
        _check(is_equal and benchmark.has(dataset, split, epochs), f"look-ups in {benchmark.name} give what it records")
        found[:] = -1.0
        is_kept = np.array_equal(benchmark.accuracies(some, dataset, split, epochs), table[[position[a] for a in some]])
        _check(is_kept, f"what a look-up in {benchmark.name} gives can be changed without changing the benchmark")
        stranger = Architecture(benchmark.space, "no such architecture")
        try:
            benchmark.accuracies([stranger], dataset, split, epochs)
        except BenchmarkError:
            continue
        raise AssertionError(f"{benchmark.name} refuses an architecture that it does not list")


def _check_parts(benchmark: Benchmark) -> None:
    for dataset in benchmark.datasets:
        lengths = {epochs for name, _, epochs in benchmark.tables if name == dataset}
        for epochs in lengths:
            for choose in (learning_split, reporting_split):
                split = choose(benchmark, (dataset,), epochs)
                _check(benchmark.has(dataset, split, epochs), f"{dataset} of {benchmark.name} can be learnt from")
    parts = partition(benchmark, seed=0)
    for one, other in combinations((parts.evolve, parts.select, parts.report), 2):
        _check(bool(one) and not set(one) & set(other), f"the parts of {benchmark.name} are disjoint and not empty")
    divided = folds(benchmark, 2, seed=0)
    dealt = [arch for fold in divided for arch in fold]
    is_whole = len(dealt) == len(set(dealt)) and set(dealt) == set(benchmark.architectures)
    _check(is_whole, f"the folds of {benchmark.name} cover it without overlap")


def _some(benchmark: Benchmark) -> list[Architecture]:
    """A few architectures in random order."""
    n = len(benchmark.architectures)
    chosen = stream(0, "contract", benchmark.name).permutation(n)[:N_LOOKED_AT]
    return [benchmark.architectures[position] for position in chosen]
