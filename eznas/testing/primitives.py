"""What every operator promises, as checks: `check_primitive` runs them all on one, of the language or your own.

The checks draw values from fixed seeds, so that a failure repeats. Each raises `BrokenPromise` with the operator, the
claim of its declaration that does not hold, and an argument for which it does not.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import Final

import sympy
import torch
from torch import Tensor

from eznas.testing.devices import pretended_device
from eznas.testing.values import (
    SHAPES,
    agrees,
    coarse_value,
    hard_value,
    negative_value,
    random_value,
    redrawn,
    same_bits,
)
from primitives import DYNAMIC, PRIMITIVES, STATISTICS, Layers, Primitive, ShapeError, Sort, Type
from primitives.elementwise import DIVISION_EPSILON, LOG_EPSILON
from primitives.numerics import DIVISION_FLOOR, LOG_FLOOR
from primitives.types import LanguageTypeError

N_LAYERS: Final = 10
"""Layers of a stack; the second of its three networks has none."""
CLOSE: Final = 1e-8
"""Relative and absolute difference, in double precision, of results that agree up to rounding; the smallest eigenvalue
of a singular kernel is nothing but rounding."""
N_DRAWS: Final = 3
"""Values per type, of each kind."""
_LAYERS = Layers(torch.tensor([0, 0, 0, 0, 2, 2, 2, 2, 2, 2]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4, 5]), 3)
_NUMBERS = (0.0, 1e-13, 1e-8, 1e-3, 0.5, 1.0, 2.0, 3.7, 10.0, 40.0)

Draw = Callable[..., Tensor]
"""A function such as `random_value`."""
_FINITE: Final[tuple[Draw, ...]] = (random_value, coarse_value, negative_value)
_EVERY: Final[tuple[Draw, ...]] = (*_FINITE, hard_value)


class BrokenPromise(AssertionError):
    """An operator does not do what its declaration says."""


def check_primitive(operator: Primitive, *, untyped: bool = False) -> None:
    """Runs every check on an operator.

    Args:
        operator: of the language or of your own.
        untyped: whether it is meant for an untyped set alone, such as the paper's, where kernels need not stay
            symmetric.

    Raises:
        BrokenPromise: at the first claim that does not hold.
    """
    for check in CHECKS:
        if not (untyped and check is check_symmetry):
            check(operator)


def check_name(operator: Primitive) -> None:
    """Texts can spell it, it is like no other word, and its function says what it does."""
    name = operator.name
    if not name or name != name.lower() or set(name) & set("() @'\"") or name[0] in "+-.0123456789":
        raise BrokenPromise(
            f"The name {name!r} cannot be written in a program: expected small letters without blanks or brackets, "
            f"beginning with a letter"
        )
    if name in STATISTICS or PRIMITIVES.get(name, operator) is not operator:
        raise BrokenPromise(f"The name {name!r} is taken by another word of the language; choose another")
    if not (operator.function.__doc__ or "").strip():
        raise _broken(operator, "has no docstring; its first line is shown to readers of a report")
    if not (operator.summary.endswith(".") or ";" in operator.summary):
        raise _broken(operator, f"should begin its docstring with a sentence, got {operator.summary!r}")


def check_latex(operator: Primitive) -> None:
    """Its template can be filled and typeset."""
    from eznas.reporting.formulas import latex_svg

    try:
        latex_svg(operator.latex.format(*(rf"{{x^{{D}}_{i}}}" for i in range(operator.arity))))
    except (ValueError, IndexError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1:]
        raise _broken(operator, f"has a LaTeX template that cannot be typeset, {operator.latex!r}: {reason}") from error


def check_purity(operator: Primitive) -> None:
    """It leaves its arguments as they were and gives the same result again."""
    for types, _, arguments in cases(operator, random_value):
        kept = [a.clone() for a in arguments]
        first = _call(operator, types, arguments).clone()
        if not all(same_bits(a, k) for a, k in zip(arguments, kept, strict=True)):
            raise _broken(operator, f"changes its arguments {_named(types)}; it must return a new tensor")
        _require_same(operator, "does not give the same result again", types, _call(operator, types, arguments), first)


def check_dtype(operator: Primitive) -> None:
    """The result has the dtype and the device of its arguments."""
    for dtype in (torch.float32, torch.float64):
        for types, _, arguments in cases(operator, random_value, dtype):
            result = _call(operator, types, arguments)
            if result.dtype != dtype or result.device != arguments[0].device:
                given = f"{dtype} on {arguments[0].device}"
                raise _broken(operator, f"makes {result.dtype} on {result.device} of {given}, for {_named(types)}")


def check_device(operator: Primitive) -> None:
    """On another device it makes the same, there, of arguments that are there."""
    for types, _, arguments in cases(operator, random_value):
        expected = _call(operator, types, arguments)
        with pretended_device() as device:
            layers = Layers(_LAYERS.network.to(device), _LAYERS.depth.to(device), _LAYERS.n_networks)
            try:
                result = _apply(operator, [argument.to(device) for argument in arguments], layers)
            except (RuntimeError, TypeError) as error:
                raise _broken(
                    operator, f"fails for {_named(types)} on another device, as on a graphics processor: {error}"
                ) from error
            if result.device != device:
                raise _broken(operator, f"makes a result on the processor of {_named(types)} on another device")
            found = result.cpu()
        _require_close(operator, "makes something else on another device", types, found, expected)


def check_shape(operator: Primitive) -> None:
    """The result has as many items as it should, and the shape of its type."""
    for types, output, arguments in cases(operator, random_value):
        shape = tuple(_call(operator, types, arguments).shape)
        n = _LAYERS.n_networks if operator.is_aggregation else N_LAYERS
        same = [tuple(a.shape[1:]) for t, a in zip(types, arguments, strict=True) if t.sort is output.sort]
        if output is DYNAMIC and not operator.signature.is_map:
            is_right = shape[:1] == (n,)
        elif same:
            is_right = shape == (n, *same[0])
        else:
            is_right = shape[:1] == (n,) and len(shape) == 1 + len(SHAPES[output.sort])
        if not is_right:
            raise _broken(
                operator, f"gives shape {shape} for {_named(types)}, which is no stack of {n} values of type {output}"
            )


def check_symmetry(operator: Primitive) -> None:
    """Kernels are symmetric, and stay so."""
    for types, output, arguments in cases(operator, random_value):
        if output.sort in (Sort.SAMPLE_KERNEL, Sort.CHANNEL_KERNEL):
            result = _call(operator, types, arguments)
            if not torch.allclose(result, result.mT, rtol=1e-5, atol=1e-6, equal_nan=True):
                raise _broken(operator, f"gives a kernel of type {output} that is not symmetric for {_named(types)}")


def check_stack(operator: Primitive) -> None:
    """A layer has the same result, to the last bit, in whatever company it is."""
    if operator.is_aggregation:
        return
    for types, _, arguments in cases(operator, random_value):
        alone = [_call(operator, types, [a[i : i + 1] for a in arguments]) for i in range(N_LAYERS)]
        _require_same(
            operator, "gives another result for a stack than for its layers one by one", types,
            _call(operator, types, arguments), torch.cat(alone),
        )  # fmt: skip


def check_isolation(operator: Primitive) -> None:
    """A layer that is not finite harms no other."""
    if operator.is_aggregation:
        return
    others = [i for i in range(N_LAYERS) if i != 2]
    for hole in (math.nan, math.inf):
        for types, _, arguments in cases(operator, random_value):
            spoilt = [a.clone() for a in arguments]
            for argument in spoilt:
                argument[2] = hole
            found, expected = _call(operator, types, spoilt)[others], _call(operator, types, arguments)[others]
            if not torch.allclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True):
                raise _broken(operator, f"lets a layer of {hole} change the results of others, for {_named(types)}")


def check_commutative(operator: Primitive) -> None:
    """Its two arguments may be swapped, if it says so."""
    if not operator.commutative:
        return
    for types, output, (x, y) in cases(operator, random_value, torch.float64):
        try:
            swapped = operator.signature.resolve(types[::-1], name=operator.name)
        except LanguageTypeError as error:
            raise _broken(operator, f"claims to be commutative, but {error}") from None
        if swapped != output:
            raise _broken(operator, f"claims to be commutative, but gives {swapped} and not {output} when swapped")
        claim = "claims to be commutative, but is not"
        _require_close(operator, claim, types, _call(operator, types, [y, x]), _call(operator, types, [x, y]))


def check_symbolic(operator: Primitive) -> None:
    """Its SymPy form gives the numbers that its function gives."""
    if operator.symbolic is None:
        return
    numbers = [*_NUMBERS, *(-v for v in _NUMBERS[1:])]
    symbols = sympy.symbols("x y z", real=True)[: operator.arity]
    form = operator.to_symbolic(*symbols)
    floors = {LOG_EPSILON: sympy.Float(LOG_FLOOR), DIVISION_EPSILON: sympy.Float(DIVISION_FLOOR)}
    rng = random.Random(3)
    drawn = [tuple(rng.uniform(-40.0, 40.0) for _ in symbols) for _ in range(40)]
    for values in [*itertools.product(numbers, repeat=operator.arity), *drawn]:
        exact = dict(zip(symbols, map(sympy.Float, values), strict=True)) | floors
        value = form.subs(exact).evalf()
        expected = float(value) if value.is_real and value.is_finite else math.nan
        found = operator(*(torch.tensor([v], dtype=torch.float64) for v in values)).item()
        is_undefined = math.isnan(expected) and not math.isfinite(found)
        if not (is_undefined or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)):
            raise _broken(operator, f"gives {found} for {values}, but its SymPy form {form} gives {expected}")


def check_sees(operator: Primitive) -> None:
    """Nothing but what it says it sees of an argument changes its result: to the last bit, if it says so."""
    draws = _EVERY if operator.bitwise else _FINITE
    dtypes = (torch.float64, torch.float32) if operator.bitwise else (torch.float64,)
    generator = torch.Generator().manual_seed(1)
    claim = f"claims to see no more than {operator.sees.value}, but sees more"
    for draw, dtype in itertools.product(draws, dtypes):
        for types, _, arguments in cases(operator, draw, dtype):
            expected = _call(operator, types, arguments)
            for position, (type_, x) in enumerate(zip(types, arguments, strict=True)):
                other = redrawn(operator.sees, type_, x, generator, exactly=operator.bitwise)
                found = _call(operator, types, [*arguments[:position], other, *arguments[position + 1 :]])
                require = _require_same if operator.bitwise else _require_close
                require(operator, claim, types, found, expected)


def check_keeps(operator: Primitive) -> None:
    """Its result agrees with its argument in what it says it keeps, to the last bit."""
    if operator.keeps is None:
        return
    for types, (x,) in _all_values(operator):
        found = _call(operator, types, [x])
        if not agrees(operator.keeps, x, found):
            raise _broken(
                operator, f"claims to keep {operator.keeps.value} of its argument, but changes them for {_named(types)}"
            )


def check_ignored(operator: Primitive) -> None:
    """What it ignores, and what ignores it, among the operators of the language, changes no bit or only rounds."""
    for other in {**PRIMITIVES, operator.name: operator}.values():
        for outer, inner in dict.fromkeys([(operator, other), (other, operator)]):
            if outer.ignores(inner, exactly=True):
                _check_pair(outer, inner, hard_value, torch.float32, _require_same)
            elif outer.ignores(inner, exactly=False):
                _check_pair(outer, inner, coarse_value, torch.float64, _require_close)


def _check_pair(
    outer: Primitive, inner: Primitive, draw: Draw, dtype: torch.dtype, require: Callable[..., None]
) -> None:
    for types, _, arguments in cases(outer, draw, dtype):
        for position, type_ in enumerate(types):
            if (type_,) not in (inputs for inputs, _ in inner.signature.instances()):
                continue
            changed = _call(inner, (type_,), [arguments[position]])
            found = _call(outer, types, [*arguments[:position], changed, *arguments[position + 1 :]])
            claim = f"claims to see {outer.sees.value}, which {inner.name!r} claims to keep, but it makes a difference"
            require(outer, claim, types, found, _call(outer, types, arguments))


def check_non_negative(operator: Primitive) -> None:
    """No entry of its result is below zero, if it says so."""
    if not operator.non_negative:
        return
    for types, arguments in _all_values(operator):
        found = _call(operator, types, arguments)
        if (found < 0).any():
            least = found[found < 0].min().item()
            raise _broken(operator, f"claims never to be below zero, but gives {least} for {_named(types)}")


def check_involution(operator: Primitive) -> None:
    """Applied twice, it changes no bit, if it says so."""
    if not operator.involution:
        return
    for types, (x,) in _all_values(operator):
        twice = _call(operator, types, [_call(operator, types, [x])])
        _require_same(operator, "claims to undo itself, but does not", types, twice, x)


def check_idempotent(operator: Primitive) -> None:
    """Its result of two equal arguments is that argument to the last bit, if it says so."""
    if not operator.idempotent:
        return
    for types, (x, _) in _all_values(operator):
        if types[0] == types[1]:
            found = _call(operator, types, [x, x])
            _require_same(operator, "claims to give back two equal arguments, but does not", types, found, x)


def check_power(operator: Primitive) -> None:
    """It is the power of the magnitude that it says."""
    if operator.power is None:
        return
    for draw in _FINITE:
        for types, _, (x,) in cases(operator, draw, torch.float64):
            claim = f"claims to be the power {operator.power} of the magnitude, but is not"
            _require_close(operator, claim, types, _call(operator, types, [x]), x.abs() ** operator.power)


def check_merges(operator: Primitive) -> None:
    """It does what the two operators do that it says it merges, wherever all three are declared."""
    if operator.merges is None:
        return
    outer, inner = operator.merges
    claim = f"claims to be {outer.name!r} after {inner.name!r}, but is not"
    n_compared = 0
    for draw in _FINITE:
        for types, output, (x,) in cases(operator, draw, torch.float64):
            try:
                middle = inner.signature.resolve(types, name=inner.name)
                if outer.signature.resolve((middle,), name=outer.name) != output:
                    continue
            except LanguageTypeError:
                continue
            both = _call(outer, (middle,), [_call(inner, types, [x])])
            _require_close(operator, claim, types, _call(operator, types, [x]), both)
            n_compared += 1
    if not n_compared:
        raise _broken(operator, f"claims to be {outer.name!r} after {inner.name!r}, but no type goes through all three")


CHECKS: Final = (
    check_name, check_latex, check_purity, check_dtype, check_device, check_shape, check_symmetry, check_stack,
    check_isolation, check_commutative, check_symbolic, check_sees, check_keeps, check_ignored, check_non_negative,
    check_involution, check_idempotent, check_power, check_merges,
)  # fmt: skip
"""Every check; each takes an operator."""


def cases(
    operator: Primitive, draw: Draw, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[tuple[Type, ...], Type, list[Tensor]]]:
    """Every concrete signature of an operator with arguments; untyped shapes that do not fit are left out.

    Args:
        operator: any.
        draw: makes an argument of a type, `random_value` for example.
        dtype: of the arguments.

    Yields:
        The types of the arguments, the type of the result, and the arguments, each a stack of `N_LAYERS` values.

    Raises:
        BrokenPromise: if the operator fails, or nothing fits.
    """
    generator = torch.Generator().manual_seed(7)
    n_found = 0
    for types, output in operator.signature.instances():
        for _ in range(N_DRAWS):
            arguments = [draw(t, N_LAYERS, generator, dtype) for t in types]
            if _may_not_fit(operator):
                try:
                    _apply(operator, arguments)
                except ShapeError:
                    break
            n_found += 1
            yield types, output, arguments
    if not n_found:
        raise _broken(operator, "takes none of the values its signature allows")


# --- arguments and comparisons ------------------------------------------------------------------------------------


def _all_values(operator: Primitive) -> Iterator[tuple[tuple[Type, ...], list[Tensor]]]:
    """Arguments of every concrete signature, drawn in every way, in both precisions."""
    for draw, dtype in itertools.product(_EVERY, (torch.float32, torch.float64)):
        for types, _, arguments in cases(operator, draw, dtype):
            yield types, arguments


def _may_not_fit(operator: Primitive) -> bool:
    """Whether the shapes of its arguments are known only when it is computed."""
    takes_any = any(DYNAMIC in types for types, _ in operator.signature.instances())
    return takes_any and (operator.arity > 1 or operator.signature.output is DYNAMIC)


def _call(operator: Primitive, types: tuple[Type, ...], arguments: list[Tensor]) -> Tensor:
    try:
        return _apply(operator, arguments)
    except Exception as error:
        raise _broken(operator, f"fails for {_named(types)}: {type(error).__name__}: {error}") from error


def _apply(operator: Primitive, arguments: list[Tensor], layers: Layers = _LAYERS) -> Tensor:
    if not operator.is_aggregation:
        return operator(*arguments)
    return operator(*arguments, layers)


def _require_same(operator: Primitive, claim: str, types: tuple[Type, ...], found: Tensor, expected: Tensor) -> None:
    if not same_bits(found, expected):
        raise _broken(operator, f"{claim}, for {_named(types)}: {_difference(found, expected)}")


def _require_close(operator: Primitive, claim: str, types: tuple[Type, ...], found: Tensor, expected: Tensor) -> None:
    is_alike = found.shape == expected.shape
    if not (is_alike and torch.allclose(found, expected, rtol=CLOSE, atol=CLOSE, equal_nan=True)):
        raise _broken(operator, f"{claim}, for {_named(types)}: {_difference(found, expected)}")


def _difference(found: Tensor, expected: Tensor) -> str:
    if found.shape != expected.shape:
        return f"shape {tuple(found.shape)} and not {tuple(expected.shape)}"
    distance = torch.where(found.isnan() == expected.isnan(), (found - expected).abs().nan_to_num(0.0), torch.inf)
    at = int(distance.reshape(-1).argmax())
    return f"{found.reshape(-1)[at].item()} and not {expected.reshape(-1)[at].item()}"


def _named(types: tuple[Type, ...]) -> str:
    return " and ".join(map(str, types))


def _broken(operator: Primitive, what: str) -> BrokenPromise:
    return BrokenPromise(f"Operator {operator.name!r} {what}")
