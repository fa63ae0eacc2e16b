"""Every search space keeps the contract that is shipped for users' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from eznas.spaces import SPACES, Architecture, SearchSpace, SettingsUnion, SpaceSettings, nb201, networks_named, own
from eznas.testing import check_space

DRAWN = [space for space in SPACES.values() if space.full is not None]


def small_settings(space: SearchSpace[Any]) -> list[SpaceSettings]:
    """Under which networks are small, two ways."""
    ways = [
        {"channels": 8, "width_divisor": 24, "depth_divisor": 7, "n_classes": 3},
        {"cells_per_stage": 2, "channels": 10, "width_divisor": 16, "depth_divisor": 5, "scheme": "default"},
    ]
    known = space.settings.model_fields
    return [space.settings(**{name: value for name, value in way.items() if name in known}) for way in ways]


@pytest.mark.parametrize("space", DRAWN, ids=lambda space: space.name)
def test_the_contract_of_a_search_space(space: SearchSpace[Any]) -> None:
    check_space(space, small_settings(space), n=3 if space.name.startswith("nds") else 6)


def test_the_contract_holds_for_networks_in_memory() -> None:
    networks = {f"net {width}": nn.Sequential(nn.Flatten(), nn.Linear(192, width)) for width in range(2, 9)}
    check_space(own.space_of(networks), n=3, mutates=False)


def test_every_space_that_can_be_drawn_from_is_checked() -> None:
    assert [space.name for space in SPACES.values() if space not in DRAWN] == ["python"]


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_settings_are_told_apart_by_their_space(space: SearchSpace[Any]) -> None:
    settings: Any = TypeAdapter(SettingsUnion)
    for given in [space.settings(), *([] if space.full is None else [space.full])]:
        assert given.space == space.name
        assert settings.validate_python(given.model_dump(mode="json")) == given
        assert type(settings.validate_json(given.model_dump_json())) is space.settings
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        settings.validate_python({"space": "elsewhere"})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        settings.validate_python({"space": space.name, "chanels": 4})


@pytest.mark.parametrize("space", DRAWN, ids=lambda space: space.name)
def test_random_networks_are_named_by_seed(space: SearchSpace[Any]) -> None:
    first, again, other = (networks_named(f"{space.name}:random:5:{seed}") for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == 5


# The contract can fail ------------------------------------------------------------------------------------------------


def _unseeded(arch: Architecture, settings: nb201.Settings) -> nn.Module:
    network = nb201.allocate(arch, settings)
    nn.init.normal_(next(network.parameters()))
    return network


def _evaluating(arch: Architecture, settings: nb201.Settings) -> nn.Module:
    return nb201.allocate(arch, settings).eval()


def _double(arch: Architecture, settings: nb201.Settings) -> nn.Module:
    return nb201.allocate(arch, settings).double()


def _same_sample(rng: Any, n: int) -> tuple[Architecture, ...]:
    return nb201.all_architectures()[:n]


def _repeated_sample(rng: Any, n: int) -> tuple[Architecture, ...]:
    return nb201.sample(rng, 1) * n


def _no_edit(arch: Architecture, rng: Any) -> Architecture:
    return arch


def _far_edit(arch: Architecture, rng: Any) -> Architecture:
    return Architecture("elsewhere", arch.spec)


def _two_edits(arch: Architecture, rng: Any) -> Architecture:
    place = int(torch.randint(24, ()))
    return nb201.neighbours(arch)[place]


def _more_parameters(arch: Architecture, settings: nb201.Settings, size: int) -> Any:
    found = nb201.counts(arch, settings, size)
    return replace(found, parameters=found.parameters + 1)


def _more_macs(arch: Architecture, settings: nb201.Settings, size: int) -> Any:
    found = nb201.counts(arch, settings, size)
    return replace(found, macs=found.macs - 1)


def _one_digest(arch: Architecture) -> str:
    return "0" * 32


def _short_digest(arch: Architecture) -> str:
    return nb201.SPACE.digest(arch)[:31]


def _no_text(text: str) -> tuple[Architecture, ...]:
    return ()


def _negative(arch: Architecture) -> int:
    return -1


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        ("allocate", _unseeded, "from a global generator"),
        ("allocate", _evaluating, "in evaluation mode"),
        ("allocate", _double, "float64"),
        ("sample", _same_sample, "from two seeds"),
        ("sample", _repeated_sample, "distinct architectures"),
        ("mutate", _no_edit, "changes nothing"),
        ("mutate", _far_edit, "leaves itself"),
        ("mutate", _two_edits, "in two ways from one seed"),
        ("counts", _more_parameters, "parameters of"),
        ("counts", _more_macs, "multiply-accumulates of"),
        ("digest", _one_digest, "1 digests"),
        ("digest", _short_digest, "not 32 hexadecimal digits"),
        ("named", _no_text, "by the text of"),
        ("level", _negative, "the level -1"),
    ],
)
def test_a_broken_promise_is_named(name: str, broken: Callable[..., Any], message: str) -> None:
    space: SearchSpace[Any] = replace(nb201.SPACE, **{name: broken})
    with pytest.raises(AssertionError, match=f"^The search space 'nb201' .*{message}"):
        check_space(space, [nb201.Settings(channels=4)], n=3)
