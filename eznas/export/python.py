"""A program as one Python file that needs torch alone.

The file imports torch and the standard library only. It is put together from a fixed template and from the
source of this project (tracing, operators, initialisation); of a program only operator names, statistic names and
numbers enter it, and text from a run enters it escaped, inside one docstring. The result is parsed and checked before
it is handed out.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor

import primitives
from eznas.conditions import Conditions
from eznas.errors import ProgramError
from eznas.programs import Constant, Node, Program, directed_infix, fold, to_latex
from eznas.proxies import ProgramProxy
from eznas.randomness import derived_seed
from eznas.spaces import KEEP, initialise
from eznas.statistics import graph, macs, rectifiers, running, torch_functions, tracing, wiring
from primitives import STATISTICS, Layers, Level, Primitive, Statistic

_TRACED: Final = (torch_functions, rectifiers, running, wiring, tracing)
"""Modules whose source every exported file carries, each after those it needs."""


def export_python(
    proxy: ProgramProxy,
    conditions: Conditions,
    *,
    card: Mapping[str, object] | None = None,
    smoothed: bool = False,
) -> str:
    """One Python file with ``score(network, inputs, targets=None) -> float`` and ``prepare(network, seed)``.

    ``score`` is the program's value times its direction: higher always predicts higher accuracy.

    Args:
        proxy: the formula, with the layers it reads and the seed of its noise, or those of the conditions.
        conditions: how the networks were made and excited where the proxy was found; the file's defaults.
        card: what to tell the reader, a label with a text each (where evolved, how well it ranks); any text is safe.
        smoothed: whether its LaTeX shows divisions as what they are, see `eznas.programs.to_latex`.

    Raises:
        ProgramError: if the program needs what cannot be carried along, as published estimators cannot.
    """
    proxy = proxy.bound(conditions)
    program = proxy.program
    if program.metrics:
        raise ProgramError(
            f"Proxy {proxy.name!r} reads {', '.join(program.metrics)}, published estimators whose code a file of its "
            "own cannot carry; export it --to json and score networks with eznas.load_proxy(FILE)"
        )
    scheme = getattr(conditions.settings, "scheme", KEEP)
    documentation = _documentation(proxy, conditions, scheme, card or {}, smoothed)
    carried = _Carried()
    for node in program.nodes:
        if isinstance(node, Primitive):
            carried.add(node.function)
    carried.add_class(Layers)
    counts_macs = "mac_count" in program.statistics
    reads_graph = any(STATISTICS[name].of_graph for name in program.statistics)
    modules = [*_TRACED, *([graph] if reads_graph else []), *([macs] if counts_macs else [])]
    text = _TEMPLATE.format(
        documentation=_docstring(documentation),
        imports=_imports(*modules, initialise, primitives.numerics),
        direction=proxy.direction,
        scheme=_quoted(scheme if scheme in initialise.SCHEMES else "default"),
        initialisation_seed=derived_seed(conditions.network_seed, "initialisation"),
        probe_seed=int(proxy.seed or 0),
        statistics=_tuple_literal(program.captured_statistics),
        units=_quoted(proxy.units or conditions.units),
        targets_line=(
            "(batch,) class of each image; the formula looks at them."
            if program.needs_classes
            else "ignored; accepted because many searches hand labels to every proxy."
        ),
        targets="targets" if program.needs_classes else "None",
        check=_CLASSES_NEEDED if program.needs_classes else "",
        counted=_MACS_COUNTED if counts_macs else "",
        steps=_steps(program),
        operators="\n\n\n".join(carried.definitions()),
        constants="\n".join(carried.constants()),
        initialise=_body(initialise),
        capture=(graph.capture_with_graph if reads_graph else tracing.capture_units).__name__,
        statistics_source="\n\n\n".join(map(_body, modules)),
    )
    _verify(text, documentation)
    return text


# --- the formula --------------------------------------------------------------------------------------------------


def _steps(program: Program) -> str:
    """Straight-line code, one line per distinct sub-expression, and the list of all steps as its result."""
    lines: list[str] = []
    names: dict[str, str] = {}
    labels: list[tuple[str, str]] = []

    def value(node: Node, expression: str) -> str:
        if expression not in names:
            names[expression] = f"v{len(names) + 1}"
            lines.append(f"{names[expression]} = {expression}")
            labels.append((node.name, names[expression]))
        return names[expression]

    per_layer: dict[str, bool] = {}

    def leaf(node: Statistic | Constant) -> str:
        name = value(node, _leaf_expression(node))
        per_layer[name] = node.type.level is Level.LAYER
        return name

    def branch(operator: Primitive, arguments: tuple[str, ...]) -> str:
        at_layers = per_layer[arguments[0]] and not operator.is_aggregation
        name = value(operator, _branch_expression(operator, arguments, per_layer[arguments[0]]))
        per_layer[name] = at_layers
        return name

    fold(program, leaf=leaf, branch=branch)
    if any(line.endswith(", layers)") for line in lines):
        lines.insert(0, "layers = Layers.of_one_network(len(units), device)")
    lines.append("return [" + ", ".join(f"({_quoted(label)}, {name})" for label, name in labels) + "]")
    return "\n".join(_wrapped(line) for line in lines)


def _leaf_expression(node: Statistic | Constant) -> str:
    if isinstance(node, Statistic):
        if node.type.level is Level.LAYER:
            return f"[unit[{_quoted(node.name)}][None] for unit in units]"
        return f"torch.as_tensor(quantities[{_quoted(node.name)}], dtype=torch.float64, device=device)[None]"
    if node.level is Level.LAYER:
        return f"[torch.full((1,), {float(node.value)!r}, device=device) for unit in units]"
    return f"torch.full((1,), {float(node.value)!r}, dtype=torch.float64, device=device)"


def _branch_expression(operator: Primitive, arguments: tuple[str, ...], of_layers: bool) -> str:
    name = operator.function.__name__
    if operator.is_aggregation:
        stacked = ", ".join(f"torch.cat({argument}).double()" for argument in arguments)
        return f"{name}({stacked}, layers)"
    if not of_layers:
        return f"{name}({', '.join(arguments)})"
    if len(arguments) == 1:
        return f"[{name}(x) for x in {arguments[0]}]"
    return f"[{name}(x, y) for x, y in zip({', '.join(arguments)}, strict=True)]"


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="        ", break_long_words=False)


def _tuple_literal(items: tuple[str, ...]) -> str:
    return "(" + "".join(f"\n    {_quoted(item)}," for item in items) + ("\n)" if items else ")")


def _quoted(text: str) -> str:
    """A string literal in double quotes; ASCII, with everything else escaped."""
    return json.dumps(text)


# --- source carried along -----------------------------------------------------------------------------------------


class _Carried:
    """The operator functions, the helpers and the constants they need, found by following the names they use."""

    def __init__(self) -> None:
        self._definitions: dict[str, str] = {}
        self._constants: dict[str, str] = {}

    def definitions(self) -> tuple[str, ...]:
        """Source of functions and classes, each after what it uses."""
        return tuple(self._definitions.values())

    def constants(self) -> tuple[str, ...]:
        """Assignments with the comment that explains them."""
        return tuple(self._constants.values())

    def add(self, function: Callable[..., Any]) -> None:
        """A function with everything of this project it refers to."""
        if function.__name__ in self._definitions:
            return
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        for name in _names_used(tree):
            found = inspect.unwrap(function).__globals__.get(name)
            if isinstance(found, Primitive):
                self.add(found.function)
            elif inspect.isfunction(found) and _is_ours(found):
                self.add(found)
            elif inspect.isclass(found) and _is_ours(found):
                self.add_class(found)
            elif isinstance(found, int | float | str):
                self._constants.setdefault(name, _constant_source(name))
            elif found is not torch and found is not Tensor and not hasattr(builtins, name):
                raise ProgramError(f"Cannot export: {function.__name__} uses {name!r}, which cannot be carried along")
        self._definitions[function.__name__] = _function_source(function, tree)

    def add_class(self, cls: type) -> None:
        """A class as it stands."""
        self._definitions.setdefault(cls.__name__, textwrap.dedent(inspect.getsource(cls)).rstrip())


def _is_ours(found: Any) -> bool:
    return str(found.__module__).partition(".")[0] == primitives.__name__


def _names_used(tree: ast.FunctionDef) -> list[str]:
    """Names the body reads from its module (annotations and decorators left out), in order of first use."""
    names = [n for statement in tree.body for n in ast.walk(statement) if isinstance(n, ast.Name)]
    own = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    own |= {argument.arg for argument in ast.walk(tree) if isinstance(argument, ast.arg)}
    return list(dict.fromkeys(n.id for n in names if n.id not in own))


def _function_source(function: Callable[..., Any], tree: ast.FunctionDef) -> str:
    """Source without decorators and with ``Float[Tensor, "..."]`` written ``Tensor``; the body stays as it is."""
    arguments = tree.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = _plain_annotation(argument.annotation)
    returns = _plain_annotation(tree.returns)
    end = f" -> {ast.unparse(returns)}" if returns is not None else ""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()[tree.body[0].lineno - 1 :]
    return "\n".join([f"def {tree.name}({ast.unparse(arguments)}){end}:", *lines]).rstrip()


def _plain_annotation(annotation: ast.expr | None) -> ast.expr | None:
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Float":
        return ast.Name("Tensor")
    return annotation


def _constant_source(name: str) -> str:
    """The assignment of a constant of `primitives.numerics`, and the docstring after it."""
    source = inspect.getsource(primitives.numerics)
    body = ast.parse(source).body
    for index, statement in enumerate(body):
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            last = statement
            if index + 1 < len(body) and isinstance(body[index + 1], ast.Expr):
                return "\n".join(source.splitlines()[statement.lineno - 1 : body[index + 1].end_lineno])
            return "\n".join(source.splitlines()[statement.lineno - 1 : last.end_lineno])
    raise ProgramError(f"Cannot export: constant {name!r} is not in primitives.numerics; move it there")


def _imports(*modules: ModuleType) -> str:
    """The import statements of the modules and of the template, without those of this project, in house order."""
    plain, members = {"math", "torch", "warnings"}, {"dataclasses": {"dataclass"}, "torch": {"Tensor", "nn"}}
    aliased: set[str] = set()
    for module in modules:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    (aliased if alias.asname else plain).add(ast.unparse(ast.Import([alias])).removeprefix("import "))
            elif isinstance(node, ast.ImportFrom) and node.module and not _is_project(node.module):
                members.setdefault(node.module, set()).update(alias.name for alias in node.names)
    members.pop("__future__", None)
    lines = [f"import {name}" for name in (*plain, *aliased)]
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in members.items()]

    def order(line: str) -> tuple[bool, bool, str]:
        return not _is_standard(line), line.startswith("from"), line

    lines.sort(key=order)
    first_other = next(i for i, line in enumerate(lines) if not _is_standard(line))
    return "\n".join([*lines[:first_other], "", *lines[first_other:]])


def _is_project(module: str) -> bool:
    return module.partition(".")[0] in ("eznas", primitives.__name__)


def _is_standard(import_line: str) -> bool:
    return import_line.split()[1].partition(".")[0] in sys.stdlib_module_names


def _body(module: ModuleType) -> str:
    """A module's source without its docstring and imports; errors of this project become ``ValueError``."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    errors: set[str] = set()
    for index, node in enumerate(ast.parse(source).body):
        is_docstring = index == 0 and isinstance(node, ast.Expr)
        if isinstance(node, ast.ImportFrom) and node.module == "eznas.errors":
            errors.update(alias.name for alias in node.names)
        if is_docstring or isinstance(node, ast.Import | ast.ImportFrom):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    text = "\n".join(lines).strip()
    for name in errors:
        text = re.sub(rf"\b{name}\b", "ValueError", text)
    return text


# --- text ---------------------------------------------------------------------------------------------------------


def _documentation(
    proxy: ProgramProxy, conditions: Conditions, scheme: str, card: Mapping[str, object], smoothed: bool
) -> str:
    program = proxy.program
    facts = {_clean(label): _clean(text) for label, text in card.items()}
    width = max(map(len, facts), default=0) + 2
    drawn = f"initialised by scheme {scheme!r} from one seed"
    if scheme == KEEP:
        drawn = "with the parameters they came with"
    lines = [
        "A zero-cost proxy: scores a neural network before training; higher predicts higher accuracy.",
        "",
        "Discovered with eznas. This file stands alone: it needs torch and Python 3.10 or later, nothing else.",
        "",
        f"Formula (statistics of {_READ[proxy.units or conditions.units]}, then over all of them):",
        "",
        *_filled(directed_infix(program, proxy.direction), "    "),
        "",
        "In LaTeX:",
        "",
        *_filled(to_latex(program, direction=proxy.direction, smoothed=smoothed), "    "),
        "",
        "The program it was read from, whose value `formula` computes step by step:",
        "",
        *_filled(program.text, "    "),
        "",
        f"`score` is that value times DIRECTION = {proxy.direction}, which is the formula above.",
        "",
        *(_fact(label, text, width) for label, text in facts.items()),
        *([""] if facts else []),
        f"Scored there: {_clean(conditions)}; networks {drawn}.",
        "Scores compare networks only on the same inputs, initialisation and settings.",
        "",
        "Use:",
        "",
        "    network = prepare(MyNetwork())     # the initialisation the proxy was found with",
        "    print(score(network, images))      # images: (batch, channels, height, width), normalised per channel",
    ]
    return "\n".join(lines) + "\n"


def _fact(label: str, text: str, width: int) -> str:
    start = f"{label + ':':<{width}}"
    return textwrap.fill(start + text, 110, subsequent_indent=" " * min(width, 30), break_long_words=False)


def _filled(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, 110, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _clean(text: object) -> str:
    """One line of printable characters: no control characters, direction marks, surrogates or triple quotes."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(printable.replace('"""', "'''").split())


def _docstring(text: str) -> str:
    """A raw docstring, so that LaTeX stays legible; `_clean` left no triple quote and the text ends with a newline."""
    return f'r"""{text}"""'


def _verify(text: str, documentation: str) -> None:
    """Raises unless `text` is Python with that docstring, each top-level name once, importing torch and stdlib only."""
    tree = ast.parse(text)
    if ast.get_docstring(tree, clean=False) != documentation:
        raise ProgramError("Cannot export: the description would not stay inside its docstring; shorten the card")
    for node in ast.walk(tree):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        foreign = [n for n in names if n.partition(".")[0] not in ("torch", *sys.stdlib_module_names)]
        if foreign:
            raise ProgramError(f"Cannot export: the file would import {foreign[0]}, expected torch and stdlib only")
    defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    twice = sorted({name for name in defined if defined.count(name) > 1})
    if twice:
        raise ProgramError(f"Cannot export: {twice} would be defined twice; rename one in its module")


_READ: Mapping[str, str] = {
    "convolutional": "each unit activation -> convolution -> normalisation",
    "all": "each convolution and linear layer",
    "layers": "each convolution and linear layer and the activation that feeds it",
}
_CLASSES_NEEDED = """    if targets is None:
        raise ValueError(f"No score for {name}: the formula looks at classes; pass targets, (batch,) integers")
"""
_MACS_COUNTED = """    quantities["mac_count"] = float(count_macs(network, inputs[:2]))
"""
_TEMPLATE = '''{documentation}

from __future__ import annotations

{imports}

DIRECTION = {direction}
"""`score` is the formula times this, so that higher predicts higher accuracy."""
SCHEME = {scheme}
"""Initialisation the proxy was found with."""
INITIALISATION_SEED = {initialisation_seed}
"""Seed of the generator all parameters were drawn from."""
PROBE_SEED = {probe_seed}
"""Seed of the noise and the perturbation of the probes."""
STATISTICS_READ = {statistics}
UNITS_READ = {units}
"""What a unit is. convolutional: activation, convolution and normalisation; all: every convolution and linear layer as
it stands; layers: every one, image by image, with the activation that feeds it from further up."""


def score(network: nn.Module, inputs: Tensor, targets: Tensor | None = None, *, seed: int = PROBE_SEED) -> float:
    """The proxy's score of one network; higher predicts higher accuracy. The network is left as it was found.

    Args:
        network: at initialisation, on the device of `inputs`; see `prepare`.
        inputs: (batch, ...) float tensor, the same for all networks that are compared.
        targets: {targets_line}
        seed: of the noise and the perturbation of the probes.

    Raises:
        ValueError: if there is no finite score, naming the step of the formula at fault.
    """
    name = type(network).__name__
{check}    units, quantities, *_ = {capture}(
        network, inputs, seed=seed, statistics=STATISTICS_READ, targets={targets}, units=UNITS_READ
    )
{counted}    try:
        steps = formula(units, {{**quantities, "unit_count": float(len(units))}}, inputs.device)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"No score for {{name}}: {{error}}") from error
    value = float(steps[-1][1][0])
    if math.isfinite(value):
        return DIRECTION * value
    for step, result in steps:
        if not all(bool(tensor.isfinite().all()) for tensor in (result if isinstance(result, list) else [result])):
            raise ValueError(f"No score for {{name}}: non-finite after {{step!r}}")
    raise ValueError(f"No score for {{name}}: non-finite result")


def prepare(network: nn.Module, seed: int = INITIALISATION_SEED, *, scheme: str = SCHEME) -> nn.Module:
    """Draws the parameters of `network` anew, in place, as those of the networks the proxy was found on.

    Warns of parameters that keep their values, because nothing says how they are meant to be drawn.

    Raises:
        ValueError: if a layer has no shape before a first pass.
    """
    kept = initialise_(network, scheme, torch.Generator().manual_seed(seed))
    if kept:
        warnings.warn(f"These parameters keep their values: {{', '.join(kept)}}", stacklevel=2)
    return network.train()


def formula(units: list, quantities: dict, device: torch.device) -> list:
    """Every step of the formula as (name, value), the score last; a value is a list with one tensor per unit, or one
    tensor for the network."""
{steps}


# --- operators ----------------------------------------------------------------------------------------------------

{constants}


{operators}


# --- initialisation -----------------------------------------------------------------------------------------------

{initialise}


# --- statistics of a network --------------------------------------------------------------------------------------

{statistics_source}
'''
