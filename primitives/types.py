"""The types of the language: what a value is (its sort) and what it belongs to (its level).

A value of level *layer* exists once per layer of a network, a value of level *network* once per network. Strong typing
means that a generated program cannot fail for its shapes: the input and the output side of a unit are different sorts,
because a strided or widening unit changes the shape between them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field


class LanguageTypeError(TypeError):
    """An operator was given arguments of types it is not declared for."""


class Sort(enum.Enum):
    """What a value is; the shapes leave out the leading axis of layers or networks."""

    INPUT_ACTIVATION = "InputActivation"  # batch x in channels x height x width
    OUTPUT_ACTIVATION = "OutputActivation"  # batch x out channels x height' x width'
    WEIGHT = "Weight"  # out x in x kernel x kernel
    SAMPLE_KERNEL = "SampleKernel"  # batch x batch, symmetric
    CHANNEL_KERNEL = "ChannelKernel"  # out channels x out channels, symmetric
    SCALAR = "Scalar"
    DYNAMIC = "Dynamic"  # any shape, known only when it is computed: the untyped values of the paper's language


class Level(enum.Enum):
    """What a value belongs to."""

    LAYER = "layer"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, order=False)
class Type:
    """A sort at a level, for example a sample kernel per layer."""

    sort: Sort
    level: Level

    def __str__(self) -> str:
        return f"{self.sort.value}@{self.level.value}"


INPUT_ACTIVATION = Type(Sort.INPUT_ACTIVATION, Level.LAYER)
OUTPUT_ACTIVATION = Type(Sort.OUTPUT_ACTIVATION, Level.LAYER)
WEIGHT = Type(Sort.WEIGHT, Level.LAYER)
CHANNEL_KERNEL = Type(Sort.CHANNEL_KERNEL, Level.LAYER)
LAYER_KERNEL = Type(Sort.SAMPLE_KERNEL, Level.LAYER)
NETWORK_KERNEL = Type(Sort.SAMPLE_KERNEL, Level.NETWORK)
LAYER_SCALAR = Type(Sort.SCALAR, Level.LAYER)
NETWORK_SCALAR = Type(Sort.SCALAR, Level.NETWORK)
DYNAMIC = Type(Sort.DYNAMIC, Level.LAYER)

TYPES = (
    INPUT_ACTIVATION,
    OUTPUT_ACTIVATION,
    WEIGHT,
    CHANNEL_KERNEL,
    LAYER_KERNEL,
    NETWORK_KERNEL,
    LAYER_SCALAR,
    NETWORK_SCALAR,
    DYNAMIC,
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A type that a signature leaves open; every occurrence in one signature stands for the same type."""

    name: str
    domain: tuple[Type, ...] = field(hash=False)  # names are distinct, and hashing is on the hot path

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ScalarOf:
    """The scalar at the level of what a variable stands for: the result of a reduction."""

    variable: Variable


@dataclass(frozen=True, slots=True)
class PerNetwork:
    """What a variable stands for, moved from the layers to the network: the result of an aggregation."""

    variable: Variable


ELEMENTWISE = Variable("Elementwise", TYPES)
# Operators of two arguments take typed values only: those of unknown shape could broadcast along the axis of layers.
TYPED = Variable("Typed", tuple(t for t in TYPES if t is not DYNAMIC))
TENSOR = Variable(
    "Tensor",
    (INPUT_ACTIVATION, OUTPUT_ACTIVATION, WEIGHT, CHANNEL_KERNEL, LAYER_KERNEL, NETWORK_KERNEL, DYNAMIC),
)
TYPED_TENSOR = Variable("TypedTensor", tuple(t for t in TENSOR.domain if t is not DYNAMIC))
ACTIVATION = Variable("Activation", (INPUT_ACTIVATION, OUTPUT_ACTIVATION))
WITH_CHANNELS = Variable("WithChannels", (INPUT_ACTIVATION, OUTPUT_ACTIVATION, WEIGHT))
KERNEL = Variable("Kernel", (CHANNEL_KERNEL, LAYER_KERNEL, NETWORK_KERNEL))
PER_LAYER = Variable("PerLayer", (LAYER_KERNEL, LAYER_SCALAR))
# Two variables of one domain: the arguments of the paper's operators need not have the same type.
ANY_LAYER = Variable("Any", tuple(t for t in TYPES if t.level is Level.LAYER))
ANY_LAYER_TOO = Variable("AnyToo", ANY_LAYER.domain)

Input = Type | Variable
Output = Type | Variable | ScalarOf | PerNetwork


@dataclass(frozen=True, slots=True)
class Signature:
    """Argument types and result type of an operator, possibly with variables."""

    inputs: tuple[Input, ...]
    output: Output

    @property
    def is_map(self) -> bool:
        """Whether the result has the type, and with it the shape, of the one argument."""
        return self.inputs == (self.output,) and self.output is not DYNAMIC

    def resolve(self, arguments: Sequence[Type], *, name: str) -> Type:
        """Result type for the given argument types.

        Raises:
            LanguageTypeError: naming the operator, the argument, what it must be and what it is.
        """
        if len(arguments) != len(self.inputs):
            raise LanguageTypeError(f"{name!r} takes {len(self.inputs)} argument(s), got {len(arguments)}")
        bound: dict[Variable, Type] = {}
        for position, (want, have) in enumerate(zip(self.inputs, arguments, strict=True), start=1):
            allowed = _allowed(want, bound)
            if have not in allowed:
                names = " or ".join(map(str, allowed))
                raise LanguageTypeError(f"argument {position} of {name!r} must be {names}, got {have}")
            if isinstance(want, Variable):
                bound[want] = have
        return _substitute(self.output, bound)

    def instances(self) -> tuple[tuple[tuple[Type, ...], Type], ...]:
        """Every concrete (argument types, result type) the signature stands for, in a fixed order."""
        variables = tuple(dict.fromkeys(i for i in self.inputs if isinstance(i, Variable)))
        bindings: list[dict[Variable, Type]] = [{}]
        for variable in variables:
            bindings = [{**binding, variable: t} for binding in bindings for t in variable.domain]
        return tuple(
            (
                tuple(binding[i] if isinstance(i, Variable) else i for i in self.inputs),
                _substitute(self.output, binding),
            )
            for binding in bindings
        )


def _allowed(want: Input, bound: dict[Variable, Type]) -> tuple[Type, ...]:
    if isinstance(want, Type):
        return (want,)
    return (bound[want],) if want in bound else want.domain


def _substitute(output: Output, bound: dict[Variable, Type]) -> Type:
    match output:
        case Type():
            return output
        case Variable():
            return bound[output]
        case ScalarOf(variable):
            return Type(Sort.SCALAR, bound[variable].level)
        case PerNetwork(variable):
            return Type(bound[variable].sort, Level.NETWORK)
