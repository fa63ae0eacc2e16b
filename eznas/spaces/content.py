"""The content of a network as a digest: two networks share one exactly if everything that can be read of them is equal.

What is read: the tree of modules with the qualified name of every class, ``extra_repr``, whether it is in train mode,
its hooks and its attributes (numbers, texts, containers of these, arrays, tensors, functions, and the attributes of
other objects); name, shape, type, values and need of a gradient of every parameter and buffer, and which are one and
the same tensor; and the source text of every class that is not torch's own, its code where there is no source. What is
not: the values of meta tensors, functions and constants of a module that a forward pass looks up by name, compiled
extensions, and the sources of torch, whose version is not part of the digest either.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

_OF_TORCH: Final = frozenset(vars(nn.Module())) - {"training"}
"""What every module has for torch's own use."""
_HOOKS: Final = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_MAX_DEPTH: Final = 150


def module_digest(network: nn.Module) -> str:
    """32 hexadecimal digits of a network as it is, equal in every process; see this module for what they cover."""
    reader = _Reader()
    reader.read(network, 0)
    return reader.hash.hexdigest()


class _Reader:
    """Takes in one object after the other; the second time it meets one it says only which it was."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(b"network 1", digest_size=16)
        self._met: dict[int, tuple[int, Any]] = {}  # the objects are kept, so that no other gets the identity of one

    def say(self, *words: object) -> None:
        """Words that cannot be confused with others: each with its length."""
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
            self.hash.update(len(data).to_bytes(8, "little"))
            self.hash.update(data)

    def read(self, value: Any, depth: int) -> None:
        if isinstance(value, _PLAIN):
            self.say(type(value).__name__, repr(value))
            return
        if not isinstance(value, tuple | frozenset):  # of equal immutable ones it is chance which are one object
            if id(value) in self._met:
                self.say("again", self._met[id(value)][0])
                return
            self._met[id(value)] = (len(self._met), value)
        if depth > _MAX_DEPTH:
            self.say("deep", _name(type(value)))
            return
        match value:
            case nn.Module():
                self._module(value, depth)
            case Tensor():
                self._tensor(value)
            case np.ndarray() if value.dtype != object:
                self.say("array", value.dtype, value.shape, np.ascontiguousarray(value).tobytes())
            case np.generic() | torch.dtype() | torch.device() | torch.layout() | torch.memory_format():
                self.say(_name(type(value)), value)
            case Mapping():
                self.say("mapping", _name(type(value)), len(value))
                for key, item in value.items():
                    self.read(key, depth + 1)
                    self.read(item, depth + 1)
            case list() | tuple():
                self.say("sequence", _name(type(value)), len(value))
                for item in value:
                    self.read(item, depth + 1)
            case set() | frozenset():
                self.say("set", *sorted(_alone(item) for item in value))
            case type():
                self._class(value)
            case types.ModuleType():
                self.say("module", value.__name__)
            case functools.partial():
                self.say("partial")
                self.read([value.func, [*value.args], value.keywords], depth + 1)
            case types.MethodType():
                self.say("method")
                self.read([value.__func__, value.__self__], depth + 1)
            case types.FunctionType():
                self._function(value, depth)
            case types.CodeType():
                self.say("code", value.co_code, value.co_names, value.co_varnames, value.co_freevars)
                self.read([*value.co_consts], depth + 1)
            case types.CellType():
                self.say("cell")
                try:
                    self.read(value.cell_contents, depth + 1)
                except ValueError:
                    self.say("empty")
            case _:
                self._class(type(value))
                self.say(getattr(value, "__qualname__", ""))  # of a built-in function
                if type(value).__module__ != "torch.utils.hooks":  # handles count all hooks of the process
                    self._attributes(_state(value), frozenset(), depth)

    def _module(self, module: nn.Module, depth: int) -> None:
        if isinstance(module, GraphModule):  # its class is made anew for every one, and its graph is that code
            self.say("graph module", module.code)
            self._attributes({k: v for k, v in vars(module).items() if isinstance(v, Tensor)}, frozenset(), depth)
        else:
            self._class(type(module))
            self.say(_extra(module))
            self._attributes(vars(module), _OF_TORCH, depth)
            for kind in _HOOKS:
                self.read([*getattr(module, kind).values()], depth + 1)  # their keys count all hooks of the process
        for kind in ("_parameters", "_buffers", "_modules"):
            members = getattr(module, kind)
            self.say(kind, len(members))
            for name, member in members.items():
                self.say(name)
                self.read(member, depth + 1)

    def _attributes(self, attributes: Mapping[str, Any], without: frozenset[str], depth: int) -> None:
        names = sorted(str(name) for name in attributes if name not in without)
        self.say("attributes", len(names))
        for name in names:
            self.say(name)
            self.read(attributes[name], depth + 1)

    def _tensor(self, tensor: Tensor) -> None:
        self.say(_name(type(tensor)), tensor.dtype, tensor.requires_grad)
        try:
            self.say(tuple(tensor.shape))
            if tensor.device.type == "meta":
                self.say("meta")
                return
            values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
            self.say(values.reshape(-1).view(torch.uint8).numpy().tobytes())
        except Exception as error:  # sparse, quantised or not yet given a shape: what could be read counts
            self.say("unreadable", type(error).__name__)

    def _class(self, kind: type) -> None:
        self.say("class", _name(kind))
        for each in kind.__mro__:
            if _is_of(each, "torch") or _is_of(each, "builtins"):
                continue
            if id(each) in self._met:
                continue
            self._met[id(each)] = (len(self._met), each)
            source = _source(each)
            self.say(_name(each), source or "")
            if source is None:
                codes = [item.__code__ for item in vars(each).values() if isinstance(item, types.FunctionType)]
                self.read(codes, 1)

    def _function(self, function: types.FunctionType, depth: int) -> None:
        self.say("function", function.__module__, function.__qualname__)
        if not _is_of(function, "torch"):
            source = _source(function)
            if source is None:
                self.read(function.__code__, depth + 1)
            else:
                self.say(source)
        self.read([function.__defaults__, function.__kwdefaults__, function.__closure__], depth + 1)


def _alone(value: Any) -> str:
    reader = _Reader()
    reader.read(value, _MAX_DEPTH - 5)
    return reader.hash.hexdigest()


def _state(value: Any) -> dict[str, Any]:
    """The attributes of an object, also of one with slots."""
    slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    found = getattr(value, "__dict__", None)
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | (
        dict(found) if isinstance(found, dict) else {}
    )


def _names(slots: Any) -> tuple[str, ...]:
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if not name.startswith("__"))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_of(thing: Any, package: str) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == package


def _source(thing: Any) -> str | None:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError, SyntaxError):
        return None


def _extra(module: nn.Module) -> str:
    """What a module says of itself, without addresses of objects."""
    try:
        text = module.extra_repr()
    except Exception:  # a foreign method may raise anything; its attributes count all the same
        return ""
    return "" if " at 0x" in text else text
