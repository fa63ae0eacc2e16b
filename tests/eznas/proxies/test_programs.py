"""Estimators that the language can express: the program gives what the direct definition gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import CaptureError
from eznas.estimators import by_name
from eznas.evaluation import ShardExecutor, evaluate, make_plan
from eznas.programs import Invalid, parse
from eznas.proxies import KNOWN_PROGRAMS, ProgramProxy
from eznas.spaces import build_network, nb201
from eznas.statistics import capture, pack

AS_PROGRAMS = [known for known in KNOWN_PROGRAMS.values() if known.equals is not None]
EACH = pytest.mark.parametrize("known", AS_PROGRAMS, ids=lambda known: known.name)
IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 3, 3, 1, 0, 9, 3, 1])
"""Of eight images: one class of one, two of two, one of three."""


class Grouped(nn.Module):
    """Biases, groups, dilation, oblong kernels, an activation in place, and a linear layer of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (3, 5), padding=(1, 2))
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4, dilation=2, bias=False)
        self.tokens = nn.Linear(12, 6)
        self.classifier = nn.Linear(6, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.stem(images)))
        x = torch.relu(self.grouped(x)).flatten(2).mT  # (batch, tokens, channels)
        logits: Tensor = self.classifier(F.relu(self.tokens(x)).mean(dim=1))
        return logits


def _networks() -> dict[str, nn.Module]:
    settings = nb201.Settings(scheme="default")
    cells = {f"nb201 {i}": build_network(nb201.from_index(i), settings, seed=i) for i in (0, 6111)}
    torch.manual_seed(3)
    return {**cells, "grouped": Grouped()}


NETWORKS = _networks()


def of_program(known: ProgramProxy, network: nn.Module, targets: Tensor = CLASSES) -> float | Invalid:
    assert known.units is not None
    shown = capture(
        network, IMAGES, seed=0, statistics=known.program.captured_statistics, targets=targets, units=known.units
    )
    outcome = evaluate(known.program, shown)
    if not isinstance(outcome, Invalid):
        assert ShardExecutor(pack([shown])).run(make_plan([known.program]))[0, 0] == pytest.approx(outcome, rel=1e-6)
    return outcome


@EACH
@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_is_the_direct_definition(known: ProgramProxy, name: str) -> None:
    network = NETWORKS[name]
    assert known.equals is not None
    direct = by_name(known.equals)(network, IMAGES, CLASSES)
    assert of_program(known, network) == pytest.approx(direct, rel=2e-5)
    assert known.score(network, IMAGES, CLASSES) == of_program(known, network)


@EACH
def test_it_has_the_direction_of_the_estimator(known: ProgramProxy) -> None:
    assert known.equals is not None
    assert known.direction == by_name(known.equals).direction
    assert known.program.needs_classes == by_name(known.equals).needs_targets


def test_the_second_form_of_epe_nas_is_a_program_too() -> None:
    """On a network of 120 classes."""
    network = build_network(nb201.from_index(6111), nb201.Settings(n_classes=120), seed=2)
    text = KNOWN_PROGRAMS["epe_nas_program"].program.text.replace("class_separation", "class_separation_spread")
    program = parse(text)
    shown = capture(network, IMAGES, seed=0, statistics=program.captured_statistics, targets=CLASSES * 12, units="all")
    assert evaluate(program, shown) == pytest.approx(by_name("epe_nas")(network, IMAGES, CLASSES * 12), rel=1e-4)


def test_naswot_over_units_is_naswot_where_every_relu_leads_to_a_convolution() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 10, 3),
        nn.BatchNorm2d(10), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    known = KNOWN_PROGRAMS["naswot_units"]
    assert of_program(known, network) == pytest.approx(by_name("naswot")(network, IMAGES), rel=1e-6)


@pytest.mark.parametrize("known", [known for known in AS_PROGRAMS if known.program.needs_classes], ids=lambda k: k.name)
def test_classes_that_lack_or_do_not_exist_are_refused_in_a_sentence(known: ProgramProxy) -> None:
    network = NETWORKS["nb201 0"]
    if known.program.captured_statistics == ("convolution_input_grad.data",):
        return  # reads which images share a class, whatever its number
    with pytest.raises(CaptureError, match=r"needs the class of each image; pass targets of shape"):
        capture(network, IMAGES, seed=0, statistics=known.program.captured_statistics)
    with pytest.raises(CaptureError, match=r"Class 10 is none of a network with 10 logits: expected 0 to 9"):
        of_program(known, network, CLASSES + 1)
