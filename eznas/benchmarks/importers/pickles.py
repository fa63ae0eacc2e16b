"""Pickles read as data: numbers, texts, containers, NumPy scalars and arrays. No class is ever looked up or called.

A pickle is a program for a small machine with a stack. `read_pickle` is such a machine that knows the instructions
which build data, and a handful of names that stand for data (`OrderedDict`, NumPy's scalar, dtype and array):
everything else is refused by name. It reads as it goes, so that a file of gigabytes takes the memory of what is kept,
and what is kept is chosen by whoever reads: `condense` is called with every mapping that was filled, and may empty what
it holds.
"""

from __future__ import annotations

import math
import re
import struct
from array import array
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

from eznas.names import shown

MAX_TEXT: Final = 64 * 2**10
"""Bytes of one text."""
MAX_TEXTS: Final = 2**28
"""Characters of all different texts."""
MAX_ITEMS: Final = 20_000_000
"""Entries of containers that are kept, and objects that are remembered."""
MAX_STACK: Final = 2_000_000
MAX_MEMO: Final = 400_000_000
"""References to remembered objects, four bytes each; the official table of 15,625 networks has 170 million."""
_PIECE: Final = 2**20
_MARGIN: Final = MAX_TEXT + 16
_DTYPE: Final = re.compile(r"[<>=|]?[fiub][1248]")
_KNOWN: Final = {
    ("collections", "OrderedDict"): "mapping",
    **{(module, name): "list" for module in ("builtins", "__builtin__") for name in ("list", "set", "frozenset")},
    ("_codecs", "encode"): "bytes",
    **{(f"numpy{core}.multiarray", name): name for core in (".core", "._core") for name in ("scalar", "_reconstruct")},
    **{(f"numpy{core}.numeric", "_frombuffer"): "array" for core in (".core", "._core")},
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "ndarray",
}


class PickleError(ValueError):
    """What is wrong with a pickle, as the end of a sentence that begins with ``it``."""


class _Name:
    """A name that stands for data."""

    __slots__ = ("does",)

    def __init__(self, does: str) -> None:
        self.does = does


class _Dtype:
    """Stands in for NumPy's; little endian unless its state says otherwise."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code


def read_pickle(
    read: Callable[[int], bytes], condense: Callable[[dict[Any, Any]], int] | None = None
) -> Any:  # one machine, one loop: a call for each instruction would take twice the time
    """What a pickle describes: ``None``, numbers, texts, bytes, lists (of sets too), tuples, dictionaries, arrays.

    Args:
        read: gives the next so many bytes, fewer at the end.
        condense: is called with each dictionary after entries were added to it, and may drop what is not needed; it
            returns how many entries it dropped, here or in containers below.

    Raises:
        PickleError: if it is damaged, names anything else, or is larger than the limits of this module.
    """
    data, at, end, is_last = b"", 0, -1, False
    stack: list[Any] = []
    marks: list[int] = []
    memo = array("I")
    objects: list[Any] = []
    texts: dict[str, int] = {}
    n_characters = n_items = 0
    push = stack.append
    unpack = struct.Struct(">d").unpack_from

    def remember(value: Any) -> int:
        """Number of an object; equal texts are one."""
        if type(value) is str:
            return texts[value]
        objects.append(value)
        return len(objects) - 1

    def text(place: int, n: int) -> str:
        """The one object for equal texts."""
        nonlocal n_characters
        found = _exactly(data, place, n).decode("utf-8", "surrogatepass")
        number = texts.get(found)
        if number is None:
            texts[found] = number = len(objects)
            objects.append(found)
            n_characters += n + 50
        return cast(str, objects[number])

    def raw(place: int, n: int) -> bytes:
        nonlocal n_characters
        n_characters += n
        return _exactly(data, place, n)

    def popped() -> list[Any]:
        """What lies above the last mark."""
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    def fill(target: Any, items: list[Any]) -> None:
        nonlocal n_items
        if type(target) is not dict or len(items) % 2:
            raise PickleError("it fills something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value
        n_items += len(items)
        if condense is not None:
            n_items -= 2 * condense(target)

    def extend(target: Any, items: list[Any]) -> None:
        nonlocal n_items
        if type(target) is not list:
            raise PickleError("it appends to something that is no list")
        target.extend(items)
        n_items += len(items)

    def collect(items: list[Any]) -> tuple[Any, ...]:
        nonlocal n_items
        n_items += len(items)
        return tuple(items)

    try:
        while True:
            if at > end:
                if max(len(stack), len(marks)) > MAX_STACK or n_items > MAX_ITEMS or len(objects) > MAX_ITEMS:
                    raise PickleError(f"it describes more than {MAX_ITEMS:,} things")
                if n_characters > MAX_TEXTS or len(memo) > MAX_MEMO:
                    raise PickleError(f"it holds more than {MAX_TEXTS:,} characters or {MAX_MEMO:,} references")
                if not is_last:
                    piece = read(_PIECE)
                    data, at, is_last = data[at:] + piece, 0, len(piece) < _PIECE
                    end = len(data) if is_last else len(data) - _MARGIN
                    continue
            code = data[at]
            at += 1
            if code == 0x47:  # BINFLOAT
                push(unpack(data, at)[0])
                at += 8
            elif code == 0x94:  # MEMOIZE
                memo.append(remember(stack[-1]))
            elif code == 0x8C:  # SHORT_BINUNICODE
                n = data[at]
                push(text(at + 1, n))
                at += n + 1
            elif code == 0x4B:  # BININT1
                push(data[at])
                at += 1
            elif code == 0x68:  # BINGET
                push(objects[memo[data[at]]])
                at += 1
            elif code == 0x6A:  # LONG_BINGET
                push(objects[memo[int.from_bytes(_exactly(data, at, 4), "little")]])
                at += 4
            elif code == 0x4D:  # BININT2
                push(int.from_bytes(_exactly(data, at, 2), "little"))
                at += 2
            elif code == 0x28:  # MARK
                marks.append(len(stack))
            elif code == 0x75:  # SETITEMS
                items = popped()
                fill(stack[-1], items)
            elif code == 0x73:  # SETITEM
                value, key = stack.pop(), stack.pop()
                fill(stack[-1], [key, value])
            elif code == 0x7D:  # EMPTY_DICT
                push({})
            elif code in (0x5D, 0x8F):  # EMPTY_LIST, EMPTY_SET
                push([])
            elif code == 0x29:  # EMPTY_TUPLE
                push(())
            elif code in (0x65, 0x90):  # APPENDS, ADDITEMS
                items = popped()
                extend(stack[-1], items)
            elif code == 0x61:  # APPEND
                value = stack.pop()
                extend(stack[-1], [value])
            elif code in (0x85, 0x86, 0x87):  # TUPLE1, TUPLE2, TUPLE3
                n = code - 0x84
                if len(stack) < n:
                    raise IndexError
                items = stack[-n:]
                del stack[-n:]
                push(collect(items))
            elif code == 0x74:  # TUPLE
                push(collect(popped()))
            elif code in (0x6C, 0x91):  # LIST, FROZENSET
                items = popped()
                n_items += len(items)
                push(items)
            elif code == 0x64:  # DICT
                items = popped()
                push({})
                fill(stack[-1], items)
            elif code == 0x4E:  # NONE
                push(None)
            elif code in (0x88, 0x89):  # NEWTRUE, NEWFALSE
                push(code == 0x88)
            elif code == 0x4A:  # BININT
                push(int.from_bytes(_exactly(data, at, 4), "little", signed=True))
                at += 4
            elif code == 0x8A:  # LONG1
                n = data[at]
                if n > 8:
                    raise PickleError(f"it holds an integer of {n} bytes")
                push(int.from_bytes(_exactly(data, at + 1, n), "little", signed=True))
                at += n + 1
            elif code == 0x58:  # BINUNICODE
                n = int.from_bytes(_exactly(data, at, 4), "little")
                push(text(at + 4, n))
                at += n + 4
            elif code in (0x43, 0x55):  # SHORT_BINBYTES, SHORT_BINSTRING
                n = data[at]
                push(raw(at + 1, n) if code == 0x43 else text(at + 1, n))
                at += n + 1
            elif code in (0x42, 0x54):  # BINBYTES, BINSTRING
                n = int.from_bytes(_exactly(data, at, 4), "little")
                push(raw(at + 4, n) if code == 0x42 else text(at + 4, n))
                at += n + 4
            elif code in (0x8D, 0x8E, 0x96):  # BINUNICODE8, BINBYTES8, BYTEARRAY8
                n = int.from_bytes(_exactly(data, at, 8), "little")
                push(text(at + 8, n) if code == 0x8D else raw(at + 8, n))
                at += n + 8
            elif code == 0x71:  # BINPUT
                _put(memo, data[at], remember(stack[-1]))
                at += 1
            elif code == 0x72:  # LONG_BINPUT
                _put(memo, int.from_bytes(_exactly(data, at, 4), "little"), remember(stack[-1]))
                at += 4
            elif code == 0x63:  # GLOBAL
                line = data.index(b"\n", at, at + 256)
                after = data.index(b"\n", line + 1, line + 257)
                push(_named(data[at:line].decode("ascii"), data[line + 1 : after].decode("ascii")))
                at = after + 1
            elif code == 0x93:  # STACK_GLOBAL
                name, module = stack.pop(), stack.pop()
                push(_named(module, name))
            elif code in (0x52, 0x81):  # REDUCE, NEWOBJ
                arguments, name = stack.pop(), stack.pop()
                made = _made(name, arguments)
                if type(made) in (dict, list):  # a copy, which takes memory that its instruction does not
                    n_items += 2 * len(made)
                    if n_items > MAX_ITEMS:
                        raise PickleError(f"it describes more than {MAX_ITEMS:,} things")
                push(made)
                if type(made) is dict:
                    fill(made, [])
            elif code == 0x62:  # BUILD
                state = stack.pop()
                stack[-1] = _built(stack[-1], state)
            elif code == 0x30:  # POP
                stack.pop()
            elif code == 0x31:  # POP_MARK
                popped()
            elif code == 0x95:  # FRAME
                at += 8
            elif code == 0x80:  # PROTO
                if data[at] > 5:
                    raise PickleError(f"it is of protocol {data[at]}, and at most 5 is read")
                at += 1
            elif code == 0x2E:  # STOP
                if len(stack) != 1 or marks:
                    raise PickleError("it ends with other than one object")
                return stack[0]
            else:
                raise PickleError(f"it has the instruction {code:#04x}, which data do not need")
    except (IndexError, struct.error):
        raise PickleError("it ends too early or takes what is not there") from None
    except PickleError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError, MemoryError) as error:
        raise PickleError(f"it is damaged ({shown(str(error))})") from None


def _exactly(data: bytes, at: int, n: int) -> bytes:
    if n > MAX_TEXT:
        raise PickleError(f"it holds {n} bytes in one piece, and at most {MAX_TEXT} are read")
    if at + n > len(data):
        raise IndexError
    return data[at : at + n]


def _put(memo: array[int], place: int, number: int) -> None:
    if place > len(memo):
        raise PickleError(f"it asks for {place} places to remember objects in")
    if place == len(memo):
        memo.append(number)
    else:
        memo[place] = number


def _checked_key(key: Any) -> Any:
    """A key, if it is plain and quick to hash."""
    parts = key if type(key) is tuple else (key,)
    if len(parts) > 64 or any(type(part) not in (str, int, float, bool, bytes, type(None)) for part in parts):
        raise PickleError(f"it has a key of type {type(key).__name__}")
    return key


def _named(module: Any, name: Any) -> _Name:
    if (module, name) not in _KNOWN:
        raise PickleError(f"it names {shown(f'{module}.{name}', 120)}, which data do not need")
    return _Name(_KNOWN[module, name])


def _made(name: Any, arguments: Any) -> Any:
    """What a known name gives for these arguments."""
    does = name.does if isinstance(name, _Name) else None
    match does, arguments:
        case "mapping", ():
            return {}
        case "mapping", ([*pairs],):
            return {_checked_key(key): value for key, value in pairs}
        case "list", ():
            return []
        case "list", ([*items],):
            return list(items)
        case "bytes", (str() as text, "latin1" | "latin-1"):
            return text.encode("latin-1")
        case "dtype", (str() as code, *_) if _DTYPE.fullmatch(code):
            return _Dtype(code if code[0] in "<>=|" else f"<{code}")
        case "scalar", (_Dtype() as dtype, bytes() as content):
            return np.frombuffer(content, dtype=dtype.code, count=1)[0].item()
        case "array", (bytes() as content, _Dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return _built(np.empty(0), (1, shape, dtype, order == "F", content))
        case "_reconstruct", (_Name(does="ndarray"), (0,), bytes() | str()):
            return np.empty(0)
    raise PickleError(f"it calls {does or 'something that is no name'} in a way that data do not need")


def _built(made: Any, state: Any) -> Any:
    """An object with its state."""
    match made, state:
        case _Dtype(), (_, str() as order, None, None, None, *_) if order in ("<", ">", "=", "|"):
            made.code = f"{order}{made.code[1:]}"
            return made
        case np.ndarray(), (_, tuple() as shape, _Dtype() as dtype, bool() as is_fortran, bytes() as content):
            kind = np.dtype(dtype.code)
            sizes = tuple(int(n) for n in shape[:8])
            n_bytes = math.prod(sizes) * kind.itemsize
            if sizes != shape or min(sizes, default=1) < 0 or n_bytes != len(content):
                raise PickleError(f"it holds an array of shape {shown(shape)} in {len(content)} bytes")
            state = (1, sizes, kind, is_fortran, content)
            made.__setstate__(state)  # type: ignore[arg-type]  # in place: what is remembered is this object
            return made
    raise PickleError(f"it gives a state to a {type(made).__name__}, which data do not need")
