"""The contract of an estimator, checked on small networks that make it hard to keep."""

from __future__ import annotations

import copy
import math
import pickle
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.errors import EznasError
from eznas.estimators import Estimator, outcomes
from eznas.programs import Invalid
from eznas.randomness import torch_stream
from eznas.testing.devices import pretended_device

N_IMAGES: Final = 6
SHAPE: Final = (3, 8, 8)
"""Channels, height and width of the images that networks must take."""
CLOSE: Final = 1e-5
"""Relative and absolute difference of scores that agree up to rounding."""
N_CLASSES: Final = 5
"""Logits that networks must give."""


def check_estimator(estimator: Estimator, networks: Mapping[str, nn.Module] | None = None) -> None:
    """Check that an estimator keeps its promises.

    It is scored on six images of 3x8x8, on the processor. Its outcome must be a finite number or an `Invalid` that says
    why there is none, the same a second time, in either mode of the network and in any state of the global generators,
    which stay as they are, as do the network (parameters, buffers, gradients, modes, hooks), the images and their
    classes; what its row says it does not need does not matter; what it reads in company (`Estimator.reading`) gives
    the same outcome; on another device (`pretended_device`) it is the same; it survives the journey to another process.

    Args:
        estimator: a row of `eznas.estimators.PUBLISHED`, or your own.
        networks: your own by name, beside those of the contract; from (6, 3, 8, 8) images to (6, 5) logits.

    Raises:
        AssertionError: if a promise is broken; says which, and for which network.
    """
    _check_row(estimator)
    shown = {**_networks(), **(networks or {})}
    outcomes = {name: _check_network(estimator, name, network) for name, network in shown.items()}
    scored = any(isinstance(outcome, float) for outcome in outcomes.values())
    _hold(scored, estimator, f"scores no network: {next(iter(outcomes.values()))}")
    for name, network in shown.items():
        _check_needs(estimator, name, network, outcomes[name])
    if estimator.needs_targets:
        others = [_outcome(estimator, name, network, _images(0), _classes(1)) for name, network in shown.items()]
        _hold(others != [*outcomes.values()], estimator, "asks for classes of images that change nothing")


def _check_row(estimator: Estimator) -> None:
    name = estimator.name
    _hold(name.isidentifier(), estimator, "has a name that is no identifier, so lists cannot hold it")
    for text in (estimator.title, estimator.source, estimator.passes):
        _hold(bool(text) and text.isprintable(), estimator, f"has {text!r} among its texts, which is no printable line")
    _hold(estimator.direction in (1, -1), estimator, f"has the direction {estimator.direction}, neither 1 nor -1")
    first = estimator.documentation.partition("\n")[0]
    _hold(first.endswith((".", ":", ",")), estimator, f"begins its documentation with {first!r}, not with a sentence")
    is_finite = math.isfinite(estimator.cost) and estimator.cost >= 0
    _hold(is_finite, estimator, f"costs {estimator.cost} forward passes")
    takes = "backward" in estimator.passes
    _hold(takes == estimator.needs_gradients, estimator, f"contradicts itself on gradients: {estimator.passes}")
    try:
        # safe: it reads back only what it wrote a moment ago
        travelled = pickle.loads(pickle.dumps(estimator))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"The estimator {name!r} cannot travel to another process: {error}.") from error
    _hold(travelled == estimator, estimator, "arrives in another process changed")


def _check_network(estimator: Estimator, name: str, network: nn.Module) -> float | Invalid:
    before, images, targets = _State.of(network), _images(0), _classes(0)
    generators = _generators()
    found = _outcome(estimator, name, network, images, targets)
    _hold(_generators() == generators, estimator, f"draws from a global generator, or seeds one, on {name}")
    changed = before.difference(_State.of(network))
    _hold(not changed, estimator, f"leaves {name} with another {changed}")
    same_images = torch.equal(images, _images(0)) and not images.requires_grad and images.grad is None
    _hold(same_images, estimator, f"changes the images that {name} is shown")
    _hold(torch.equal(targets, _classes(0)), estimator, f"changes the classes that {name} is shown")
    if isinstance(found, Invalid):
        is_line = bool(found.detail) and found.detail.isprintable()
        _hold(is_line, estimator, f"says {found.detail!r} of {name}, which is no printable line")
    else:
        _hold(type(found) is float and math.isfinite(found), estimator, f"gives {name} {found!r}, no finite float")
    kept = _generators()
    _seed_generators()
    try:
        again = _outcome(estimator, name, network, _images(0), _classes(0))
    finally:
        _restore_generators(*kept)
    _hold(again == found, estimator, f"gives {name} {found} and then {again}")
    if estimator.reading is not None:
        shared = outcomes([estimator, estimator], network, _images(0), _classes(0))  # which read what they read once
        _hold(shared == [found, found], estimator, f"gives {name} {found}, and {shared} in company")
    _check_device(estimator, name, network, found)
    modes = [(module, module.training) for module in network.modules()]
    for training in (True, False):
        network.train(training)
        with torch.set_grad_enabled(training):
            other = _outcome(estimator, name, network, _images(0), _classes(0))
        _hold(other == found, estimator, f"gives {name} {found}, and {other} after network.train({training})")
    for module, was_training in modes:
        module.training = was_training
    return found


def _check_device(estimator: Estimator, name: str, network: nn.Module, found: float | Invalid) -> None:
    """What it makes of a network by itself it makes where the network is."""
    with pretended_device() as device:
        there = copy.deepcopy(network).to(device)
        other = _outcome(estimator, name, there, _images(0).to(device), _classes(0).to(device))
    is_same = other == found
    if isinstance(other, float) and isinstance(found, float):
        is_same = math.isclose(other, found, rel_tol=CLOSE, abs_tol=CLOSE)
    _hold(is_same, estimator, f"gives {name} {found}, and {other} on another device, as on a graphics processor")


def _check_needs(estimator: Estimator, name: str, network: nn.Module, found: float | Invalid) -> None:
    if not estimator.needs_images:
        other = _outcome(estimator, name, network, _images(1), _classes(0))
        _hold(other == found, estimator, f"needs no images, but gives {name} {found} for some and {other} for others")
    if not estimator.needs_targets:
        other = _outcome(estimator, name, network, _images(0), None)
        _hold(other == found, estimator, f"needs no classes, but gives {name} {found} with them and {other} without")
    n_passes = 0

    def count(module: nn.Module, arguments: object) -> None:
        nonlocal n_passes
        n_passes += 1

    handle = network.register_forward_pre_hook(count)
    _outcome(estimator, name, network, _images(0), _classes(0))
    handle.remove()
    has_none = estimator.passes == "none"
    _hold(has_none == (n_passes == 0), estimator, f"takes {n_passes} passes of {name}, not {estimator.passes}")


def _outcome(
    estimator: Estimator, name: str, network: nn.Module, images: Tensor, targets: Tensor | None
) -> float | Invalid:
    try:
        return estimator.outcome(network, images, targets)
    except EznasError as error:
        raise AssertionError(
            f"The estimator {estimator.name!r} raises {type(error).__name__} on {name}: {error}"
        ) from error


# ------------------------------------------------------------------------------------------------- what it is shown


def _images(seed: int) -> Tensor:
    return torch.randn(N_IMAGES, *SHAPE, generator=torch_stream(seed, "testing", "images"))


def _classes(seed: int) -> Tensor:
    """Twice the same three, so that there are images of one class to compare; or other ones."""
    return torch.tensor(([0, 1, 0, 1, 0, 1], [0, 0, 0, 1, 3, 3])[seed])


class _Awkward(nn.Module):
    """In-place and functional activations, a shortcut around a normalisation, dropout, and a weight that is unused."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.in_place = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.unused = nn.Conv2d(8, 8, 1)
        self.classifier = nn.Linear(8, N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = x + self.conv(self.in_place(self.norm(x)))
        logits: Tensor = self.classifier(self.dropout(F.relu(x)).mean(dim=(2, 3)))
        return logits


def _networks() -> dict[str, nn.Module]:
    """Networks of many kinds; of each, part is frozen, part is in the other mode, and there is a gradient already."""
    ends = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, N_CLASSES))
    found: dict[str, nn.Module] = {
        "a network with dropout and a shortcut": _Awkward(),
        "a network with random slopes": nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.RReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), *_copies(ends)),
        ),
        "a network without normalisation": nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), *_copies(ends)),
        ),
        "a network without convolutions": nn.Sequential(
            *(nn.Flatten(), nn.Linear(math.prod(SHAPE), 7), nn.GELU(), nn.Linear(7, N_CLASSES)),
        ),
        "a network whose last layer is zero": nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), *_copies(ends)),
        ),
        "a network of four channels": nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), *_copies(ends)),
    }
    for name, network in found.items():
        generator = torch_stream(0, "testing", name)
        parameters = [*network.parameters()]
        with torch.no_grad():
            for parameter in parameters:
                parameter.normal_(0, 0.3, generator=generator)
            if "zero" in name:
                for parameter in parameters[-2:]:
                    parameter.zero_()
        parameters[0].grad = torch.ones_like(parameters[0])
        parameters[1].requires_grad_(False)
        network.eval()
        [*network.modules()][-1].train()
    return found


def _copies(layers: Sequence[nn.Module]) -> list[nn.Module]:
    # safe: it reads back only what it wrote a moment ago
    return [pickle.loads(pickle.dumps(layer)) for layer in layers]


# --------------------------------------------------------------------------------------------------- what must stay


@dataclass(frozen=True, slots=True)
class _State:
    """All that an estimator could change of a network, by a name for people."""

    parts: Mapping[str, Any]

    @classmethod
    def of(cls, network: nn.Module) -> _State:
        parts: dict[str, Any] = {}
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            parts[f"object under the name {name!r}"] = id(tensor)
            parts[f"value of {name!r}"] = tensor.detach().clone()
            parts[f"requires_grad of {name!r}"] = tensor.requires_grad
            parts[f"gradient of {name!r}"] = None if tensor.grad is None else tensor.grad.clone()
        for name, module in network.named_modules():
            where = repr(name) if name else "the whole"
            parts[f"mode of {where}"] = module.training
            parts[f"list of hooks of {where}"] = [
                *(*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks),
            ]
        return cls(parts)

    def difference(self, other: _State) -> str:
        """What differs first, or nothing."""
        for name in dict.fromkeys((*self.parts, *other.parts)):
            one, two = (state.parts.get(name) for state in (self, other))
            if isinstance(one, Tensor) and isinstance(two, Tensor):
                is_same = torch.equal(one, two)
            else:
                is_same = type(one) is type(two) and bool(one == two)
            if not is_same:
                return name
        return ""


def _generators() -> tuple[Any, Any, Any]:
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 (the global state is what is being watched)
    return random.getstate(), (numpy_state[0], tuple(numpy_state[1].tolist()), *numpy_state[2:]), _torch_state()


def _torch_state() -> tuple[int, ...]:
    return tuple(torch.get_rng_state().tolist())


def _seed_generators() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def _restore_generators(python: Any, numpy_state: Any, torch_state: tuple[int, ...]) -> None:
    random.setstate(python)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch.tensor(torch_state, dtype=torch.uint8))


def _hold(is_kept: bool, estimator: Estimator, problem: str) -> None:
    if not is_kept:
        raise AssertionError(f"The estimator {estimator.name!r} {problem}.")
