"""Accuracies of networks of one's own: which column is what, what is assumed and said, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split, load_accuracies
from eznas.benchmarks.own import MIN_NETWORKS
from eznas.errors import BenchmarkError
from eznas.spaces import Architecture, nb201

N = 12
NETWORKS = tuple(Architecture("python", f"mine:zoo#n{number}") for number in range(N))
VALIDATION, TEST = Split.VALIDATION, Split.TEST


def _csv(header: str, row: Callable[[int], str] = lambda i: str(50 + i), separator: str = ",") -> str:
    """A table of all networks."""
    return "\n".join([header, *(f"n{i}{separator}{row(i)}" for i in range(N))]) + "\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Benchmark]:
    monkeypatch.chdir(tmp_path)

    def read(content: str | bytes, **options: Any) -> Benchmark:
        Path("zoo.csv").write_bytes(content.encode() if isinstance(content, str) else content)
        return load_accuracies("zoo.csv", NETWORKS, **options)

    return read


# Which column is what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "expected", "is_stated"),
    [
        ("cifar10_valid", ("cifar10", VALIDATION, None), True),
        ("cifar10_val", ("cifar10", VALIDATION, None), True),
        ("CIFAR-10 validation", ("cifar10", VALIDATION, None), True),
        ("cifar10_test", ("cifar10", TEST, None), True),
        ("cifar10", ("cifar10", TEST, None), False),
        ("accuracy", ("own", TEST, None), False),
        ("acc", ("own", TEST, None), False),
        ("val_acc", ("own", VALIDATION, None), True),
        ("test_accuracy", ("own", TEST, None), True),
        ("top1", ("own", TEST, None), False),
        ("acc@1", ("own", TEST, None), False),
        ("my_birds_acc", ("my_birds", TEST, None), False),
        ("my birds", ("my_birds", TEST, None), False),
        ("cifar100_test_12ep", ("cifar100", TEST, 12), True),
        ("val_acc_108_epochs", ("own", VALIDATION, 108), True),
        ("imagenet16-120_valid", ("imagenet16", VALIDATION, None), True),
    ],
)
def test_columns(
    load: Callable[..., Benchmark], column: str, expected: tuple[str, Split, int | None], is_stated: bool
) -> None:
    benchmark = load(_csv(f"network,{column}"))
    assert list(benchmark.tables) == [expected]
    assert benchmark.tables[expected].tolist() == [50.0 + i for i in range(N)]
    assert benchmark.unstated_splits == (frozenset() if is_stated else {expected[0]})
    assert any("does not say which images" in note for note in benchmark.notes) == (not is_stated)
    assert ("split not stated" in benchmark.provenance) == (not is_stated)
    assert benchmark.full_training == expected[2]
    assert (benchmark.name, benchmark.space) == ("own", "python")


def test_several_columns(load: Callable[..., Benchmark]) -> None:
    table = _csv("name,params,cifar10_valid,cifar10_test,remark", lambda i: f"{1_000 * i},{50 + i},{40 + i},good")
    benchmark = load(table)
    assert benchmark.datasets == ("cifar10",)
    assert benchmark.accuracies([NETWORKS[3]], "cifar10", VALIDATION)[0] == 53.0
    assert benchmark.accuracies([NETWORKS[3]], "cifar10", TEST)[0] == 43.0
    assert benchmark.notes == (
        "What does not look like accuracies in zoo.csv is left out ('params', 'remark'); to read such a column, name "
        "it in 'columns'.",
    )


@pytest.mark.parametrize("word", ["params", "flops_m", "test_loss", "train_acc", "val_acc_std", "seconds", "width"])
def test_what_is_no_accuracy_is_left_out(load: Callable[..., Benchmark], word: str) -> None:
    benchmark = load(_csv(f"network,{word},birds", lambda i: f"{i},{50 + i}"))
    assert benchmark.datasets == ("birds",)
    with pytest.raises(BenchmarkError, match=f"No column of zoo.csv is clearly one of .* it has '{word}'"):
        load(_csv(f"network,{word}"))


def test_a_plain_column_yields_to_surer_ones(load: Callable[..., Benchmark]) -> None:
    benchmark = load(_csv("network,groups,val_acc", lambda i: f"{i},{50 + i}"))
    assert list(benchmark.tables) == [("own", VALIDATION, None)]
    assert "('groups')" in benchmark.notes[0]


def test_columns_by_name(load: Callable[..., Benchmark]) -> None:
    table = _csv("network,y,width,val_acc", lambda i: f"{30 + i},{i},{50 + i}")
    assert list(load(table, columns=["val_acc"]).tables) == [("own", VALIDATION, None)]
    renamed = load(table, columns={"y": "cifar100_test", "width": "birds_valid"})
    assert list(renamed.tables) == [("cifar100", TEST, None), ("birds", VALIDATION, None)]
    assert renamed.accuracies([NETWORKS[1]], "cifar100", TEST)[0] == 31.0
    with pytest.raises(BenchmarkError, match=r"'columns' names 'val_ac', but .* \(nearest is 'val_acc'\); it has "):
        load(table, columns=["val_ac"])
    with pytest.raises(BenchmarkError, match="'columns' names no column"):
        load(table, columns=[])


@pytest.mark.parametrize("header", ["network", "NAME", "model", "arch", "Architecture", "", "anything"])
def test_the_column_of_names(load: Callable[..., Benchmark], header: str) -> None:
    benchmark = load(_csv(f"{header},val_acc"))
    assert benchmark.architectures == NETWORKS
    assert bool(benchmark.notes) == (header in ("", "anything"))


def test_names_in_another_column(load: Callable[..., Benchmark]) -> None:
    lines = "\n".join(["index,val_acc,id", *(f"{i},{50 + i},n{i}" for i in range(N))])
    assert load(lines).architectures == NETWORKS


def test_names_are_texts_of_architectures_too() -> None:
    cells = nb201.all_architectures()[:N]
    assert load_accuracies({cell.spec: 50 + i for i, cell in enumerate(cells)}, cells).architectures == cells
    named = {cell.spec: 50 + i for i, cell in enumerate(cells)}
    assert load_accuracies({f"nb201:{spec}": v for spec, v in named.items()}, cells).architectures == cells
    assert load_accuracies({f"cell {i}": 50 + i for i in range(N)}, {f"cell {i}": c for i, c in enumerate(cells)}).space


def test_short_names_of_two_functions_are_not_confused() -> None:
    both = [Architecture("python", f"{module}:zoo#n{number}") for module in ("one", "two") for number in range(6)]
    named = {arch.spec: 50.0 + number for number, arch in enumerate(both)}
    assert load_accuracies(named, both).tables["own", TEST, None].tolist() == list(named.values())
    with pytest.raises(BenchmarkError, match=r"No network is named in the given table: it names 'n0', .* 'one:zoo#n0'"):
        load_accuracies({f"n{number}": 50.0 + number for number in range(6)}, both)


def test_the_order_is_that_of_the_networks(load: Callable[..., Benchmark]) -> None:
    lines = _csv("network,val_acc").splitlines()
    benchmark = load("\n".join([lines[0], *reversed(lines[1:])]))
    assert benchmark.architectures == NETWORKS
    assert benchmark.tables["own", VALIDATION, None].tolist() == [50.0 + i for i in range(N)]


# Forms ----------------------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_no_part_of_a_name(load: Callable[..., Benchmark]) -> None:
    lines = "\n".join(["\ufeffval_acc,network", *(f"{50 + i},n{i}" for i in range(N))])
    assert load(lines, columns=["val_acc"]).architectures == NETWORKS


def test_lines_are_counted_as_an_editor_does(load: Callable[..., Benchmark]) -> None:
    rows = [f'n{i},"two\nlines",{50 + i if i != 5 else "bad"}' for i in range(N)]
    with pytest.raises(BenchmarkError, match=r"^Line 13 of zoo.csv has in column 'val_acc' 'bad'"):
        load("\n".join(["network,remark,val_acc", "", *rows]))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n \n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(load: Callable[..., Benchmark], separator: str, start: str, end: str) -> None:
    text = start + _csv(f'network{separator}"val_acc"', separator=separator)
    benchmark = load(text.replace("\n", end))
    assert benchmark.tables["own", VALIDATION, None].tolist() == [50.0 + i for i in range(N)]


def test_quoted_names_with_separators(tmp_path: Path) -> None:
    networks = {f"(0,1),{number}": arch for number, arch in enumerate(NETWORKS)}
    lines = ["network,val_acc", *(f'"{name}",{50 + i}' for i, name in enumerate(networks))]
    (tmp_path / "quoted.csv").write_text("\n".join(lines))
    assert load_accuracies(tmp_path / "quoted.csv", networks).architectures == NETWORKS


@pytest.mark.parametrize(
    "source",
    [
        {f"n{i}": 50 + i for i in range(N)},
        {f"n{i}": {"accuracy": 50 + i} for i in range(N)},
        {"network": [f"n{i}" for i in range(N)], "accuracy": np.arange(50, 50 + N)},
        [(f"n{i}", 50 + i) for i in range(N)],
        [{"name": f"n{i}", "accuracy": 50 + i} for i in range(N)],
        ((f"n{i}", np.float32(50 + i)) for i in range(N)),
        {f"n{i}": f"{50 + i}%" for i in range(N)},
    ],
)
def test_python_data(source: Any) -> None:
    benchmark = load_accuracies(source, NETWORKS)
    assert benchmark.tables["own", TEST, None].tolist() == [50.0 + i for i in range(N)]
    assert "networks of your own read from the given table" in benchmark.provenance


class _Frame:
    """What of a data frame is used."""

    def __init__(self, columns: dict[str, list[Any]], index: list[Any]) -> None:
        self._columns, self.columns, self.index = columns, list(columns), index

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]


def test_data_frames() -> None:
    accuracies = [50.0 + i for i in range(N)]
    named = _Frame({"network": [f"n{i}" for i in range(N)], "val_acc": accuracies}, [*range(N)])
    assert load_accuracies(named, NETWORKS).tables["own", VALIDATION, None].tolist() == accuracies
    indexed = _Frame({"val_acc": [*accuracies[:-1], float("nan")]}, [f"n{i}" for i in range(N)])
    benchmark = load_accuracies(indexed, NETWORKS)
    assert benchmark.tables["own", VALIDATION, None].tolist() == accuracies[:-1]
    assert "1 of 12 networks have no accuracy in the given table and are left out: 'n11'." in benchmark.notes


# What is assumed ------------------------------------------------------------------------------------------------------


def test_fractions(load: Callable[..., Benchmark]) -> None:
    benchmark = load(_csv("network,val_acc", lambda i: f"0.{50 + i}"))
    assert benchmark.tables["own", VALIDATION, None] == pytest.approx(50.0 + np.arange(N))
    (note,) = benchmark.notes
    assert note == "Column 'val_acc' of zoo.csv holds fractions, and is read as 100 times as many percent."


@pytest.mark.parametrize("is_fraction", [False, True])
def test_error_rates(load: Callable[..., Benchmark], is_fraction: bool) -> None:
    benchmark = load(_csv("network,cifar10_test_error", lambda i: f"0.{10 + i}" if is_fraction else f"{10 + i}"))
    assert benchmark.tables["cifar10", TEST, None] == pytest.approx(90.0 - np.arange(N))
    assert benchmark.notes[-1].endswith("holds error rates, and is read as accuracies of 100 minus it.")
    assert len(benchmark.notes) == 1 + is_fraction


def test_missing_networks_and_strangers(load: Callable[..., Benchmark]) -> None:
    table = _csv("network,val_acc", lambda i: "" if i in (3, 4) else str(50 + i)) + "stranger,50\n\nother,bad\n"
    benchmark = load(table)
    assert benchmark.architectures == (*NETWORKS[:3], *NETWORKS[5:])
    assert benchmark.notes == (
        "2 of 14 rows of zoo.csv are about none of the networks and are left out: 'stranger', 'other'.",
        "2 of 12 networks have no accuracy in zoo.csv and are left out: 'n3', 'n4'.",
    )


def test_a_network_needs_an_accuracy_in_every_column(load: Callable[..., Benchmark]) -> None:
    benchmark = load(_csv("network,val_acc,test_acc", lambda i: f"{50 + i},{'' if i == 7 else 40 + i}"))
    assert NETWORKS[7] not in benchmark.architectures
    assert all(len(table) == N - 1 for table in benchmark.tables.values())


def test_poor_percentages_are_no_fractions(load: Callable[..., Benchmark]) -> None:
    """At chance among 120 classes: 83 is not what the others have."""
    benchmark = load(_csv("network,val_acc", lambda i: "0.833" if i == 3 else str(20 + i)))
    assert benchmark.accuracies([NETWORKS[3]], "own", VALIDATION)[0] == 0.833
    stated = load(_csv("network,val_acc", lambda i: "0.53%" if i == 3 else str(50 + i)))
    assert stated.accuracies([NETWORKS[3]], "own", VALIDATION)[0] == 0.53


# What is refused ------------------------------------------------------------------------------------------------------


def _except(number: int, text: str) -> str:
    return _csv("network,val_acc", lambda i: text if i == number else str(50 + i))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_except(3, "abc"), "Line 5 of zoo.csv has in column 'val_acc' 'abc', not a number; correct it, or leave the"),
        (_except(3, "nan"), "Line 5 of zoo.csv .* 'nan', not a number"),
        (_except(3, "inf"), "Line 5 of zoo.csv .* 'inf', not a number"),
        (_except(3, "5_3"), "Line 5 of zoo.csv .* '5_3', not a number"),
        (_except(3, "53.5.1"), "Line 5 of zoo.csv .* '53.5.1', not a number"),
        (_except(3, "9" * 5_000), "Line 5 of zoo.csv has inf in column 'val_acc', outside of 0..100; write percent"),
        (_except(3, "101"), "Line 5 of zoo.csv has 101 in column 'val_acc', outside of 0..100; write percent"),
        (_except(3, "-1"), "Line 5 of zoo.csv has -1 in column 'val_acc', outside of 0..100"),
        (_except(3, '"53,5"'), "Line 5 of zoo.csv .* '53,5', a decimal comma; write a point"),
        (_except(3, "53,5"), "Line 5 of zoo.csv has 3 fields, but the header has 2; .* write decimals with a point"),
        (_except(3, "0.53"), "mixes fractions and percent: 0.53 in line 5 and 50 in line 2; write all in percent"),
        (
            _csv("network,val_acc", lambda i: "1.02" if i == 3 else f"0.{50 + i}"),
            "mixes fractions and percent: 0.5 in line 2 and 1.02 in line 5",
        ),
        (_csv("network,val_acc", lambda i: "77"), "All accuracies in column 'val_acc' of zoo.csv are 77 percent, so"),
        (_csv("network,val_acc") + "n3,50\n", "Line 14 of zoo.csv is about 'n3', as line 5 is; keep one of them"),
        (_csv("network,val_acc") + ",50\n", "Line 14 of zoo.csv names no network; write its name or remove the line"),
        (_csv("network,val_acc,val_acc", lambda i: "5,6"), "the columns 'val_acc' and 'val_acc', which have"),
        (_csv("network,val_acc,Val-Acc", lambda i: "5,6"), "the columns 'val_acc' and 'Val-Acc', which have"),
        (_csv("network,val_acc,validation", lambda i: "5,6"), "'val_acc' and 'validation' .* both are val"),
        (_csv("network,cifar10,cifar10_test", lambda i: "5,6"), "'cifar10' and 'cifar10_test' .* both are test"),
        (_csv("network,val_acc").replace("n", "x"), "No network .* zoo.csv: it names 'x0', .* 7 more, .* 'n0', 'n1'"),
        ("\n".join(_csv("").splitlines()[1:]), "The first line of zoo.csv is about a network, so there is no header"),
        ("\n".join(_csv("network,val_acc").splitlines()[:10]), "accuracies of 9 of the 12 .* .none for 'n9', 'n10'"),
        ("", "zoo.csv is empty; write a header and a row for each network"),
        (" \n\n", "zoo.csv is empty"),
        ("network,val_acc\n", "zoo.csv has no rows; write one for each network below the header"),
        ('network,"val_acc\nn0,5', "zoo.csv cannot be read as accuracies: unexpected end of data; name a CSV file"),
        (b"\xff\xfen\x00e\x00", "zoo.csv is not UTF-8 text; save the accuracies as a CSV file in UTF-8"),
        (b"PK\x03\x04", r"zoo.csv cannot be read as accuracies: line 1 has the control character '\\x03'"),
        (_except(3, "\x1b[31m53"), r"line 5 has the control character '\\x1b'"),
        (_except(3, "\0"), r"line 5 has the control character '\\x00'"),
        (_except(3, "9" * 200_000), "field larger than field limit"),
        (_csv("network," + ",".join(f"c{i}" for i in range(1_000))), "at most 500000 rows and 1000 columns, but it"),
    ],
)
def test_bad_tables(load: Callable[..., Benchmark], content: str | bytes, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        load(content)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_many_problems_are_counted(load: Callable[..., Benchmark]) -> None:
    with pytest.raises(BenchmarkError, match=r"^Line 2 of zoo.csv .* 'bad0', not a number; .* \(and 11 more\)\.$"):
        load(_csv("network,val_acc", lambda i: f"bad{i}"))
    with pytest.raises(BenchmarkError, match=r"^Line 2 of zoo.csv has 3 fields.* \(and 11 more\)\.$"):
        load(_csv("network,val_acc", lambda i: "5,5"))


def test_large_files(load: Callable[..., Benchmark], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eznas.benchmarks.own.MAX_ROWS", 5)
    with pytest.raises(BenchmarkError, match="at most 5 rows and 1000 columns, but it has more"):
        load(_csv("network,val_acc"))
    monkeypatch.setattr("eznas.benchmarks.own.MAX_BYTES", 50)
    with pytest.raises(BenchmarkError, match=r"zoo.csv cannot be read .* larger than 50 bytes"):
        load(_csv("network,val_acc"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "a mapping, a data frame or a sequence of rows, but they are int"),
        ([], "but there are none"),
        ({}, "The given table has no rows"),
        ([1, 2], "mappings from columns to values, or .network, accuracy. pairs, but some are neither"),
        ({"network": ["n0"], "acc": [1, 2]}, "must be equally long, but 'acc' has 2 values and 'network' has 1"),
        ({"network": ["n0"], "acc": 5}, "Each column of the given table must be a sequence"),
        ({f"n{i}": object() for i in range(N)}, "Row 1 of the given table has in column 'accuracy' .*, not a number"),
        ({f"n{i}": True for i in range(N)}, "Row 1 of the given table has in column 'accuracy' True, not a number"),
        ({f"n{i}": float("inf") for i in range(N)}, "an infinite value"),
        ("missing.csv", "missing.csv cannot be read as accuracies: there is no such file; name a CSV file"),
        (".", "cannot be read as accuracies: it is not a file"),
        ("a\0b", "cannot be read as accuracies"),
        ("x" * 10_000, "cannot be read as accuracies: File name too long"),
    ],
)
def test_bad_sources(source: Any, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        load_accuracies(source, NETWORKS)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_no_networks() -> None:
    with pytest.raises(BenchmarkError, match="Accuracies were given for no networks"):
        load_accuracies({"a": 1}, ())


def test_enough_networks() -> None:
    assert len(load_accuracies({f"n{i}": 50 + i for i in range(MIN_NETWORKS)}, NETWORKS).architectures) == MIN_NETWORKS
