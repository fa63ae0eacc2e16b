"""Networks of your own: a function, named by where it is imported from, that gives modules by name.

The specification ``package.module:function`` names a function without arguments that returns a mapping from names to
networks, or an iterable of (name, network) pairs. A value may also be a function without arguments that makes the
network, which is then made only when it is needed. Networks are scored as they are, with the initialisation they have;
what they draw from the generators of torch, NumPy and Python as they are made is the same in every process, because
those are seeded meanwhile and put back afterwards. Importing runs the module: name one you trust, as you would to
Python itself.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from eznas.errors import ArchitectureError
from eznas.randomness import derived_seed
from eznas.spaces.architecture import Architecture
from eznas.spaces.skeleton import Skeleton

SPACE: Final = "python"
_EXAMPLE: Final = "python:package.module:function"


def named(text: str) -> tuple[Architecture, ...]:
    """The networks of a specification ``package.module:function``, or ``package.module:function#name`` for one of them.

    Raises:
        ArchitectureError: if the function cannot be imported or called, or does not give networks by name.
    """
    where, _, name = text.partition("#")
    networks = _networks(where)
    if not networks:
        raise ArchitectureError(f"{where} gave no networks; expected at least one (name, network) pair.")
    if name:
        _found(networks, where, name)
        return (Architecture(SPACE, text),)
    return tuple(Architecture(SPACE, f"{where}#{each}") for each in networks)


def allocate(arch: Architecture, skeleton: Skeleton) -> nn.Module:
    """The network of that name, as it is.

    Raises:
        ArchitectureError: as `named`.
    """
    del skeleton  # these networks bring their own
    where, _, name = arch.spec.partition("#")
    found = _found(_networks(where), where, name)
    try:
        with _seeded("network", name):
            network = found if isinstance(found, nn.Module) else found()
    except Exception as error:  # a foreign function may raise anything; the cause stays attached
        raise ArchitectureError(
            f"Making network {name!r} of {where} raised {type(error).__name__}: {error}; correct that function."
        ) from error
    if not isinstance(network, nn.Module):
        raise ArchitectureError(
            f"Network {name!r} of {where} must be a torch.nn.Module or a function that makes one, but it gave "
            f"{type(network).__name__}; return modules."
        )
    return network


def _found(networks: Mapping[str, Any], where: str, name: str) -> Any:
    if name not in networks:
        raise ArchitectureError(
            f"{where} gives no network called {name!r}; it has {', '.join([*networks][:10])}; name one of them."
        )
    return networks[name]


@lru_cache(maxsize=1)
def _networks(where: str) -> Mapping[str, Any]:
    """What the function gives, by name; it is called once in each process."""
    with _seeded("import"):
        function = _imported(where)
    try:
        with _seeded("function"):
            given = function()
            pairs = [*(given.items() if isinstance(given, Mapping) else _pairs(given))]
    except ArchitectureError:
        raise
    except Exception as error:  # a foreign function may raise anything; the cause stays attached
        raise ArchitectureError(f"{where} raised {type(error).__name__}: {error}; correct that function.") from error
    found: dict[str, Any] = {}
    for name, network in pairs:
        if not isinstance(name, str) or not name or name in found or not callable(network):
            problem = "names it twice" if isinstance(name, str) and name in found else f"gives {type(network).__name__}"
            if not isinstance(name, str) or not name:
                problem = "has no text as a name"
            raise ArchitectureError(
                f"{where} must give each network once under a name of its own, but for {name!r} it {problem}; return "
                "(name, torch.nn.Module) pairs."
            )
        found[name] = network
    return found


def _pairs(given: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(given, Iterable) or isinstance(given, nn.Module | str):
        raise ArchitectureError(
            f"The function of {_EXAMPLE} must return a mapping or (name, network) pairs, but it returned "
            f"{type(given).__name__}; return several networks by name."
        )
    for item in given:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ArchitectureError(
                f"The function of {_EXAMPLE} must give (name, network) pairs, but it gave {type(item).__name__}; "
                "return pairs or a mapping."
            )
        yield item[0], item[1]


def _imported(where: str) -> Callable[[], Any]:
    module, _, name = where.partition(":")
    if not name or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ArchitectureError(f"Expected {_EXAMPLE}, but got {SPACE}:{where}; name a module and a function in it.")
    try:
        with _working_folder_on_path():
            function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ArchitectureError(
            f"{where} cannot be imported: {error}; run from the folder that holds it, or install it."
        ) from error
    except Exception as error:  # a foreign module may raise anything; the cause stays attached
        raise ArchitectureError(f"Importing {module} raised {type(error).__name__}: {error}; correct it.") from error
    if not callable(function) or isinstance(function, nn.Module):
        raise ArchitectureError(
            f"{where} must be a function that returns networks by name, but it is a {type(function).__name__}."
        )
    return function  # type: ignore[no-any-return]


@contextmanager
def _seeded(*purpose: str) -> Iterator[None]:
    """The global generators seeded for one purpose inside, and as they were found afterwards."""
    seed = derived_seed(0, "own", *purpose) % 2**32
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (foreign code draws from it)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def _working_folder_on_path() -> Iterator[None]:
    """As ``python -m`` has it: modules of the working folder can be imported."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
