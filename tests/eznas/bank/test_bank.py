"""A bank holds what words say of networks: the same numbers as without it, computed once, and never half of a block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from eznas.bank import Bank, BankEvaluator, Column, canonical, fill
from eznas.bank.block import KINDS
from eznas.conditions import Conditions
from eznas.errors import BankError, ConfigError, ProgramError
from eznas.estimators import by_name
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import ProgramProxy
from eznas.randomness import stream
from eznas.spaces import nb201, space_named
from eznas.study import single_threaded
from eznas.workers import LocalPool, open_pool

SPACE = space_named("nb201")
CELLS = tuple(SPACE.sample(stream(1, "bank"), 6))
CONDITIONS = Conditions(settings=nb201.Settings(), images="digits", batch_size=3, estimator_batch_size=4)
WORDS = (
    "(sum_layers (participation_ratio (filter_correlation weight_grad.noise)))", "parameter_count",
    "(weighted_mean_layers (mean weight) (numel weight))", "naswot", "log_path_count",
)  # fmt: skip

FAILING = "(sum_layers (log_abs_determinant (subtract (filter_correlation weight) (filter_correlation weight))))"


@pytest.fixture(autouse=True)
def _as_in_a_run() -> Iterator[None]:
    """One thread, as runs and workers have it: then values are equal to the last bit."""
    with single_threaded():
        yield


def filled(root: Path, words: tuple[str, ...] = WORDS, n: int = 4) -> Bank:
    bank = Bank.open(root, CONDITIONS)
    fill(bank, words, CELLS[:n], LocalPool())
    return bank


def alone(word: str, cell: object) -> float:
    """What the word says without any bank."""
    network = CONDITIONS.network(cell)  # type: ignore[arg-type]
    if word == "naswot":
        inputs, targets = CONDITIONS.batch(CONDITIONS.estimator_batch_size)
        return by_name("naswot")(network, inputs, targets)
    inputs, _ = CONDITIONS.batch(CONDITIONS.batch_size)
    outcome = ProgramProxy(name="word", program=parse(word)).bound(CONDITIONS).outcome(network, inputs)
    assert not isinstance(outcome, Invalid)
    return outcome


def test_values_are_those_without_a_bank(tmp_path: Path) -> None:
    found = filled(tmp_path).values(WORDS, CELLS[:4])
    assert not found.is_missing.any()
    for row, word in enumerate(WORDS):
        for column, cell in enumerate(CELLS[:4]):
            assert found.values[row, column] == pytest.approx(alone(word, cell), rel=1e-6), word


def test_what_is_known_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    bank = Bank.open(tmp_path, CONDITIONS)
    assert fill(bank, WORDS[:2], CELLS[:3], LocalPool()) == 0
    assert fill(bank, (*WORDS, "(mean_layers (mean weight))"), CELLS[:4], LocalPool()) == 4, "one new word"
    assert fill(bank, WORDS, CELLS, LocalPool()) == 2, "two new networks"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert bank.values(WORDS, CELLS).values.shape == (5, 6)
    assert not bank.values(WORDS, CELLS).is_missing.any()
    monkeypatch.setattr("eznas.bank.build.statistics_for", None)
    assert fill(bank, WORDS, CELLS, LocalPool()) == 0


def test_nothing_is_known_of_others(tmp_path: Path) -> None:
    found = filled(tmp_path).values((*WORDS[:1], "synflow"), CELLS)
    assert found.is_missing.tolist() == [[False] * 4 + [True] * 2, [True] * 6]
    assert np.isnan(found.values[found.is_missing]).all()


def test_other_conditions_are_another_bank(tmp_path: Path) -> None:
    filled(tmp_path)
    for change in ({"batch_size": 2}, {"seed": 1}, {"units": "all"}, {"estimator_batch_size": 5}, {"input_size": 20}):
        other = Bank.open(tmp_path, CONDITIONS.model_copy(update=change))
        assert other.values(WORDS, CELLS[:1]).is_missing.all(), change


def test_a_word_that_fails_has_a_reason(tmp_path: Path) -> None:
    words = (FAILING, "epe_nas")
    bank = filled(tmp_path, words)
    found = bank.values(words, CELLS[:4])
    assert found.kind(0, 0) is FailureKind.NON_FINITE
    assert not np.isfinite(found.values[0]).any()
    assert not found.is_missing.any(), "it is known that it fails"


def test_workers_write_the_same(tmp_path: Path) -> None:
    one = filled(tmp_path / "one", n=6)
    bank = Bank.open(tmp_path / "two", CONDITIONS)
    pool = open_pool(2)
    try:
        assert fill(bank, WORDS, CELLS, pool) == 6
    finally:
        pool.close()
    assert np.array_equal(bank.values(WORDS, CELLS).values, one.values(WORDS, CELLS).values)


def test_a_stopped_fill_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eznas.bank.build.BLOCK_NETWORKS", 2)

    def stop(done: int, n: int) -> None:
        del n
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(Bank.open(tmp_path, CONDITIONS), WORDS, CELLS, LocalPool(), progress=stop)
    bank = Bank.open(tmp_path, CONDITIONS)
    assert fill(bank, WORDS, CELLS, LocalPool()) == 2
    whole = filled(tmp_path / "whole", n=6)
    assert np.array_equal(bank.values(WORDS, CELLS).values, whole.values(WORDS, CELLS).values)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "A block of the bank cannot be read"),
        (lambda path: path.write_bytes(b""), "A block of the bank cannot be read"),
        (lambda path: (path.parent / "rows.json").write_text('["other"]'), "is not the one its folder is named by"),
        (lambda path: (path.parent / "rows.json").write_text("[" * 100_000), "A file of the bank cannot be read"),
        (lambda path: (path.parent.parent / "manifest.json").write_text("{}"), "is of format None, expected 1"),
        (lambda path: (path.parent.parent / "manifest.json").write_text("[]"), "expected dict, got list"),
        (lambda path: _changed(path.parent.parent / "manifest.json"), "tells of other conditions than its name"),
    ],
)
def test_a_damaged_bank_is_one_sentence(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    filled(tmp_path)
    (block,) = tmp_path.rglob("*.safetensors")
    damage(block)
    with pytest.raises(BankError, match=message) as error:
        Bank.open(tmp_path, CONDITIONS)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


def _changed(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "seed": 77}))


def test_foreign_files_are_nobodys_business(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    (bank.folder / "notes.txt").write_text("mine")
    (bank.folder / "0123").mkdir()
    assert not Bank.open(tmp_path, CONDITIONS).values(WORDS, CELLS[:4]).is_missing.any()


def test_words_are_programs_or_estimators() -> None:
    assert canonical("(add  parameter_count mac_count)") == canonical("(add mac_count parameter_count)")
    assert canonical("naswot") == "naswot"
    with pytest.raises(ConfigError, match="Unknown word 'nasvot'; did you mean 'naswot'"):
        canonical("nasvot")
    with pytest.raises(ProgramError, match="A proxy gives one number per network"):
        canonical("(mean weight)")


def test_kinds_are_stored_by_their_place() -> None:
    """New kinds of failures go to the end: banks on disk name them by number."""
    assert [kind.value for kind in KINDS] == [
        "non-finite", "undefined", "network", "unfit", "worker", "constant", "fails often", "members",
    ]  # fmt: skip


def test_an_evaluator_knows_why(tmp_path: Path) -> None:
    evaluator = BankEvaluator(LocalPool(), [Column(Bank.open(tmp_path, CONDITIONS), CELLS[:3])])
    matrix = evaluator.evaluate([parse(FAILING)])
    assert not np.isfinite(matrix.scores).any()
    network, reason = matrix.failures[0]
    assert network == 0
    assert reason.kind is FailureKind.NON_FINITE
