"""Estimators asked for together: the outcome of each is the one it has alone, and passes are shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from eznas.errors import CaptureError
from eznas.estimators import PUBLISHED, Estimator, Reading, by_name, families, outcomes
from eznas.programs import FailureKind, Invalid
from eznas.spaces import build_network, nb201
from eznas.testing.estimators import _State
from tests.eznas.estimators import kinds
from tests.eznas.estimators.small_networks import Apply, convolutional, drawn, labels

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
CLASSES = labels(6, 2)
GRADIENTS = ("grad_norm", "plain", "snip", "fisher", "jacob_cov", "epe_nas", "epe_nas_as_released")
FAMILIES = (
    GRADIENTS,
    ("naswot", "linear_regions"),
    ("synflow", "logsynflow"),
    ("swap", "swap_regularised"),
    ("az_expressivity", "az_progressivity", "az_trainability"),
)


class Squares(torch.autograd.Function):
    """Squares, whose backward pass draws from the global generator."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, along: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = context.saved_tensors  # type: ignore[attr-defined]
        return 2 * x * along * torch.rand(x.shape)


class NoWayBack(torch.autograd.Function):
    """The identity, whose backward pass fails."""

    @staticmethod
    def forward(context: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, along: Tensor) -> Tensor:  # type: ignore[override]
        raise ArithmeticError("no way back")


def named(names: Sequence[str]) -> list[Estimator]:
    return [by_name(name) for name in names]


def with_random_slopes() -> nn.Module:
    network = convolutional()
    network[2] = nn.RReLU()
    return network


def with_weight_normalisation() -> nn.Module:
    network = convolutional()
    network[0] = parametrizations.weight_norm(network[0])
    return network


def into_its_input() -> nn.Module:
    return nn.Sequential(Apply(lambda x: x.mul_(2)), *convolutional())


def tokens_without_bias() -> nn.Module:
    """A product that torch computes in another order, with other last bits, where the weight needs gradients."""
    ends = (nn.GELU(), Apply(lambda x: x.mean(1)), nn.Linear(7, 4))
    return drawn(nn.Sequential(Apply(lambda x: x.reshape(-1, 48, 4).mT), nn.Linear(48, 7, bias=False), *ends))


def _of_kind(kind: str) -> nn.Module:
    return kinds.networks(kind)[0]


def not_finite(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(network.parameters()).fill_(torch.inf)
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "NB201 cell": lambda: build_network(nb201.from_index(1462), nb201.Settings(channels=4), seed=0),
    **{kind: partial(_of_kind, kind) for kind in kinds.KINDS},
    "random slopes": with_random_slopes,
    "weight normalisation": with_weight_normalisation,
    "writes into its input": into_its_input,
    "tokens without a bias": tokens_without_bias,
    "backward passes that draw": lambda: nn.Sequential(convolutional(), Apply(Squares.apply)),
    "no way back": lambda: nn.Sequential(convolutional(), Apply(NoWayBack.apply)),
    "no layers": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "one class": lambda: convolutional(n_classes=1),
    "feature maps for logits": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
    "no forward pass": lambda: nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU()),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())),
    "weights that are not finite": lambda: not_finite(convolutional()),
}


def alone(estimators: Sequence[Estimator], network: nn.Module, targets: Tensor | None = CLASSES) -> list[object]:
    """The outcome of each estimator by itself."""
    return [estimator.outcome(network, IMAGES, targets) for estimator in estimators]


def test_families_are_those_that_read_the_same() -> None:
    found = [tuple(PUBLISHED[place].name for place in places) for places in families(PUBLISHED)]
    assert {family for family in found if len(family) > 1} == set(FAMILIES)
    assert sorted(name for family in found for name in family) == sorted(row.name for row in PUBLISHED)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_each_outcome_is_the_one_it_has_alone(kind: str) -> None:
    """Bit by bit, failures included, whoever is asked first; network, images and generators stay as they were."""
    network = NETWORKS[kind]()
    expected = alone(PUBLISHED, network)
    before, images, drawing = _State.of(network), IMAGES.clone(), torch.get_rng_state()
    assert outcomes(PUBLISHED, network, IMAGES, CLASSES) == expected
    assert outcomes(PUBLISHED[::-1], network, IMAGES, CLASSES) == expected[::-1]
    assert not before.difference(_State.of(network))
    assert torch.equal(IMAGES, images)
    assert torch.equal(torch.get_rng_state(), drawing)


def test_one_of_a_family_may_have_a_score_where_others_have_none() -> None:
    found = outcomes(named(GRADIENTS), NETWORKS["one class"](), IMAGES, CLASSES)
    assert [isinstance(outcome, float) for outcome in found] == [name == "jacob_cov" for name in GRADIENTS]
    assert all("is not a class of Sequential" in str(one) for one in found if isinstance(one, Invalid))


@pytest.mark.parametrize("estimator", [row for row in PUBLISHED if row.reading], ids=lambda row: row.name)
def test_a_reading_is_the_function_in_two_steps(estimator: Estimator) -> None:
    network = NETWORKS["NB201 cell"]()
    assert estimator.reading is not None
    value = estimator.reading.alone(network, IMAGES, CLASSES)
    assert value == estimator.function(network, IMAGES, CLASSES) == estimator(network, IMAGES, CLASSES)


@pytest.mark.parametrize(
    ("family", "n_forward"), [(FAMILIES[0], 1), (FAMILIES[1], 1), (FAMILIES[2], 1), (FAMILIES[3], 32), (FAMILIES[4], 3)]
)
def test_a_family_takes_the_passes_of_its_dearest_member(family: tuple[str, ...], n_forward: int) -> None:
    """AZ-NAS runs one pass to find its features, one to measure them and one to send gradients through them."""
    network = NETWORKS["NB201 cell"]()
    n_passes = 0

    def count(module: nn.Module, arguments: object) -> None:
        nonlocal n_passes
        n_passes += 1

    network.register_forward_pre_hook(count)
    assert all(isinstance(outcome, float) for outcome in outcomes(named(family), network, IMAGES, CLASSES))
    assert n_passes == n_forward


@pytest.mark.parametrize(("names", "n_expected"), [(GRADIENTS[:4], 1), (GRADIENTS[4:], 1), (GRADIENTS, 2)])
def test_the_loss_and_the_logits_are_sent_back_once_each(
    names: tuple[str, ...], n_expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_passes = 0
    real = torch.autograd.grad

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_passes
        n_passes += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", count)
    outcomes(named(names), NETWORKS["NB201 cell"](), IMAGES, CLASSES)
    assert n_passes == n_expected


def test_without_labels_those_that_need_none_are_scored() -> None:
    network = convolutional()
    found = outcomes(named(GRADIENTS), network, IMAGES)
    assert found[4] == by_name("jacob_cov").outcome(network, IMAGES)
    for name, outcome in zip(GRADIENTS, found, strict=True):
        if name != "jacob_cov":
            needs = f"The estimator '{name}' needs the class of each image; pass targets of shape (n,)."
            assert outcome == Invalid(FailureKind.UNFIT, f"{name}: {needs}")


def test_the_same_estimator_twice_and_none_at_all() -> None:
    network = convolutional()
    snip = by_name("snip")
    assert outcomes([snip, snip], network, IMAGES, CLASSES) == alone([snip, snip], network)
    assert outcomes([], network, IMAGES, CLASSES) == []


def _crowded(network: nn.Module, inputs: Tensor, targets: Tensor | None, parts: tuple[int, ...]) -> tuple[int, ...]:
    """Fails for more than two."""
    if len(parts) > 2:
        raise MemoryError("too much at once")
    return parts


def _one_of(part: int, shown: tuple[int, ...]) -> float:
    if part == 2 and len(shown) > 1:
        raise CaptureError("a pass failed")
    if part == 3:
        raise ZeroDivisionError("always")
    return float(part)


@pytest.mark.parametrize("parts", [(1, 2), (2, 1), (1, 3), (1, 2, 3), (3, 2, 1, 4)])
def test_whoever_fails_in_company_is_asked_alone(parts: tuple[int, ...]) -> None:
    """2 fails only beside another and 3 always; more than two at once fail together."""
    readings = [Reading(_crowded, part, partial(_one_of, part)) for part in parts]
    naswot = by_name("naswot")
    mine = [replace(naswot, name=f"mine_{one.part}", reading=one, function=one.alone) for one in readings]
    network = convolutional()
    found = outcomes(mine, network, IMAGES)
    assert found == alone(mine, network)
    for part, outcome in zip(parts, found, strict=True):
        if part == 3:
            assert isinstance(outcome, Invalid)
            assert outcome.kind is FailureKind.NETWORK
            assert outcome.detail.startswith("mine_3: The estimator 'mine_3' could not score Sequential")
        else:
            assert outcome == part
