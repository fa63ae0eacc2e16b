"""A second device where there is none: it shows a tensor that was left behind.

Whoever forgets a ``.to(device)`` notices only where there is such a device. `pretended_device` gives one that computes
on the processor, with the same values, and refuses what a graphics processor refuses: an operation on tensors of two
devices, a NumPy array of a tensor that is there, draws on it from a generator of the processor. It knows what is there
by the memory of a tensor, so that views and what a backward pass makes are known too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PRETENDED: Final = torch.device("privateuseone:0")
"""What the device is called: the name that torch keeps for those it does not know."""
_aten = torch.ops.aten
_MOVES: Final = frozenset({_aten.copy_.default, _aten._to_copy.default, _aten._local_scalar_dense.default})
"""Operations that read from one device and write to another."""
_TAKE_INDICES: Final = frozenset(
    {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
)
"""Operations on a device that take indices of the processor."""
_TAKE_SCALARS: Final = frozenset(
    {_aten.masked_fill.Tensor, _aten.masked_fill_.Tensor, _aten.fill.Tensor, _aten.fill_.Tensor}
)
"""Operations, beside those on each value, that take a number of the processor as a tensor without axes."""

_DEVICE: Final = Tensor.device.__get__  # type: ignore[attr-defined]
_IS_CPU: Final = Tensor.is_cpu.__get__  # type: ignore[attr-defined]


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """A device that computes as the processor does and holds its tensors apart; within it alone they are known.

    Yields:
        the device, for ``tensor.to``, ``module.to`` and ``device=``.
    """
    there = _There()
    calls = _Calls(there)
    run_backward = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

    def watched(*args: Any, **kwargs: Any) -> Any:
        """A backward pass, whose hooks are calls from Python again."""
        with there.set(is_inside=any(map(there.has, _tensors((args, kwargs))))), calls:
            return run_backward(*args, **kwargs)

    torch.autograd._engine_run_backward = watched  # type: ignore[attr-defined]
    try:
        with _Operations(there), calls:
            yield PRETENDED
    finally:
        torch.autograd._engine_run_backward = run_backward  # type: ignore[attr-defined]


class _There:
    """Which memory belongs to the device, and what is going on.

    Attributes:
        is_moving: whether something is being moved, which may read on one device and write on the other.
        is_inside: whether a call is under way that was given something of the device, or a backward pass: what torch
            makes for itself meanwhile is on the device, too.
    """

    def __init__(self) -> None:
        self._memory: dict[int, StorageWeakRef] = {}
        self.is_moving = self.is_inside = False

    def has(self, tensor: Tensor) -> bool:
        found = self._memory.get(_storage(tensor)._cdata)
        return found is not None and not found.expired()

    def take(self, results: Any) -> Any:
        """Have the tensors among some results belong to the device."""
        for tensor in _tensors(results):
            storage = _storage(tensor)
            self._memory[storage._cdata] = StorageWeakRef(storage)
        return results

    @contextmanager
    def set(self, **changes: bool) -> Iterator[None]:
        before = {name: getattr(self, name) for name in changes}
        try:
            for name, value in changes.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


class _Operations(TorchDispatchMode):
    """Sees every operation, those of backward passes too: results are where arguments are, which is one device."""

    def __init__(self, there: _There) -> None:
        super().__init__()
        self._there = there

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._there.is_moving:
            return func(*args, **kwargs)
        tensors = _tensors((args, kwargs))
        others = [tensor for tensor in tensors if not self._there.has(tensor)]
        if len(others) == len(tensors):
            result = func(*args, **kwargs)
            return self._there.take(result) if self._there.is_inside and not tensors else result
        if func in _MOVES:
            result = func(*args, **kwargs)
            return result if func is not _aten._to_copy.default else self._there.take(result)
        if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            raise RuntimeError(f"Expected a {PRETENDED.type!r} device type for generator but found 'cpu' in {func}")
        if func in _TAKE_INDICES and self._there.has(args[0]):
            others = []
        if torch.Tag.pointwise in func.tags or func in _TAKE_SCALARS or "_foreach_" in str(func):
            others = [tensor for tensor in others if tensor.dim()]
        if others:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in others)
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {func} found {PRETENDED} and cpu, there {shapes}"
            )
        return self._there.take(func(*args, **kwargs))


class _Calls(TorchFunctionMode):
    """Sees what is called from Python: where a tensor is said to be, and what moves it."""

    def __init__(self, there: _There) -> None:
        super().__init__()
        self._there = there

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, there = dict(kwargs or {}), self._there
        given = [tensor for tensor in _tensors((args, kwargs)) if there.has(tensor)]
        if func in (_DEVICE, _IS_CPU) and given:
            return PRETENDED if func == _DEVICE else False
        if func in (Tensor.numpy, Tensor.__array__) and given:
            raise TypeError(f"can't convert {PRETENDED} device type tensor to numpy. Use Tensor.cpu() first")
        if func is Tensor.__deepcopy__ and given:
            with there.set(is_moving=True):
                return there.take(func(*args, **kwargs))
        if func is Tensor.cpu:
            return self._moved(args[0], torch.device("cpu"))
        if func is Tensor.to:
            return self._to(args, kwargs)
        device = None if kwargs.get("device") is None else torch.device(kwargs["device"])
        goes = device is not None and device.type == PRETENDED.type
        if not goes and not (given and (device is not None or func is torch.tensor)):
            with there.set(is_inside=bool(given)):
                return func(*args, **kwargs)
        if goes:
            if isinstance(kwargs.get("generator"), torch.Generator):
                raise RuntimeError(f"Expected a {PRETENDED.type!r} device type for generator but found 'cpu' in {func}")
            kwargs["device"] = "cpu"
        with there.set(is_moving=True):
            result = func(*args, **kwargs)
            if any(result is tensor and there.has(tensor) != goes for tensor in _tensors(args)):
                result = result.clone()  # torch.as_tensor gives what it was given
        return there.take(result) if goes else result

    def _to(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        tensor, *rest = args
        device = kwargs.pop("device", None)
        if "other" in kwargs:
            rest = [kwargs.pop("other"), *rest]
        if rest and (rest[0] is None or isinstance(rest[0], str | int | torch.device)):
            device = rest.pop(0)
        elif rest and isinstance(rest[0], Tensor):
            other = rest.pop(0)
            device, rest = PRETENDED if self._there.has(other) else other.device, [other.dtype, *rest]
        if device is None:
            device = PRETENDED if self._there.has(tensor) else tensor.device
        return self._moved(tensor, torch.device(device), *rest, **kwargs)

    def _moved(self, tensor: Tensor, device: torch.device, *rest: Any, **kwargs: Any) -> Tensor:
        """The tensor on a device, by the other arguments of ``Tensor.to``."""
        goes, is_there = device.type == PRETENDED.type, self._there.has(tensor)
        real = "cpu" if goes else device
        if goes == is_there:
            return tensor.to(real, *rest, **kwargs)
        with self._there.set(is_moving=True):
            result = tensor.clone().to(real, *rest, **kwargs)
        return self._there.take(result) if goes else result


def _tensors(values: Any) -> list[Tensor]:
    """Those in nested tuples, lists and mappings."""
    found: list[Tensor] = []
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return found


def _storage(tensor: Tensor) -> Any:
    """The memory of a tensor, also of one that ``torch.func`` has wrapped."""
    with torch._C.DisableTorchFunction():
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        return tensor.untyped_storage()
