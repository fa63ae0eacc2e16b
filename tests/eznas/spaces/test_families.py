"""Networks of your own in memory, compiled, scripted, and known by their content."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eznas.errors import ArchitectureError
from eznas.randomness import stream
from eznas.spaces import Architecture, build_network, networks_named, own


class Small(nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(3, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).relu()


def small() -> nn.Module:
    return Small()


def names_of(networks: Any) -> list[str]:
    space = own.space_of(networks)
    return [arch.spec for arch in space.named("all")]


# Families in memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "names"),
    [
        (lambda: {"a": Small(), "b": small}, ["a", "b"]),
        (lambda: [("a", Small()), ["b", small]], ["a", "b"]),
        (lambda: (pair for pair in [("a", Small())]), ["a"]),
        (lambda: [Small(), small, Small(3)], ["0", "1", "2"]),
        (lambda: (Small(), Small(3)), ["0", "1"]),
    ],
)
def test_networks_are_taken_from_mappings_pairs_and_lists(networks: Callable[[], Any], names: list[str]) -> None:
    assert names_of(networks()) == names


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([], "gave no networks"),
        (Small(), r"must give a mapping or \(name, network\) pairs, but it gave Small"),
        ("abc", "but it gave str"),
        (3, "but it gave int"),
        ([("a", Small(), 1)], "must give .* pairs, but it gave tuple"),
        ([Small], "must give .* pairs, but it gave type"),
        ([("a", Small()), ("a", Small())], "for 'a' it names it twice"),
        ({"a": 3}, "for 'a' it gives int"),
        ({3: Small()}, "has no text as a name"),
        ({"a\x1b[31m": Small()}, r"for 'a\\x1b\[31m' it has control characters in the name"),
    ],
)
def test_what_is_no_family_is_refused_in_a_sentence(networks: Any, message: str) -> None:
    with pytest.raises(ArchitectureError, match=f"^The networks given .*{message}") as caught:
        own.space_of(networks)
    assert str(caught.value).isprintable()


def test_what_is_no_network_among_others_is_that_one_s_failure() -> None:
    program = torch.export.export(Small(), (torch.ones(2, 3),))
    space = own.space_of({"good": Small(), "none": None, "text": "resnet18", "exported": program})
    good, *others = space.named("all")
    assert space.build(good, own.Settings(), 0)(torch.ones(2, 3)).shape == (2, 2)
    kinds = ("NoneType", "str", "an exported program, whose module is what its method module() gives")
    for arch, kind in zip(others, kinds, strict=True):
        with pytest.raises(ArchitectureError, match=f"that makes one, but it is {re.escape(kind)}; return modules"):
            space.build(arch, own.Settings(), 0)


def test_a_network_spread_over_devices_is_the_module_that_was_spread() -> None:
    inner = Small()
    space = own.space_of({"a": nn.DataParallel(inner)})
    assert space.build(space.named("a")[0], own.Settings(), 0) is inner


def test_networks_in_memory_are_built_as_they_are() -> None:
    given = {"plain": Small(), "made": small}
    space = own.space_of(given)
    plain, made = space.named("plain;made")
    assert space.build(plain, own.Settings(), 3) is given["plain"]
    once, again = (space.build(made, own.Settings(), seed).get_parameter("layer.weight") for seed in (0, 1))
    assert torch.equal(once, again)
    assert space.function(plain) == space.digest(plain) != space.digest(made)
    assert set(space.sample(stream(0), 2)) == {plain, made}
    with pytest.raises(ArchitectureError, match=r"Unknown network 'plan'; did you mean 'plain'\?"):
        space.named("plan")
    with pytest.raises(ArchitectureError, match="1 to 2 can be drawn, but 3 were"):
        space.sample(stream(0), 3)
    with pytest.raises(ArchitectureError, match="'plain' is your own, and how to change it is not known"):
        space.mutate(plain, stream(0))


def test_a_family_travels_to_another_process() -> None:
    space = own.space_of({"a": Small(), "made": small})
    travelled = pickle.loads(pickle.dumps(space))
    for arch in space.named("all"):
        assert travelled.digest(arch) == space.digest(arch)
        assert torch.equal(
            travelled.build(arch, own.Settings(), 0).get_parameter("layer.weight"),
            space.build(arch, own.Settings(), 0).get_parameter("layer.weight"),
        )


def test_networks_in_memory_are_not_found_by_name() -> None:
    (arch,) = own.space_of({"a": Small()}).named("a")
    with pytest.raises(ArchitectureError, match="'a' was given in memory, so nothing knows it by name; use the search"):
        build_network(arch, own.Settings(), seed=0)
    assert own.short_name(arch) == own.short_name(Architecture("python", "module:function#a")) == "a"


# Compiled and scripted modules ----------------------------------------------------------------------------------------


def test_a_compiled_network_is_the_module_that_was_compiled() -> None:
    network = Small()
    space = own.space_of({"plain": network, "compiled": torch.compile(network), "made": lambda: torch.compile(network)})
    archs = space.named("all")
    assert all(space.build(arch, own.Settings(), 0) is network for arch in archs)
    assert len({space.digest(arch) for arch in archs}) == 1


def test_compiled_parts_are_replaced_in_a_copy() -> None:
    inner = Small(3)
    network = nn.Sequential(torch.compile(inner), nn.Sequential(nn.ReLU(), torch.compile(nn.Sequential(inner))))
    plain = own.plain_module(network)
    assert not any(type(part).__name__ == "OptimizedModule" for part in plain.modules())
    assert type(network[0]).__name__ == "OptimizedModule"  # what was given is left alone
    twin = nn.Sequential(inner, nn.Sequential(nn.ReLU(), nn.Sequential(inner)))
    assert [*plain.state_dict()] == [*twin.state_dict()]
    assert plain[0] is plain[1][1][0]  # type: ignore[index]
    assert torch.equal(plain[0].layer.weight, inner.layer.weight)  # type: ignore[index,union-attr,arg-type]
    in_place = Small()
    in_place.compile()
    assert own.plain_module(in_place)._compiled_call_impl is None
    assert in_place._compiled_call_impl is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_and_traced_modules_are_refused_with_the_reason() -> None:
    for hidden in (
        torch.jit.script(nn.Linear(3, 2)),
        torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3)),
        nn.Sequential(torch.jit.script(nn.Linear(3, 2))),
    ):
        space = own.space_of({"a": hidden})
        with pytest.raises(ArchitectureError, match=r"^Network 'a' of The networks given is a TorchScript module .*;"):
            space.build(space.named("a")[0], own.Settings(), 0)


def test_an_exported_program_is_refused_and_its_module_is_not() -> None:
    program = torch.export.export(Small(), (torch.ones(2, 3),))
    with pytest.raises(ArchitectureError, match=r"exported program, whose module is what its method module\(\) gives"):
        own.space_of({"a": program})
    space = own.space_of({"a": program.module()})
    (arch,) = space.named("a")
    assert space.build(arch, own.Settings(), 0)(torch.ones(2, 3)).shape == (2, 2)
    assert len(space.digest(arch)) == 32


# By content, not by name ----------------------------------------------------------------------------------------------

MODULE = """
import torch
from torch import nn

def networks():
    return {"a": nn.Linear(3, WIDTH), "b": lambda: nn.Linear(3, WIDTH), "c": nn.Linear(4, 2)}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    own._family.cache_clear()
    yield tmp_path
    for name in ("families", "same_families", "broken"):
        sys.modules.pop(name, None)
    own._family.cache_clear()


def digests(module: str, folder: Path, source: str) -> list[str]:
    """Of the networks of a module as a fresh process would have them."""
    (folder / f"{module}.py").write_text(source)
    sys.modules.pop(module, None)
    own._family.cache_clear()
    return [own.digest(arch) for arch in networks_named(f"python:{module}:networks")]


def test_the_digest_follows_the_networks_and_not_their_names(folder: Path) -> None:
    first = digests("families", folder, MODULE.replace("WIDTH", "2"))
    assert digests("families", folder, MODULE.replace("WIDTH", "2")) == first
    assert digests("same_families", folder, MODULE.replace("WIDTH", "2").replace('"a"', '"other"')) == first
    changed = digests("families", folder, MODULE.replace("WIDTH", "5"))
    assert [one == other for one, other in zip(first, changed, strict=True)] == [False, False, False]
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import torch\n\ndef networks(:\n    pass\n", r"^Importing broken raised SyntaxError: .* \(broken.py, line 3"),
        ("import sys\nsys.exit(3)\n", r"^Importing broken raised SystemExit: 3 \(broken.py, line 2\); correct it"),
        ("import nothing_like_this\n", r"imported: No module named 'nothing_like_this' \(broken.py, line 1\)"),
        ("import torch\ntorch.nothing\n", r"^Importing broken raised AttributeError: .* \(broken.py, line 2\);"),
        ("def netwroks():\n    return []\n", r"has no attribute 'networks'; did you mean 'netwroks'\?$"),
        ("def networks():\n    x = 1\n    return [][x]\n", r"broken:networks raised IndexError: .*\(broken.py, line 3"),
        ("def networks():\n    yield 'a', 1 / 0\n", r"broken:networks raised ZeroDivisionError: .*\(broken.py, line 2"),
        ("import torch\ndef networks():\n    return {'a': lambda: torch.nn.Linear('x', 1)}\n",
         r"^Making network 'a' of broken:networks raised TypeError: .* \(broken.py, line 3\); correct that function"),
        ("def networks():\n    raise ValueError('\\x1b[31m' + 'long ' * 999 + '\\nsecond')\n",
         r"^broken:networks raised ValueError: \[31mlong .*\.\.\. \(broken.py, line 2\); correct that function"),
        ("raise ImportError()\n", r"^Importing broken raised ImportError \(broken.py, line 1\); correct it"),
    ],
)  # fmt: skip
def test_an_error_in_the_users_module_is_a_sentence_with_file_and_line(folder: Path, source: str, message: str) -> None:
    (folder / "broken.py").write_text(source)
    with pytest.raises(ArchitectureError, match=message) as caught:
        build_network(networks_named("python:broken:networks")[0], own.Settings(), seed=0)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
