"""Tables of our own trainings: what is read is what was written, whatever a kill left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.benchmarks import Card, Recipe, Split, TrainedTable, Training, benchmark_of, label_noise, load_trained
from eznas.errors import BenchmarkError
from eznas.spaces import families

RECIPE = Recipe(epochs=4, after=(2, 1, 9))
NETWORKS = [arch.spec for arch in families.SPACE.named("plain:random:3:0")]


def card(**changed: Any) -> Card:
    given: dict[str, Any] = {
        "name": "tiny", "title": "Tiny networks", "networks": "net:plain:random:12:0", "seed": 0,
        "settings": families.Settings(), "dataset": "cifar10", "images": "digits", "images_digest": "d", "n_train": 40,
        "n_validation": 20, "input_size": 8, "recipe": RECIPE,
    }  # fmt: skip
    return Card(**(given | changed))


def training(network: int, seed: int, last: float, **changed: Any) -> Training:
    given: dict[str, Any] = {
        "network": NETWORKS[network], "seed": seed, "parameters": 100, "macs": 1000, "seconds": 2.5, "diverged": 0,
        "accuracies": (last - 2, last - 1, last),
    }  # fmt: skip
    return Training(**(given | changed))


TRAININGS = (training(0, 0, 50.0), training(1, 0, 60.0), training(0, 1, 53.0), training(1, 1, 61.0, diverged=1))


@pytest.fixture
def table(tmp_path: Path) -> TrainedTable:
    found = TrainedTable(tmp_path / "deep", "tiny")
    found.begin(card())
    for one in TRAININGS:
        found.append(RECIPE, one)
    return found


def test_accuracies_are_measured_after_the_epochs_there_are() -> None:
    assert RECIPE.measured == (1, 2, 4)


def test_what_is_written_is_read(table: TrainedTable) -> None:
    assert table.card() == card()
    assert table.trainings(RECIPE) == TRAININGS


def test_a_torn_line_is_left_out_and_cut_off(table: TrainedTable) -> None:
    with table.path.open("ab") as file:
        file.write(NETWORKS[2][:20].encode())
    assert table.trainings(RECIPE) == TRAININGS
    table.append(RECIPE, training(2, 0, 40.0))
    assert table.trainings(RECIPE) == (*TRAININGS, training(2, 0, 40.0))


def test_another_benchmark_of_that_name_is_refused(table: TrainedTable) -> None:
    assert table.begin(card(machine="elsewhere", versions={"torch": "1"})) == card()
    with pytest.raises(BenchmarkError, match=r"describes another benchmark .*n_train was 40 and is 41"):
        table.begin(card(n_train=41))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"network,seed", b"seed,network", "must have the columns network, seed"),
        (b",50.00\n", b",150.00\n", r"line 2: .*less than or equal to 100"),
        (b",50.00\n", b",x\n", "line 2"),
        (b",50.00\n", b"\n", r"line 2 has 8 fields of 9"),
        (b",1,100,1000,2.50,0", b",0,100,1000,2.50,0", "line 4 repeats a training of seed 0"),
        (b"plain", b"pl\xffin", "is no table of trainings"),
    ],
)
def test_damage_is_one_sentence(table: TrainedTable, old: bytes, new: bytes, message: str) -> None:
    content = table.path.read_bytes()
    assert old in content
    table.path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(BenchmarkError, match=message) as caught:
        table.trainings(RECIPE)
    assert "\n" not in str(caught.value)


def test_a_benchmark_has_the_mean_of_seeds_and_their_noise(table: TrainedTable) -> None:
    found = load_trained(table.path.parent, "tiny")
    assert [arch.spec for arch in found.architectures] == NETWORKS[:2]
    accuracies = found.accuracies(found.architectures, "cifar10", Split.VALIDATION)
    np.testing.assert_allclose(accuracies, [51.5, 60.5])
    np.testing.assert_allclose(found.accuracies(found.architectures, "cifar10", Split.VALIDATION, 1), [49.5, 58.5])
    assert found.full_training == 4
    noise = np.sqrt((1.5**2 * 2 + 0.5**2 * 2) / 2)
    assert found.label_noise["cifar10"] == pytest.approx(noise)
    assert label_noise(TRAININGS[:2]) is None
    assert "trained here on 40 digits images of 8x8 for 4 epochs" in found.provenance


def test_an_empty_table_is_no_benchmark() -> None:
    with pytest.raises(BenchmarkError, match="holds no training"):
        benchmark_of(card(), ())
