"""Networks of your own: imported by name, scored as they are, refused in one sentence."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from eznas.cli import main
from eznas.errors import ArchitectureError
from eznas.spaces import Architecture, build_network, networks_named, own

MODULE = """
import torch
from torch import nn


def classifier(width, activation):
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), activation(), nn.Conv2d(width, width, 3),
        activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )


def networks():
    return {"narrow": classifier(4, nn.ReLU), "wide": lambda: classifier(8, nn.ReLU)}


def pairs():
    yield "smooth", classifier(4, nn.GELU)


def nothing():
    return []


def twice():
    return [("a", classifier(4, nn.ReLU)), ("a", classifier(4, nn.ReLU))]


def numbers():
    return [1, 2]


def one():
    return classifier(4, nn.ReLU)


def wrong():
    return {"a": lambda: 3, "b": lambda x: 3, "c": lambda: 1 / 0}


def unnamed():
    return {1: classifier(4, nn.ReLU)}


def drawn():
    return {
        "first": nn.Sequential(nn.Flatten(), nn.Linear(768, 10)),
        "lazy": lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 10)),
        "picky": lambda: Picky(),
    }


class Picky(nn.Module):
    def forward(self, images):
        assert images.shape[-1] == 32, "Wrong image height"


def raises():
    raise KeyError("no")


constant = 3
"""


@pytest.fixture
def my_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module in the working folder, as a user would have it."""
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    own._family.cache_clear()
    yield
    sys.modules.pop("my_models", None)
    own._family.cache_clear()


@pytest.mark.usefixtures("my_models")
def test_networks_are_found_by_name_and_left_as_they_are() -> None:
    found = networks_named("python:my_models:networks")
    assert found == tuple(Architecture("python", f"my_models:networks#{name}") for name in ("narrow", "wide"))
    assert networks_named("python:my_models:networks#wide") == found[1:]
    for arch, width in zip(found, (4, 8), strict=True):
        network = build_network(arch, own.Settings(), seed=0)
        torch.manual_seed(width)
        first = torch.nn.Conv2d(3, width, 3, stride=2)
        assert torch.equal(network.get_parameter("0.weight"), first.weight)


@pytest.mark.usefixtures("my_models")
@pytest.mark.parametrize("workers", ["0", "1"])
def test_they_are_scored_on_the_command_line(capsys: pytest.CaptureFixture[str], workers: str) -> None:
    words = ["score", "naswot,synflow,snip,eznas_a_code", "--networks", "python:my_models:networks", "-q", "-f", "csv"]
    assert main([*words, "--workers", workers]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["network"] for row in rows] == ["my_models:networks#narrow", "my_models:networks#wide"]
    assert all(row["index"] == "" for row in rows)
    assert all(float(row[name]) for row in rows for name in ("naswot", "synflow", "snip", "eznas_a_code"))
    assert float(rows[1]["synflow"]) > float(rows[0]["synflow"])


@pytest.mark.usefixtures("my_models")
def test_a_network_without_relu_has_a_naswot_of_its_signs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "naswot,synflow", "--networks", "python:my_models:pairs", "-q", "-f", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert float(row["naswot"])
    assert float(row["synflow"])


@pytest.mark.usefixtures("my_models")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_models", r"Expected python:package.module:function, but got python:my_models; name a module"),
        ("../my_models:networks", r"Expected python:package.module:function"),
        ("no_models:networks", r"no_models:networks cannot be imported: No module named 'no_models'; run from"),
        ("my_models:absent", r"my_models:absent cannot be imported: module 'my_models' has no attribute 'absent'"),
        ("my_broken:networks", r"^Importing my_broken raised ZeroDivisionError: .* \(my_broken.py, line 1\); "),
        ("my_models:constant", r"must be a function that returns networks by name, but it is a int"),
        ("my_models:nothing", r"my_models:nothing gave no networks; expected at least one"),
        ("my_models:twice", r"each network once under a name of its own, but for 'a' it names it twice"),
        ("my_models:unnamed", r"once under a name of its own, but for 1 it has no text as a name"),
        ("my_models:numbers", r"must give \(name, network\) pairs, but it gave int"),
        ("my_models:one", r"must give a mapping or \(name, network\) pairs, but it gave Sequential"),
        ("my_models:raises", r"^my_models:raises raised KeyError: 'no' \(my_models.py, line \d+\); corr"),
        ("my_models:networks#tall", r"^my_models:networks: Unknown network 'tall'; known are narrow, wide$"),
    ],
)
def test_what_gives_no_networks_is_refused_in_a_sentence(spec: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        networks_named(f"python:{spec}")


@pytest.mark.usefixtures("my_models")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a", r"Network 'a' of my_models:wrong must be .*, but it gave int"),
        ("b", r"Making network 'b' of my_models:wrong raised TypeError: .* missing 1 required"),
        ("c", r"Making network 'c' of my_models:wrong raised ZeroDivisionError"),
    ],
)
def test_a_maker_that_makes_no_network_is_refused_in_a_sentence(name: str, message: str) -> None:
    (arch,) = networks_named(f"python:my_models:wrong#{name}")
    with pytest.raises(ArchitectureError, match=message):
        build_network(arch, own.Settings(), seed=0)


@pytest.mark.usefixtures("my_models")
def test_what_networks_draw_is_the_same_in_every_process() -> None:
    """However many were made before, and the generators are left alone."""
    found = networks_named("python:my_models:drawn")

    def weights() -> list[torch.Tensor]:
        return [build_network(arch, own.Settings(), seed=0).get_parameter("1.weight").clone() for arch in found[:2]]

    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = weights()
    assert torch.equal(torch.get_rng_state(), before)
    own._family.cache_clear()
    sys.modules.pop("my_models")
    torch.manual_seed(2)
    again = [build_network(arch, own.Settings(), seed=0).get_parameter("1.weight") for arch in reversed(found[:2])][
        ::-1
    ]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.usefixtures("my_models")
@pytest.mark.parametrize("proxy", ["naswot", "snip", "eznas_a_code", "az_expressivity"])
def test_whatever_a_network_raises_is_one_sentence(proxy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", proxy, "--networks", "python:my_models:drawn#picky", "-q"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: No network can be run on images (sizes 32, 28, ")
    assert "Wrong image height" in error
