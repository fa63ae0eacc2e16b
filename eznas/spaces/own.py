"""Networks of your own: a function, named by where it is imported from, or Python objects, that give modules by name.

The specification ``package.module:function`` names a function without arguments that returns a mapping from names to
networks, or an iterable of (name, network) pairs. A value may also be a function without arguments that makes the
network, which is then made only when it is needed. Networks are scored as they are, with the parameters they have, or
as copies whose parameters are drawn by a scheme. What they draw from the generators of torch, NumPy and Python as they
are made is the same in every process, because those are seeded meanwhile and put back afterwards; what they print goes
to stderr. Importing runs the module: name one you trust, as you would to Python itself.

`space_of` makes a search space of the same kind from objects. Its functions are methods of an `OwnNetworks`, which
travels to other processes with its networks wherever the space is sent; nothing is looked up by name there.
"""

from __future__ import annotations

import copy
import importlib
import os
import random
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from eznas.errors import ArchitectureError
from eznas.guests import guest
from eznas.names import nearest, one_line, shown, unknown
from eznas.randomness import derived_seed
from eznas.spaces.architecture import Architecture, check_space
from eznas.spaces.content import module_digest
from eznas.spaces.copies import copied
from eznas.spaces.notation import check_sample_size
from eznas.spaces.settings import KEEP, SpaceSettings
from eznas.spaces.space import SearchSpace

NAME: Final = "python"
_EXAMPLE: Final = "python:package.module:function"
_OURS: Final = (str(Path(__file__).resolve().parents[1]), str(Path(importlib.__file__).parent), "<frozen ")
_LIBRARIES: Final = tuple(
    path for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(name))
)


class Settings(SpaceSettings):
    """Networks of your own bring all they need, parameters included unless a scheme draws them."""

    space: Literal["python"] = NAME
    n_classes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Logits; None if they may differ from network to network."""


Given = nn.Module | Callable[[], nn.Module]
"""A network, or what makes one; anything else that is given under a name fails when that network is asked for."""


# Families -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class OwnNetworks:
    """Networks by name, each a module or a function that makes one.

    Attributes:
        where: what to call them in messages.
        networks: by name, in the order given.
        prefix: of the text of an architecture, before its name.
    """

    where: str
    networks: Mapping[str, Given]
    prefix: str = ""
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """All of them, in the order given."""
        return tuple(Architecture(NAME, f"{self.prefix}{name}") for name in self.networks)

    def network(self, name: str) -> nn.Module:
        """The network of a name, as it is; of a compiled one the module that was compiled.

        Raises:
            ArchitectureError: if there is none, it is no network, making it fails, or it is scripted.
        """
        found = self._given(name)
        if not _may_be_network(found):
            raise ArchitectureError(
                f"Network {shown(name)} of {self.where} must be a torch.nn.Module or a function that makes one, but it "
                f"is {_kind(found)}; return modules."
            )
        try:
            with _seeded("network", name), guest():
                network = found if isinstance(found, nn.Module) else found()
        except (Exception, SystemExit) as error:  # a foreign function may raise anything; the cause stays attached
            raise ArchitectureError(
                f"Making network {shown(name)} of {self.where} raised {_said(error)}; correct that function."
            ) from error
        if not isinstance(network, nn.Module):
            raise ArchitectureError(
                f"Network {shown(name)} of {self.where} must be a torch.nn.Module or a function that makes one, but it "
                f"gave {type(network).__name__}; return modules."
            )
        return plain_module(network, f"Network {shown(name)} of {self.where}")

    def _given(self, name: str) -> Given:
        if name not in self.networks:
            raise ArchitectureError(f"{self.where}: {unknown('network', name, self.networks)}")
        return self.networks[name]

    def name_of(self, arch: Architecture) -> str:
        """The name of one of these networks.

        Raises:
            ArchitectureError: if it is of another space.
        """
        check_space(arch, NAME)
        name = arch.spec.removeprefix(self.prefix)
        self._given(name)
        return name

    def named(self, text: str) -> tuple[Architecture, ...]:
        """The architectures of a specification: ``all``, or names separated by semicolons."""
        if text == "all" and text not in self.networks:
            return self.architectures
        names = [text] if text in self.networks else text.split(";")
        for name in names:
            self._given(name)
        return tuple(Architecture(NAME, f"{self.prefix}{name}") for name in dict.fromkeys(names))

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
        """Distinct ones, uniform."""
        everything = self.architectures
        check_sample_size(n, len(everything), self.where)
        return tuple(everything[index] for index in rng.choice(len(everything), size=n, replace=False))

    def allocate(self, arch: Architecture, settings: SpaceSettings) -> nn.Module:
        """The network, as it is: it has its parameters already; a copy if these are to be drawn anew."""
        name = self.name_of(arch)
        network = self.network(name)
        if settings.scheme == KEEP:
            return network
        return copied(network, f"Network {shown(name)} of {self.where}")

    def digest(self, arch: Architecture) -> str:
        """Of the content of the network, see `eznas.spaces.content`, as it was when it was first asked for."""
        name = self.name_of(arch)
        if name not in self._digests:
            self._digests[name] = module_digest(self.network(name))
        return self._digests[name]


def family(given: Any, where: str) -> OwnNetworks:
    """Networks by name from what a user gives.

    Args:
        given: a mapping from names to networks, or an iterable of (name, network) pairs or of networks, which are then
            called by their positions, ``"0"`` the first. A network is a module or a function without arguments that
            makes one.
        where: what to call them in messages.

    Raises:
        ArchitectureError: if it is none of these, gives no network at all, or two of one name.
    """
    return _collected(lambda: given, where, "")


def _collected(give: Callable[[], Any], where: str, prefix: str) -> OwnNetworks:
    """Networks by name from what a function of the user gives."""
    try:
        with _seeded("function"), guest():
            given = give()
            pairs = [*(given.items() if isinstance(given, Mapping) else _pairs(given, where))]
    except ArchitectureError:
        raise
    except (Exception, SystemExit) as error:  # a foreign function may raise anything; the cause stays attached
        raise ArchitectureError(f"{where} raised {_said(error)}; correct that function.") from error
    found: dict[str, Given] = {}
    for name, network in pairs:
        problem = _problem(name, found)
        if problem:
            raise ArchitectureError(
                f"{where} must give each network once under a name of its own, but for {shown(name)} it {problem}; "
                "return (name, torch.nn.Module) pairs."
            )
        found[name] = network
    if not found:
        raise ArchitectureError(f"{where} gave no networks; expected at least one (name, network) pair.")
    if not any(map(_may_be_network, found.values())):
        name, network = next(iter(found.items()))
        raise ArchitectureError(
            f"{where} must give networks by name, but for {shown(name)} it gives {_kind(network)}; return (name, "
            "torch.nn.Module) pairs."
        )
    return OwnNetworks(where, found, prefix)


def _problem(name: object, found: Mapping[str, Given]) -> str:
    if not isinstance(name, str) or not name:
        return "has no text as a name"
    if not name.isprintable():
        return "has control characters in the name"
    if name in found:
        return "names it twice"
    return ""


def _may_be_network(given: object) -> bool:
    """Whether it is a module or might make one; a single one that is neither is that network's failure."""
    return callable(given) and not isinstance(given, torch.export.ExportedProgram)


def _kind(given: object) -> str:
    if isinstance(given, torch.export.ExportedProgram):
        return "an exported program, whose module is what its method module() gives"
    return type(given).__name__


def _pairs(given: Any, where: str) -> Iterable[tuple[Any, Any]]:
    if not isinstance(given, Iterable) or isinstance(given, nn.Module | str):
        raise ArchitectureError(
            f"{where} must give a mapping or (name, network) pairs, but it gave {type(given).__name__}; give several "
            "networks by name."
        )
    for position, item in enumerate(given):
        if isinstance(item, nn.Module) or (callable(item) and not isinstance(item, type)):
            yield str(position), item
        elif isinstance(item, tuple | list) and len(item) == 2:
            yield item[0], item[1]
        else:
            raise ArchitectureError(
                f"{where} must give (name, network) pairs, but it gave {type(item).__name__}; give pairs or a mapping."
            )


def space_of(networks: Any, where: str = "The networks given") -> SearchSpace[Settings]:
    """The search space of networks in memory: its architectures are their names.

    Args:
        networks: see `family`.
        where: what to call them in messages.

    Raises:
        ArchitectureError: as `family`.
    """
    own = family(networks, where)
    return replace(
        SPACE, title="your own networks", forms="all or NAME[;...]", named=own.named, sample=own.sample,
        function=own.digest, allocate=own.allocate, digest=own.digest,
    )  # fmt: skip


# Networks that a specification names ----------------------------------------------------------------------------------


def named(text: str) -> tuple[Architecture, ...]:
    """The networks of a specification ``package.module:function``, or ``package.module:function#name`` for one of them.

    Raises:
        ArchitectureError: if the function cannot be imported or called, or does not give networks by name.
    """
    where, _, name = text.partition("#")
    found = _family(where)
    return found.named(name) if name else found.architectures


def sample(rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
    """Refuses: such networks are listed, not drawn.

    Raises:
        ArchitectureError: always.
    """
    raise ArchitectureError(f"Networks of your own are not drawn at random; name them as {_EXAMPLE}[#name].")


def mutate(arch: Architecture, rng: np.random.Generator) -> Architecture:
    """Refuses: nothing is known of how such networks could be changed.

    Raises:
        ArchitectureError: always.
    """
    raise ArchitectureError(
        f"Network {shown(arch.spec)} is your own, and how to change it is not known; give a SearchSpace with a mutate."
    )


def allocate(arch: Architecture, settings: SpaceSettings) -> nn.Module:
    """The network of that name, as it is; a copy if its parameters are to be drawn anew.

    Raises:
        ArchitectureError: as `named`.
    """
    return _family_of(arch).allocate(arch, settings)


def digest(arch: Architecture) -> str:
    """32 hexadecimal digits of the network's content, see `eznas.spaces.content`: not of where it comes from.

    Raises:
        ArchitectureError: as `named`.
    """
    return _family_of(arch).digest(arch)


def short_name(arch: Architecture) -> str:
    """What a network of your own is called in its family: what follows the ``#``."""
    return arch.spec.partition("#")[2] or arch.spec


def _family_of(arch: Architecture) -> OwnNetworks:
    check_space(arch, NAME)
    where, separator, _ = arch.spec.partition("#")
    if not separator:
        raise ArchitectureError(
            f"Network {shown(arch.spec)} was given in memory, so nothing knows it by name; use the search space that "
            "eznas.spaces.own.space_of made of it."
        )
    return _family(where)


@lru_cache(maxsize=8)
def _family(where: str) -> OwnNetworks:
    """What the function gives, by name; it is called once in each process."""
    with _seeded("import"):
        function = _imported(where)
    return _collected(function, one_line(where, 100), f"{where}#")


def _imported(where: str) -> Callable[[], Any]:
    module, _, name = where.partition(":")
    said = one_line(where, 100)
    if not name or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ArchitectureError(f"Expected {_EXAMPLE}, but got {NAME}:{said}; name a module and a function in it.")
    try:
        with _working_folder_on_path(), guest():
            function = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ArchitectureError(
            f"{said} cannot be imported: {_said(error, with_kind=False)}; run from the folder that holds it, or "
            "install it."
        ) from error
    except AttributeError as error:
        if isinstance(error.obj, type(sys)) and error.name == name:
            near = nearest(name, (known for known in vars(error.obj) if not known.startswith("_")))
            hint = f"did you mean {near!r}?" if near else "run from the folder that holds it, or correct the name."
            raise ArchitectureError(
                f"{said} cannot be imported: module {module!r} has no attribute {shown(name)}; {hint}"
            ) from error
        raise ArchitectureError(f"Importing {module} raised {_said(error)}; correct it.") from error
    except (Exception, SystemExit) as error:  # a foreign module may raise anything; the cause stays attached
        raise ArchitectureError(f"Importing {module} raised {_said(error)}; correct it.") from error
    if not callable(function) or isinstance(function, nn.Module):
        raise ArchitectureError(
            f"{said} must be a function that returns networks by name, but it is a {type(function).__name__}."
        )
    return function  # type: ignore[no-any-return]


def _said(error: BaseException, *, with_kind: bool = True) -> str:
    """An error of foreign code as part of a sentence, with the file and the line it came from."""
    lines = str(error.msg if isinstance(error, SyntaxError) else error).strip().splitlines() or [""]
    text = one_line(lines[0], 200)
    kind = type(error).__name__
    said = (f"{kind}: {text}" if text else kind) if with_kind else text
    place = _place(error)
    return f"{said} ({place})" if place else said


def _place(error: BaseException) -> str:
    """The last line of the user's code that led to an error."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _line(error.filename, error.lineno)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if frame.lineno and not frame.filename.startswith(_OURS)
    ]  # fmt: skip
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    found = (own or frames)[-1:]
    return _line(found[0].filename, found[0].lineno or 0) if found else ""


def _line(file: str, line: int) -> str:
    with suppress(ValueError, OSError):
        file = str(Path(file).relative_to(Path.cwd()))
    return f"{one_line(file, 120)}, line {line}"


# Modules --------------------------------------------------------------------------------------------------------------


_SPREAD: Final = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def plain_module(network: nn.Module, what: str = "The network") -> nn.Module:
    """The module that a compiled one was made from, or one that is spread over devices; any other as it is.

    A compiled module computes the same, but takes minutes to compile anew for every input size and mode. Where parts of
    a network are compiled, the result is a copy without compiled parts.

    Args:
        network: any module.
        what: what to call it in messages.

    Raises:
        ArchitectureError: if a part is scripted or traced, which hides its layers.
    """
    while _is_compiled(network) or isinstance(network, _SPREAD):
        network = getattr(network, "_orig_mod", None) or network.module  # type: ignore[assignment]
    parts = [*network.modules()]
    for part in parts:
        if isinstance(part, torch.jit.ScriptModule):
            raise ArchitectureError(
                f"{what} is a TorchScript module (scripted or traced), which hides its layers; give the "
                "torch.nn.Module that it was made from."
            )
    compiled = [part for part in parts if _is_compiled(part)]
    if not compiled and not any(getattr(part, "_compiled_call_impl", None) for part in parts):
        return network
    copies: dict[int, Any] = {}
    for part in reversed(compiled):  # inner ones first
        copies[id(part)] = copy.deepcopy(part._orig_mod, copies)
    return copy.deepcopy(network, copies)


def _is_compiled(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" and "_orig_mod" in module._modules


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


SPACE: Final = SearchSpace(
    name=NAME,
    title="your own networks, imported",
    forms="python:package.module:function[#name]",
    settings=Settings,
    full=None,
    named=named,
    sample=sample,
    mutate=mutate,
    function=digest,
    allocate=allocate,
    digest=digest,
)
