"""The digest of a network: equal in every process, and another whenever something that can be read is another."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eznas.spaces.content import module_digest


class Scaled(nn.Module):
    """Has everything a digest reads: parameters, buffers, plain attributes, functions, objects."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.again = self.layer
        self.register_buffer("shift", torch.zeros(4))
        self.scale = 0.5
        self._hidden = [1, {"a": (2, None)}]
        self.table = np.arange(3)
        self.loose = torch.ones(2)
        self.activation: Callable[[Tensor], Tensor] = F.relu
        self.part = functools.partial(F.softmax, dim=1)
        self.chosen = {"b", "a", "c"}
        self.config = Config(3)
        self.slotted = Slotted(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.layer(x)) * self.scale


class Config:
    def __init__(self, width: int) -> None:
        self.width = width


@dataclass(frozen=True, slots=True)
class Slotted:
    width: int


class Other(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.layer(x)) + self.scale


def scaled(kind: type[Scaled] = Scaled) -> Scaled:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind()


@torch.no_grad()
def add_to(tensor: Tensor) -> None:
    tensor += 1e-6


def change(name: str, value: object) -> Callable[[Scaled], object]:
    return lambda network: setattr(network, name, value)


CHANGES: dict[str, Callable[[Scaled], object]] = {
    "a value": lambda network: add_to(network.layer.weight),
    "a buffer": lambda network: add_to(network.shift),  # type: ignore[arg-type]
    "a type": lambda network: network.double(),
    "a frozen parameter": lambda network: network.layer.weight.requires_grad_(False),
    "a number": change("scale", 0.25),
    "a kind of number": change("scale", 1),
    "a private attribute": lambda network: network._hidden.append(3),
    "deep inside": lambda network: network._hidden[1].update(a=(2, 0)),  # type: ignore[attr-defined]
    "an array": change("table", np.arange(3) + 1),
    "a tensor that is no buffer": change("loose", torch.zeros(2)),
    "a function": change("activation", F.gelu),
    "a function of one's own": change("activation", lambda x: x),
    "an argument": change("part", functools.partial(F.softmax, dim=2)),
    "a set": change("chosen", {"b", "a"}),
    "an object": change("config", Config(4)),
    "an object with slots": change("slotted", Slotted(4)),
    "a new attribute": change("extra", None),
    "evaluation mode": lambda network: network.eval(),
    "a stride": lambda network: setattr(network.layer, "stride", (2, 2)),
    "a new layer": change("more", nn.ReLU()),
    "two layers instead of one twice": change("again", copy.deepcopy(scaled().layer)),
    "a hook": lambda network: network.register_forward_hook(lambda module, inputs, output: output * 2),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_gives_another_digest(what: str) -> None:
    before, network = module_digest(scaled()), scaled()
    assert module_digest(network) == before
    CHANGES[what](network)
    assert module_digest(network) != before


def test_equal_networks_have_one_digest() -> None:
    network = scaled()
    digest = module_digest(network)
    assert len(digest) == 32
    assert module_digest(copy.deepcopy(network)) == digest
    network(torch.ones(2, 3, 8, 8)).sum().backward()  # gradients are no part of it
    assert module_digest(network) == digest


def test_another_forward_of_the_same_layers_is_another_network() -> None:
    assert module_digest(scaled(Other)) != module_digest(scaled())


SOURCE = """
import torch
from torch import nn

def constant(k):
    return lambda x: x * k

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(4, 2)
        self.words = {"x", "y", "z", "w"}
        self.f = constant(3)
        self.thing = object()

    def forward(self, x):
        return self.f(self.layer(x))
"""


DIGESTS = """
import importlib, json, os, sys
sources, has_source = json.loads(sys.argv[1])
from eznas.spaces.content import module_digest
for source in sources:
    sys.stdout.flush()
    if not os.fork():  # each in a process that knows no other
        names = {"__name__": "nets"}
        if has_source:
            open("nets.py", "w").write(source)
            sys.path.insert(0, os.getcwd())
            names = vars(importlib.import_module("nets"))
        else:
            exec(source, names)
        print(module_digest(names["Net"]()), flush=True)
        os._exit(0)
    os.wait()
"""


def digests_elsewhere(sources: list[str], folder: Path, has_source: bool) -> list[str]:
    folder.mkdir()
    command = [sys.executable, "-B", "-c", DIGESTS, json.dumps([sources, has_source])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


VARIANTS = (
    ("", ""),
    ("x * k", "x - k"),
    ("self.f(self.layer(x))", "self.layer(self.f(x))"),
    ("constant(3)", "constant(4)"),
)


@pytest.mark.parametrize("has_source", [True, False])
def test_every_process_gives_the_same_digest(tmp_path: Path, has_source: bool) -> None:
    """Of a class in a file, and of one without source, which is read by its code."""
    sources = [SOURCE.replace(old, new) if old else SOURCE for old, new in VARIANTS]
    first, again = (digests_elsewhere(sources[:n], tmp_path / str(n), has_source) for n in (1, len(sources)))
    assert first == again[:1]
    assert len(set(again)) == len(sources)


def test_what_cannot_be_read_leaves_the_rest() -> None:
    def meta(width: int) -> nn.Module:
        with torch.device("meta"):
            return nn.Sequential(nn.Linear(2, width), nn.ReLU())

    assert module_digest(meta(3)) == module_digest(meta(3)) != module_digest(meta(4))
    lazy = nn.LazyLinear(3)
    assert module_digest(lazy) == module_digest(nn.LazyLinear(3)) != module_digest(nn.LazyLinear(4))

    class Odd(nn.Module):
        def extra_repr(self) -> str:
            raise RuntimeError("no")

    odd = Odd()
    odd.sparse = torch.eye(2).to_sparse()  # type: ignore[assignment]
    odd.me = [odd]  # type: ignore[assignment]
    assert len(module_digest(odd)) == 32


def test_traced_graphs_are_read_by_their_code() -> None:
    def graph(factor: float) -> nn.Module:
        class Plain(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x * factor

        return torch.fx.symbolic_trace(Plain())

    assert module_digest(graph(2.0)) == module_digest(graph(2.0)) != module_digest(graph(3.0))


def test_deep_networks_are_read_to_their_end() -> None:
    def nested(depth: int, width: int) -> nn.Module:
        network: nn.Module = nn.Linear(2, width)
        for _ in range(depth):
            network = nn.Sequential(network)
        return network

    assert module_digest(nested(120, 3)) != module_digest(nested(120, 4))
