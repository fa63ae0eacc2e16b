"""The contract of a search space, checked on a sample of its architectures."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eznas.randomness import stream
from eznas.spaces import KEEP, Architecture, SearchSpace, SpaceSettings


def check_space(
    space: SearchSpace[Any],
    settings: Sequence[SpaceSettings] = (),
    *,
    n: int = 6,
    input_size: int = 8,
    n_channels: int = 3,
    seed: int = 0,
    mutates: bool = True,
) -> None:
    """Check that a search space keeps its promises.

    Architectures are sampled; each must be found again by its text, have a digest of its own, build the same network
    from the same seed (and only then), as large as its counts say, without touching a global generator; edits stay in
    the space and change it; what it says of functions and levels is plain data; settings survive JSON, and the space a
    journey to another process.

    Args:
        space: a row of `eznas.spaces.SPACES`, or your own.
        settings: to build networks under; the defaults of the space if there are none.
        n: architectures.
        input_size: height and width of images the networks take, in pixels.
        n_channels: of these images.
        seed: of the sample.
        mutates: whether the space knows how to change an architecture.

    Raises:
        AssertionError: if a promise is broken; says which, and for which architecture.
        EznasError: if a function of the space refuses what the space itself gave.
    """
    chosen = [*settings] or [space.settings()]
    _check_settings(space, chosen)
    archs = _check_sample(space, n, seed)
    for arch in archs:
        _check_description(space, arch)
        if mutates:
            _check_edits(space, arch, seed)
    digests = {space.digest(arch) for arch in archs}
    _hold(len(digests) == len(archs), space, f"gives {len(archs)} architectures {len(digests)} digests")
    for given in chosen:
        for arch in archs:
            _check_network(space, arch, given, (2, n_channels, input_size, input_size))


def _check_settings(space: SearchSpace[Any], settings: Sequence[SpaceSettings]) -> None:
    for given in [*settings, *([] if space.full is None else [space.full])]:
        _hold(isinstance(given, space.settings), space, f"takes {space.settings.__name__}, not {type(given).__name__}")
        again = space.settings.model_validate(json.loads(given.model_dump_json()))
        _hold(again == given, space, f"has settings that JSON changes from {given!r} to {again!r}")
        _hold(hash(given) == hash(again), space, "has settings that are not frozen")
    # safe: it reads back only what it wrote a moment ago
    travelled = pickle.loads(pickle.dumps(space))
    _hold(travelled.name == space.name, space, "does not survive pickle")


def _check_sample(space: SearchSpace[Any], n: int, seed: int) -> tuple[Architecture, ...]:
    archs, again, other = (space.sample(stream(s, "testing", space.name), n) for s in (seed, seed, seed + 1))
    _hold(len(archs) == len(set(archs)) == n, space, f"was asked for {n} distinct architectures and gave {archs}")
    _hold(archs == again, space, f"samples {archs} and then {again} from one seed")
    _hold(archs != other, space, f"samples {archs} from two seeds")
    return archs


def _check_description(space: SearchSpace[Any], arch: Architecture) -> None:
    found = space.named(arch.spec)
    _hold(found == (arch,), space, f"finds {found} by the text of {arch}")
    if arch.space == space.name and space.index_of is not None:
        index = space.index_of(arch)
        _hold(space.named(str(index)) == (arch,), space, f"finds another architecture than {arch} by its index {index}")
    digest, function, level = space.digest(arch), space.function(arch), space.level(arch)
    is_hexadecimal = len(digest) == 32 and set(digest) <= set("0123456789abcdef")
    _hold(is_hexadecimal, space, f"gives {arch} the digest {digest!r}, not 32 hexadecimal digits")
    _hold(space.digest(arch) == digest, space, f"gives {arch} two digests")
    _hold(isinstance(function, str) and space.function(arch) == function, space, f"names no function of {arch}")
    _hold(level is None or (type(level) is int and level >= 0), space, f"gives {arch} the level {level!r}")


def _check_edits(space: SearchSpace[Any], arch: Architecture, seed: int) -> None:
    rngs = [stream(s, "testing", "edits", arch.spec) for s in (seed, seed)]
    walks = []
    for rng in rngs:
        walk, here = [], arch
        for _ in range(8):
            after = space.mutate(here, rng)
            _hold(after != here, space, f"changes nothing of {here}")
            _hold(space.named(after.spec) == (after,), space, f"leaves itself from {here}, with {after}")
            walk.append(after)
            here = after
        walks.append(walk)
    _hold(walks[0] == walks[1], space, f"changes {arch} in two ways from one seed")


def _check_network(
    space: SearchSpace[Any], arch: Architecture, settings: SpaceSettings, shape: tuple[int, int, int, int]
) -> None:
    before = _generators()
    network, again, other = (space.build(arch, settings, seed) for seed in (3, 3, 4))
    _hold(_generators() == before, space, f"draws {arch} from a global generator")
    state = network.state_dict()
    _hold(_equal(state, again.state_dict()), space, f"builds {arch} in two ways from one seed")
    has_drawn = bool(state) and settings.scheme != KEEP
    _hold(not has_drawn or not _equal(state, other.state_dict()), space, f"builds {arch} equal from two seeds")
    _hold(network.training, space, f"builds {arch} in evaluation mode")
    kinds = {(value.device.type, value.dtype) for value in network.parameters()}
    _hold(kinds <= {("cpu", torch.float32)}, space, f"builds {arch} of {kinds}")
    if space.counts is None:
        return
    found = space.counts(arch, settings, shape[-1])
    parameters = sum(parameter.numel() for parameter in network.parameters())
    _hold(found.parameters == parameters, space, f"counts {found.parameters} parameters of {parameters} in {arch}")
    performed = _performed(network, shape)
    _hold(found.macs == performed, space, f"counts {found.macs} multiply-accumulates of {performed} in {arch}")


def _performed(network: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """Multiply-accumulates of one image: convolutions without a bias and linear layers with theirs, in a real pass."""
    performed = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal performed
        match module:
            case nn.Conv2d():
                performed += output[0].numel() * module.weight[0].numel()
            case nn.Linear():
                performed += (module.in_features + (module.bias is not None)) * module.out_features

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with torch.no_grad():
        network(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return performed


def _equal(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return state.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in state.items())


def _generators() -> tuple[object, ...]:
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (the global state is what is being watched)
    return random.getstate(), repr(numpy_state), torch.get_rng_state().tolist()


def _hold(is_kept: bool, space: SearchSpace[Any], problem: str) -> None:
    if not is_kept:
        raise AssertionError(f"The search space {space.name!r} {problem}.")
