"""Estimators that break a promise are caught, and told which."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.errors import CaptureError
from eznas.estimators import Estimator, by_name
from eznas.testing import check_estimator

Function = Callable[[nn.Module, Tensor, Tensor | None], float]


def total(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum of the magnitudes of all parameters."""
    return float(sum(parameter.detach().abs().sum() for parameter in network.parameters()))


OWN = replace(by_name("l2_norm"), name="total", function=total, source="made up")


def test_ones_own_estimator() -> None:
    check_estimator(OWN)
    check_estimator(OWN, {"my network": nn.Sequential(nn.Flatten(), nn.Linear(192, 5))})


def test_a_reading_of_another_function_is_caught() -> None:
    naswot = by_name("naswot")
    with pytest.raises(AssertionError, match=r"'mine' gives .* \d+\.\d+, and \[.*\] in company"):
        check_estimator(replace(naswot, name="mine", function=total, needs_images=False, passes="none", cost=0))


def left_behind(network: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> float:
    """Sum of the magnitudes of the logits, weighted on the processor."""
    logits = network(inputs)
    return float((logits.detach().abs() * torch.ones(logits.shape)).sum())


def test_a_tensor_that_is_left_behind_is_caught() -> None:
    row = replace(by_name("naswot"), name="mine", function=left_behind, reading=None)
    with pytest.raises(AssertionError, match=r"on another device, as on a graphics processor"):
        check_estimator(row)


def constant(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Nothing at all."""
    return float("nan")


def no_float(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """A tensor."""
    return torch.tensor(1.0)  # type: ignore[return-value]


def refusing(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """A failure of two lines."""
    raise CaptureError("first\nsecond")


def drawing(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """A number from a global generator."""
    return float(torch.rand(()))


def drawing_of_numpy(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Another."""
    return float(np.random.rand())  # noqa: NPY002


def seeding(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """The same number each time, at the expense of the next user."""
    random.seed(0)
    return random.random()


N_CALLS = [0]


def counting(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Another number each time."""
    N_CALLS[0] += 1
    return float(N_CALLS[0])


def scaling(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Changes a weight."""
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    return 1.0


def replacing(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Puts an equal parameter in the place of another."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().clone())
    return 1.0


def normalising(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Updates running statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 1  # type: ignore[operator]
    return 1.0


def training(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Leaves train mode on."""
    network.train()
    return 1.0


def freezing(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Thaws all weights."""
    network.requires_grad_(True)
    return 1.0


def clearing(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Clears gradients."""
    network.zero_grad()
    return 1.0


def hooking(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Leaves a hook."""
    network.register_forward_hook(lambda module, arguments, output: None)
    return 1.0


def painting(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Changes the images."""
    inputs.zero_()
    return 1.0


def relabelling(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Changes the classes."""
    if targets is not None:
        targets.zero_()
    return 1.0


def by_mode(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Depends on the mode."""
    return float(network.training)


def by_gradient_mode(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Depends on the caller's gradient mode."""
    return float(torch.is_grad_enabled())


def looking(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Looks at the images."""
    return float(inputs.sum())


def reading(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Looks at the classes, if there are any."""
    return 0.0 if targets is None else 1.0


@pytest.mark.parametrize("function", [drawing, drawing_of_numpy, seeding])
def test_what_an_estimator_draws_is_its_own(function: Function) -> None:
    """It cannot break the promise: its outcome draws from generators of its own, the same each time."""
    made, network = replace(OWN, function=function), nn.Linear(3, 2)
    before = torch.get_rng_state()
    outcomes = [made.outcome(network, torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (constant, "scores no network: .*total is nan"),
        (no_float, r"no finite float"),
        (refusing, "scores no network: .*'total: first second'"),
        (counting, r"gives a network with dropout and a shortcut \d+\.0 and then \d+\.0"),
        (scaling, "leaves a network with dropout and a shortcut with another value of 'stem.weight'"),
        (replacing, "with another object under the name 'classifier.weight'"),
        (normalising, "with another value of 'norm.running_mean'"),
        (training, "with another mode of the whole"),
        (freezing, "with another requires_grad of 'norm.weight'"),
        (clearing, "with another gradient of 'stem.weight'"),
        (hooking, "with another list of hooks of the whole"),
        (painting, "changes the images that"),
        (relabelling, "changes the classes that"),
        (by_mode, r"after network.train\(True\)"),
        (by_gradient_mode, r"after network.train\(False\)"),
        (looking, "needs no images, but gives"),
        (reading, "needs no classes, but gives"),
    ],
)
def test_a_broken_function_is_caught(function: Function, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^The estimator 'total' .*{message}"):
        check_estimator(replace(OWN, function=function))


def one_pass(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    """Logits of noise do not matter here, only that the network is run."""
    return by_name("mac_count").function(network, inputs, targets)


def local() -> Function:
    def function(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
        """Cannot be found by its name."""
        return total(network, inputs)

    return function


def untitled(network: nn.Module, inputs: Tensor, targets: Tensor | None) -> float:
    return total(network, inputs)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(OWN, name="a, b"), "has a name that is no identifier"),
        (replace(OWN, title=""), "has '' among its texts"),
        (replace(OWN, source="two\nlines"), r"has 'two\\nlines' among its texts"),
        (replace(OWN, direction=0), "has the direction 0, neither 1 nor -1"),
        (replace(OWN, cost=float("nan")), "costs nan forward passes"),
        (replace(OWN, needs_gradients=True), "contradicts itself on gradients: none"),
        (replace(OWN, function=untitled), "begins its documentation with ''"),
        (replace(OWN, function=local()), "cannot travel to another process"),
        (replace(OWN, function=one_pass), r"takes \d passes of a network with dropout and a shortcut, not none"),
        (replace(OWN, passes="1 forward"), "takes 0 passes of a network with dropout and a shortcut, not 1 forward"),
        (replace(OWN, needs_targets=True), "asks for classes of images that change nothing"),
    ],
)
def test_a_broken_row_is_caught(broken: Estimator, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^The estimator .*{message}"):
        check_estimator(broken)
