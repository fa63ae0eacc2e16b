"""Arrays and lists are as good as tensors, for whatever scores a network; pixels are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eznas.conditions import Conditions, as_inputs, as_targets
from eznas.errors import ConfigError
from eznas.estimators import PUBLISHED, by_name
from eznas.fitness.aggregation import sorted_reference
from eznas.programs import parse
from eznas.proxies import ProgramProxy, RankAggregate, Reference
from eznas.spaces import nb201

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 1, 0, 2, 1, 4])
UNLABELLED = ProgramProxy(name="unlabelled", program=parse("(sum_layers (mean_abs weight_grad.noise))"), units="all")
LABELLED = ProgramProxy(name="labelled", program=parse("(sum_layers (mean_abs weight_grad.labelled))"), units="all")


def aggregate() -> RankAggregate:
    conditions = Conditions(settings=nb201.Settings(channels=4)).given(IMAGES, CLASSES)
    reference = Reference(
        networks="three", space="nb201", digest="", conditions=conditions,
        scores=sorted_reference(np.array([[0.0, 1e-3, 1e3], [1.0, 2.0, 3e5]])),
    )  # fmt: skip
    return RankAggregate(
        name="both", members=(LABELLED, by_name("snip")), weights=(1.0, 1.0), mode="log_rank", reference=reference
    )


PROXIES = (*PUBLISHED, UNLABELLED, LABELLED, aggregate())
EACH = pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)


@pytest.fixture
def network() -> nn.Module:
    made = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)),
        *(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    return made


def frozen(tensor: Tensor) -> np.ndarray:
    array = tensor.numpy().copy()
    array.setflags(write=False)
    return array


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "array": Tensor.numpy,
    "array that cannot be written": frozen,
    "array of steps": lambda tensor: np.flip(np.flip(tensor.numpy(), 0).copy(), 0),
    "list": Tensor.tolist,
    "list of tensors": list,
    "list of arrays": lambda tensor: [row.numpy() for row in tensor],
}


@EACH
def test_arrays_and_lists_score_as_tensors(proxy: Any, network: nn.Module) -> None:
    expected = proxy.score(network, IMAGES, CLASSES)
    for name, form in FORMS.items():
        assert proxy.score(network, form(IMAGES), form(CLASSES)) == expected, name


def test_double_precision_becomes_single_unless_it_is_a_tensors() -> None:
    assert as_inputs(IMAGES.double().numpy()).dtype == torch.float32
    assert as_inputs(IMAGES.double()).dtype == torch.float64
    assert as_targets(None) is None


@EACH
@pytest.mark.parametrize("pixels", [(IMAGES * 50).abs().to(torch.uint8), IMAGES > 0], ids=["bytes", "truth values"])
def test_pixels_are_refused_in_one_sentence(proxy: Any, pixels: Tensor, network: nn.Module) -> None:
    for batch in (pixels, pixels.numpy()):
        with pytest.raises(ConfigError, match=r"^The images must be floating point .*, got torch\.(uint8|bool); pass "):
            proxy.outcome(network, batch, CLASSES)


@pytest.mark.parametrize("batch", [[[1.0], [2.0, 3.0]], "images", [object()], {"x": 1}, [torch.ones(2), torch.ones(3)]])
def test_what_is_no_array_is_refused_in_one_sentence(batch: Any, network: nn.Module) -> None:
    for proxy in (by_name("naswot"), UNLABELLED, aggregate()):
        with pytest.raises(ConfigError, match=r"^The images must be a tensor or an array of shape"):
            proxy.outcome(network, batch, CLASSES)
