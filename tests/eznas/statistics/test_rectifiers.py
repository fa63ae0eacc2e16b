"""One function has one score, however its ReLU is written; what is none is not taken for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import UnfitError
from eznas.estimators import by_name, naswot, relu_count
from eznas.programs import FailureKind, Invalid, parse
from eznas.proxies import ProgramProxy, Proxy
from eznas.statistics.tracing import run_probe

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
PROGRAMS = (
    "(sum_layers (frobenius_norm activation_input.data))",
    "(sum_layers (mean_abs activation_input_grad.noise))",
    "(log_abs_determinant (sum_layers (agreement_kernel activation_input.data)))",
    "unit_count",
)
PROXIES: tuple[Proxy, ...] = (
    *(ProgramProxy(name=text, program=parse(text)) for text in PROGRAMS),
    *map(by_name, ("naswot", "relu_count", "linear_regions", "swap")),
)
Activation = Callable[[Tensor], Tensor]


def assigned(x: Tensor) -> Tensor:
    x = x * 1
    x[x < 0] = 0
    return x


def filled_in_place(x: Tensor) -> Tensor:
    x = x * 1
    return x.masked_fill_(x <= 0, 0.0)


def multiplied_in_place(x: Tensor) -> Tensor:
    x = x * 1
    x *= x > 0
    return x


RELUS: dict[str, Activation] = {
    "clamp": lambda x: x.clamp(min=0),
    "clamp by position": lambda x: torch.clamp(x, 0.0),
    "clamp in place": lambda x: (x * 1).clamp_(min=0),
    "clamp by a tensor": lambda x: torch.clamp(x, min=torch.tensor(0.0)),
    "clip": lambda x: torch.clip(x, min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min in place": lambda x: torch.clamp_min_(x * 1, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum of a number": lambda x: torch.maximum(torch.tensor(0.0), x),
    "maximum as a method": lambda x: x.maximum(x.new_zeros(1)),
    "max": lambda x: torch.max(x, torch.zeros(1)),
    "fmax": lambda x: torch.fmax(x, torch.zeros(())),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where with zeros": lambda x: torch.where(x >= 0, x, torch.zeros_like(x)),
    "where reversed": lambda x: torch.where(x < 0, torch.tensor(0.0), x),
    "where from the right": lambda x: torch.where(0 < x, x, 0.0),  # noqa: SIM300
    "where as a method": lambda x: x.where(x > 0, torch.tensor(0.0)),
    "where not": lambda x: torch.where(~(x > 0), 0.0, x),
    "where detached": lambda x: torch.where(x.detach() > 0, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "masked_fill in place": filled_in_place,
    "assignment": assigned,
    "threshold": lambda x: F.threshold(x, 0, 0),
    "threshold as a module": nn.Threshold(0, 0),
    "threshold in place": lambda x: F.threshold(x * 1, 0, 0, inplace=True),
    "mask": lambda x: x * (x > 0),
    "mask first": lambda x: (x > 0) * x,
    "mask of numbers": lambda x: x * (x > 0).float(),
    "mask of its type": lambda x: x.mul((x >= 0).to(x.dtype)),
    "mask like it": lambda x: x * (x.data > 0).type_as(x),
    "mask in place": multiplied_in_place,
    "step": lambda x: x * torch.heaviside(x.detach(), torch.zeros(1)),
}
RELU6S: dict[str, Activation] = {
    "clamp": lambda x: x.clamp(0, 6),
    "clamp by name": lambda x: torch.clamp(x, max=6.0, min=0.0),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "hardtanh as a module": nn.Hardtanh(0.0, 6.0, inplace=True),
}


class Network(nn.Module):
    """Three convolutions, two of them units: activation, convolution, normalisation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 6), (6, 6), (6, 4)))
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (6, 6, 4))
        self.head = nn.Linear(4, 5)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activation(norm(convolution(x)))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        *(pytest.param(F.relu, activation, id=f"relu: {name}") for name, activation in RELUS.items()),
        *(pytest.param(F.relu6, activation, id=f"relu6: {name}") for name, activation in RELU6S.items()),
    ],
)
def test_the_same_function_has_the_same_score(plain: Activation, written: Activation) -> None:
    expected, found = Network(plain), Network(written)
    assert relu_count(expected, IMAGES) == 3
    assert torch.equal(expected(IMAGES), found(IMAGES))
    assert len(run_probe(expected, IMAGES, units="convolutional").units) == 2
    for proxy in PROXIES:
        assert proxy.score(found, IMAGES) == pytest.approx(proxy.score(expected, IMAGES), rel=1e-6), proxy.name


def stale(x: Tensor) -> Tensor:
    """The mask is of what `x` was before."""
    x = x * 1
    mask = x > 0
    x.add_(1)
    return x * mask


OTHERS: dict[str, Activation] = {
    "clamp elsewhere": lambda x: x.clamp(min=-1),
    "clamp above": lambda x: x.clamp(max=0),
    "threshold elsewhere": lambda x: F.threshold(x, 0.5, 0),
    "threshold to another value": lambda x: F.threshold(x, 0, -1),
    "maximum of two": lambda x: torch.maximum(x, x.roll(1, 0)),
    "max over an axis": lambda x: x + x.max(1, keepdim=True)[0],
    "mask of another": lambda x: x * (x.roll(1, 0) > 0),
    "mask above one": lambda x: x * (x > 1),
    "negative part": lambda x: x * (x < 0),
    "where of another": lambda x: torch.where(x.roll(1, 0) > 0, x, 0.0),
    "where with another value": lambda x: torch.where(x > 0, x, -1.0),
    "mask of what it was": stale,
    "clamp of a mean": lambda x: x * x.mean().clamp(min=0),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_functions_are_not_taken_for_one(other: Activation) -> None:
    assert relu_count(Network(other), IMAGES) == 0
    outcome = by_name("naswot").outcome(Network(other), IMAGES)
    assert isinstance(outcome, Invalid)
    assert outcome.kind is FailureKind.UNFIT
    assert "Network calls no activation that can be seen" in outcome.detail


def test_a_clamp_of_a_parameter_is_no_activation() -> None:
    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.weight = Network(F.relu), nn.Parameter(torch.randn(3, 3, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(F.conv2d(x, self.weight.clamp(min=0)))
            return out

    assert relu_count(Positive(), IMAGES) == 3


def test_the_kept_part_of_a_mask_has_the_gradient_of_one_consumer() -> None:
    """The node is read by an activation and by a shortcut; what is recorded flows back through the activation alone."""

    class Fork(nn.Module):
        def __init__(self, activation: Activation) -> None:
            super().__init__()
            self.activation = activation
            self.stem, self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.joined(x, x)

        def joined(self, here: Tensor, there: Tensor) -> Tensor:
            return (here.exp() + self.norm(self.conv(self.activation(there)))).square().sum((2, 3))

    expected = Fork(F.relu)
    with torch.no_grad():
        node = expected.stem(IMAGES)
    there = node.clone().requires_grad_()
    (by_hand,) = torch.autograd.grad(expected.joined(node, there).sum(), [there])
    for name in ("where", "mask", "maximum", "clamp", "assignment"):
        twin = Fork(RELUS[name])
        twin.load_state_dict(expected.state_dict())
        (found,) = run_probe(twin, IMAGES, units="convolutional").units
        torch.testing.assert_close(found["activation_input_grad"], by_hand)


def test_naswot_names_the_shape_of_a_relu_without_the_batch_first() -> None:
    network = Network(lambda x: x.transpose(0, 1).clamp(min=0).transpose(0, 1))
    with pytest.raises(UnfitError, match=r"activation of Network sees a tensor of shape \(6, 5, 8, 8\) .* needs the"):
        naswot(network, IMAGES[:5])
