"""Text, stored, LaTeX and SymPy forms, and cost: inverses, messages, and what hostile input meets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from eznas.errors import ProgramError
from eznas.programs import (
    MAX_SIZE,
    Constant,
    Program,
    cost,
    from_json,
    from_tree,
    load,
    parse,
    probe_passes,
    to_json,
    to_latex,
    to_sympy,
    to_tree,
)
from eznas.programs.storage import MAX_BYTES
from eznas.programs.text import MAX_TEXT
from primitives import EXTENDED, PAPER, PRIMITIVES, STATISTICS, Level, Probe
from tests.strategies import any_programs, random_programs


@settings(max_examples=150, deadline=None)
@given(program=any_programs())
def test_text_and_parse_are_inverses(program: Program) -> None:
    assert parse(program.text) == program
    assert parse(program.text.replace("(", " ( ").replace(")", "\n)\t")) == program


@settings(max_examples=150, deadline=None)
@given(program=any_programs())
def test_stored_form_and_its_reading_are_inverses(program: Program) -> None:
    assert from_json(to_json(program)) == program
    assert from_tree(json.loads(json.dumps(to_tree(program)))) == program


@settings(max_examples=200, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False), level=st.sampled_from(Level))
def test_constants_survive_both_forms_exactly(value: float, level: Level) -> None:
    program = Program((Constant(value, level),))
    for found in (parse(program.text), from_json(to_json(program))):
        assert found.text == program.text
        assert found == program


@pytest.mark.parametrize("text", ["5", "+.5", "5.", "1e3", "1E-3", "-0.25e+2"])
def test_numbers_may_be_written_in_every_usual_way(text: str) -> None:
    (node,) = parse(text).nodes
    assert isinstance(node, Constant)
    assert node.value == float(text)
    assert node.level is Level.NETWORK


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"A program text is an expression such as \(mean_layers \(mean weight\)\), got nothing"),
        ("()", r"Expected an operator name after '\(', got '\)'"),
        ("(", r"The program text ends after '\('; an operator name must follow"),
        (")", r"Unexpected '\)' at the start of the program; every '\)' closes a '\('"),
        ("(mean weight))", r"Unexpected '\)' after the end of the program; a program is one expression"),
        ("weight weight", "Unexpected 'weight' after the end of the program"),
        ("(mean weight", r"The program text ends inside '\(mean'; a '\)' is missing"),
        ("(mean)", r"Node 0 \('mean'\) takes 1 argument\(s\), got 0 in the text"),
        ("(mean weight weight)", r"Node 0 \('mean'\) takes 1 argument\(s\), got 2 in the text"),
        ("(mean (add weight))", r"Node 1 \('add'\) takes 2 argument\(s\), got 1 in the text"),
        ("(maen weight)", "Unknown operator 'maen'; did you mean 'mean'?"),
        ("(mean wieght)", "Unknown statistic 'wieght'; did you mean 'weight'?"),
        ("(abs_mean weight)", "Unknown operator 'abs_mean'; did you mean 'mean_abs'?"),
        ("(mean weight_gradient)", "Unknown statistic 'weight_gradient'; did you mean 'weight_grad.[a-z]+'?"),
        ("(gelu weight)", "Unknown operator 'gelu'; see docs/language.md for the vocabulary$"),
        ("(zigzag weight)", "Unknown operator 'zigzag'; see docs/language.md for the vocabulary$"),
        ("(mean skewness)", "Unknown statistic 'skewness'; see docs/language.md for the vocabulary$"),
        ("(weight weight)", "'weight' is a statistic, which takes no arguments; an operator is expected in its place"),
        ("(qqqqqq weight)", "Unknown operator 'qqqqqq'; see docs/language.md for the vocabulary"),
        ("(mean abs)", r"Operator 'abs' stands without its arguments; write \(abs ...\)"),
        ("(mean nan)", "Unknown statistic 'nan'"),
        ("1e999", "A constant must be finite, got inf"),
        (
            "(mean (add activation_input.data activation_output.data))",
            "Ill-typed program at node 1: argument 2 of 'add'",
        ),
        ("(mean __import__('os'))", r"Unknown statistic '__import__'"),
        ("(" + "a" * 500 + " weight)", r"Unknown operator 'a{57}\.\.\.'"),
    ],
)
def test_texts_that_are_no_program_are_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        parse(text)


def test_ten_thousand_levels_are_refused_not_a_crash() -> None:
    depth = 10_000
    with pytest.raises(ProgramError, match=f"at most {MAX_SIZE} nodes"):
        parse("(abs " * depth + "weight" + ")" * depth)
    nested = '{"op": "abs", "args": [' * depth + '{"leaf": "weight"}' + "]}" * depth
    with pytest.raises(ProgramError, match=r"nested too deeply|at most"):
        from_json(f'{{"format": "eznas-program", "version": 1, "root": {nested}}}')


@pytest.mark.parametrize("depth", [10, 500, 700, 800, 850, 900, 950, 1_000, 5_000])
def test_nested_lists_of_any_depth_are_refused(depth: int) -> None:
    with pytest.raises(ProgramError, match=r"nested too deeply|A node of a program file"):
        from_json(f'{{"format": "eznas-program", "version": 1, "root": {"[" * depth}{"]" * depth}}}')


def test_too_much_text_is_refused() -> None:
    with pytest.raises(ProgramError, match=f"at most {MAX_TEXT} characters, got {MAX_TEXT + 1}"):
        parse(" " * (MAX_TEXT + 1))
    with pytest.raises(ProgramError, match=f"at most {MAX_BYTES} bytes"):
        from_json(" " * (MAX_BYTES + 1))


def stored(root: object, **changes: object) -> str:
    return json.dumps({"format": "eznas-program", "version": 1, "root": root} | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", r"Not a program file: invalid JSON \(.*\); expected format 'eznas-program'"),
        ("[]", 'Not a program file: expected an object with "format": "eznas-program"'),
        (stored({"leaf": "weight"}, format="pickle"), "Not a program file: expected an object"),
        (
            stored({"leaf": "weight"}, version=2),
            "Program file of version 2; this release reads version 1: export it anew",
        ),
        (stored({"leaf": "wieght"}), "Unknown statistic 'wieght'; did you mean 'weight'?"),
        (stored({"leaf": "abs"}), "'abs' is an operator, which takes arguments; a statistic is expected in its place"),
        (stored({"op": "sytem", "args": []}), "Unknown operator 'sytem'"),
        (stored({"op": "mean", "args": []}), r"Operator 'mean' takes 1 argument\(s\), got 0"),
        (
            stored({"op": "mean", "args": [{"leaf": "parameter_count"}]}),
            "Ill-typed program at node 0: argument 1 of 'mean'",
        ),
        (stored({"op": "mean", "args": {"leaf": "weight"}}), r'A node of a program file is {"op", "args"}'),
        (stored({"op": "mean", "args": [], "x": 1}), r'A node of a program file is {"op", "args"}'),
        (stored(None), "A node of a program file is .*, got None"),
        (stored(["x" * 5_000]), r"A node of a program file is .{,200}$"),
        (stored({"leaf": ["weight"]}), "A node of a program file is"),
        (stored({"constant": True, "level": "layer"}), "A constant must be a number, got True"),
        (stored({"constant": "1", "level": "layer"}), "A constant must be a number, got '1'"),
        (stored({"constant": 1, "level": "cell"}), "The level of a constant is 'layer' or 'network', got 'cell'"),
        (
            stored({"constant": 1, "level": ["layer"]}),
            r"The level of a constant is 'layer' or 'network', got \['layer'\]",
        ),
        (
            stored({"constant": 10**400, "level": "layer"}),
            r"A constant must be finite, got 1000.*; the largest is 1\.8e308",
        ),
        (stored({"constant": float("nan"), "level": "layer"}), "A constant must be finite, got nan"),
        (stored({"constant": float("inf"), "level": "network"}), "A constant must be finite, got inf"),
    ],
)
def test_files_that_hold_no_program_are_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        from_json(text)


def test_an_endless_list_of_arguments_is_refused() -> None:
    with pytest.raises(ProgramError, match="takes 2 argument"):
        from_json(stored({"op": "add", "args": [{"leaf": "weight"}] * 2_000}))


def test_files_are_read_and_named_in_errors(tmp_path: Path) -> None:
    program = parse("(mean_layers (mean weight))")
    path = tmp_path / "proxy.json"
    path.write_text(to_json(program), encoding="utf-8")
    assert load(path) == program
    for content, message in (
        (b"\xff\xfe\x00", "is not UTF-8 text; expected JSON of format 'eznas-program'"),
        (b"{}", "proxy.json: Not a program file"),
        (b" " * (MAX_BYTES + 1), "proxy.json: the file has more than 1000000 bytes, at most 1000000 are read"),
        (b"", "proxy.json: Not a program file: invalid JSON"),
    ):
        path.write_bytes(content)
        with pytest.raises(ProgramError, match=message):
            load(path)
    with pytest.raises(ProgramError, match=r"Cannot read program file .*missing.json: No such file"):
        load(tmp_path / "missing.json")
    with pytest.raises(ProgramError, match="Cannot read program file"):
        load(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ProgramError, match="more than 1000000 bytes"):
        load(Path("/dev/zero"))


def test_reading_a_program_runs_no_code() -> None:
    before = set(sys.modules)
    for hostile in ("(mean __import__('this'))", stored({"leaf": "__import__('this')"})):
        with pytest.raises(ProgramError):
            (parse if hostile[0] == "(" else from_json)(hostile)
    assert "this" not in set(sys.modules) - before


@pytest.mark.parametrize("program", [p for s in (PAPER, EXTENDED) for p in random_programs(s, 5, 40)], ids=str)
def test_latex_of_any_program_typesets(program: Program) -> None:
    MathTextParser("path").parse(f"${to_latex(program)}$")


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("(square weight)", "{W}^{2}"),
        ("(square weight_grad.noise)", r"\left({\nabla W^{N}}\right)^{2}"),
        ("(square (add weight weight))", r"\left({W} + {W}\right)^{2}"),
        ("(subtract weight (subtract weight weight))", r"{W} - \left({W} - {W}\right)"),
        ("(multiply (add weight weight) weight)", r"\left({W} + {W}\right) \cdot {W}"),
        ("(add (multiply weight weight) weight)", r"{W} \cdot {W} + {W}"),
        ("(multiply -2.0 parameter_count)", r"\left(-2\right) \cdot {N_{par}}"),
        ("(multiply 1e-05 parameter_count)", r"\left(1 \times 10^{-5}\right) \cdot {N_{par}}"),
        ("(depth_weighted_mean_layers (negate (mean weight)))", r"\sum_\ell w_\ell\left(-\overline{{W}}\right)"),
        ("(largest (add weight weight))", r"\max\left({W} + {W}\right)"),
        (
            "(log_abs_determinant (add (filter_correlation weight) (filter_correlation weight)))",
            r"\ln\left|\det\left(\mathrm{corr}_f\left({W}\right) + \mathrm{corr}_f\left({W}\right)\right)\right|",
        ),
    ],
)
def test_latex_brackets_by_precedence(text: str, latex: str) -> None:
    assert to_latex(parse(text)) == latex


def test_every_leaf_has_a_symbol_of_its_own() -> None:
    assert len({s.latex for s in STATISTICS.values()}) == len(STATISTICS)


def test_sympy_form_is_closed_where_declared_and_opaque_elsewhere() -> None:
    w, g = sympy.Symbol("weight", real=True), sympy.Symbol("weight_grad.data", real=True)
    assert to_sympy(parse("(add (square weight) (abs weight_grad.data))")) == w**2 + sympy.Abs(g)
    mean_layers, mean = sympy.Function("mean_layers"), sympy.Function("mean")
    assert to_sympy(parse("(mean_layers (mean (negate weight)))")) == mean_layers(mean(-w))


@pytest.mark.parametrize(
    ("text", "passes", "expected"),
    [
        ("(add parameter_count (log mac_count))", {}, 0.0),
        ("(mean_layers (mean weight))", {}, 0.02),
        ("(mean_layers (mean weight_grad.noise))", {Probe.NOISE: 3.0}, 3.02),
        ("(mean_layers (mean activation_input.perturbed))", {Probe.DATA: 1.0, Probe.PERTURBED: 1.0}, 2.02),
        (
            "(mean_layers (mean (multiply activation_input_grad.data activation_input.perturbed)))",
            {Probe.DATA: 3.0, Probe.PERTURBED: 1.0},
            4.04,
        ),
        (
            "(mean_layers (cosine activation_input_grad.data convolution_input.data))",
            {Probe.DATA: 3.0},
            3.08,
        ),
        ("(mean_layers (add (mean (abs weight)) (mean (abs weight))))", {}, 0.06),
    ],
)
def test_cost_counts_probes_and_distinct_operators(text: str, passes: dict[Probe, float], expected: float) -> None:
    assert probe_passes(parse(text)) == passes
    assert cost(parse(text)) == pytest.approx(expected)


def test_cost_is_never_negative_and_grows_with_what_is_added() -> None:
    for program in random_programs(EXTENDED, 2, 100):
        wider = Program((PRIMITIVES["add"], *program.nodes, *parse("(mean_layers (sum weight_grad.noise))").nodes))
        assert 0 <= cost(program) <= cost(wider)
