"""What the algebra finds, what it must not, and that whatever it finds scores alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eznas.programs import Constant, Program, fold, parse
from eznas.simplification.algebra import rewrite, vocabulary
from eznas.simplification.rules import merge
from eznas.testing.values import random_value
from primitives import EXTENDED, PAPER, STATISTICS, Layers, Primitive, Statistic
from tests.strategies import random_programs

N_LAYERS = 4


def value(program: Program, seed: int) -> Tensor:
    """Of one network with random statistics, in float64."""
    generator = torch.Generator().manual_seed(seed)
    statistics = {
        s.name: random_value(s.type, N_LAYERS if s.type.level.value == "layer" else 1, generator, torch.float64)
        for s in STATISTICS.values()
    }
    statistics |= {name: x.abs() + 1 for name, x in statistics.items() if STATISTICS[name].non_negative}
    layers = Layers.of_one_network(N_LAYERS)

    def leaf(node: Statistic | Constant) -> Tensor:
        if isinstance(node, Constant):
            return torch.full((N_LAYERS if node.level.value == "layer" else 1,), node.value, dtype=torch.float64)
        return statistics[node.name]

    return fold(program, leaf=leaf, branch=lambda op, args: op(*args, layers) if op.is_aggregation else op(*args))


def of_weight(inner: str) -> str:
    return f"(mean_layers (mean {inner}))"


A, B = "activation_input.data", "activation_input_grad.data"
FOUND = [
    ("(negate (negate weight))", "weight"),
    ("(add (subtract weight weight) weight_grad.data)", "weight_grad.data"),
    ("(abs (square weight))", "(square weight)"),
    ("(multiply weight weight)", "(square weight)"),
    ("(relu (relu weight))", "(relu weight)"),
    ("(maximum weight weight)", "weight"),
    ("(negate (subtract weight weight_grad.data))", "(subtract weight_grad.data weight)"),
    ("(add weight (negate weight_grad.data))", "(subtract weight weight_grad.data)"),
    ("(multiply (square weight) (square weight_grad.data))", "(square (multiply weight weight_grad.data))"),
    ("(multiply (exp weight) (exp weight_grad.data))", "(exp (add weight weight_grad.data))"),
    (
        "(add (multiply weight weight_grad.data) (multiply weight weight_grad.noise))",
        "(multiply weight (add weight_grad.data weight_grad.noise))",
    ),
    ("(sigmoid (negate (negate weight)))", "(sigmoid weight)"),
    ("(log (abs weight))", "(log weight)"),
    ("(log (negate weight))", "(log weight)"),
    ("(divide (negate (negate weight)) (abs (abs weight_grad.data)))", "(divide weight (abs weight_grad.data))"),
    ("(negate (divide (negate weight) weight_grad.data))", "(divide weight weight_grad.data)"),
    ("(tanh (negate (negate weight)))", "(tanh weight)"),
    ("(sign (sign weight))", "(sign weight)"),
]
WHOLE = [
    (of_weight("(abs (abs weight))"), "(mean_layers (mean_abs weight))"),
    (of_weight("(sqrt (square weight))"), "(mean_layers (mean_abs weight))"),
    (of_weight("(maximum weight (negate weight))"), "(mean_layers (mean_abs weight))"),
    (of_weight("(heaviside weight)"), "(mean_layers (share_positive weight))"),
    ("(mean_layers (abs (frobenius_norm (negate weight))))", "(mean_layers (frobenius_norm weight))"),
    ("(sum_layers (log (mean (abs weight))))", "(log_sum_layers (mean_abs weight))"),
    ("(mean_layers (numel (exp (abs weight))))", "(mean_layers (numel weight))"),
    ("(add (multiply 2.0 3.0) (add parameter_count 1.0))", "(add parameter_count 7.0)"),
    ("(multiply parameter_count (subtract 3.0 2.0))", "parameter_count"),
    ("(multiply parameter_count (add 0.5 0.5))", "parameter_count"),
    ("(abs parameter_count)", "parameter_count"),
    ("(mean_layers (add 0.5@layer (add 0.5@layer (mean weight))))", "(mean_layers (add 1.0@layer (mean weight)))"),
    (f"(trace (sum_layers (gram_kernel (negate {A}))))", f"(trace (sum_layers (gram_kernel {A})))"),
    (
        "(mean_layers (element_mean (abs (abs (matmul weight weight)))))",
        "(mean_layers (element_mean_abs (matmul weight weight)))",
    ),
    ("(add (mean_layers (mean weight)) (negate (mean_layers (mean (negate (negate weight))))))", "0.0"),
]
UNTOUCHED = [
    of_weight("(exp (log weight))"),  # |w| + LOG_FLOOR, not w
    of_weight("(log (exp weight))"),  # ln(exp(w) + LOG_FLOOR), not w
    of_weight("(divide weight weight)"),  # 0 where w is 0, not 1
    of_weight("(multiply weight (divide weight_grad.data weight))"),  # not weight_grad where w is near 0
    of_weight("(sqrt weight)"),
    "(mean_layers (largest (heaviside (abs weight))))",
    "(mean_layers (largest (negate weight)))",
    "(mean_layers (largest (abs weight)))",
    f"(sum (sum_layers (log (gram_kernel {A}))))",  # log_sum_layers is for scalars only
    "(spectral_score (sum_layers (correlation_kernel activation_input.data)))",
    "(mean_layers (element_mean (broadcast_add weight weight)))",
]


@pytest.mark.parametrize(("text", "expected"), [(of_weight(a), of_weight(b)) for a, b in FOUND] + WHOLE)
def test_finds(text: str, expected: str) -> None:
    found = rewrite(parse(text)).program
    assert found.digest == parse(expected).digest, found
    for seed in range(3):
        torch.testing.assert_close(value(found, seed), value(parse(text), seed), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_leaves_alone_what_only_looks_simpler(text: str) -> None:
    assert rewrite(parse(text)).program == parse(text)


def test_says_why_a_shorter_formula_cannot_be_said() -> None:
    found = rewrite(parse(of_weight("(add weight (add weight weight))")))
    assert found.program.size == 7
    assert found.refused == "There are no constants of type Weight@layer, so 3 times it cannot be said"


@pytest.mark.parametrize("primitive_set", [PAPER, EXTENDED], ids=lambda s: s.name)
def test_random_programs_keep_value_type_and_vocabulary(primitive_set: object) -> None:
    n_simplified = 0
    for program in random_programs(primitive_set, 3, 60, max_height=5):  # type: ignore[arg-type]
        if program.size > 16:
            continue  # SymPy may take long; the deadline is tested elsewhere
        found = rewrite(program).program
        assert found == program or found.size < program.size
        assert found.type == program.type
        assert set(found.statistics) <= set(program.statistics)
        assert {n.name for n in found.nodes if isinstance(n, Primitive)} <= vocabulary(program)
        n_simplified += found != program
        try:
            before = value(program, 0)
        except (RuntimeError, ValueError):
            continue  # untyped shapes that do not fit
        if before.isfinite().all():
            torch.testing.assert_close(value(found, 0), before, rtol=1e-6, atol=1e-9)
    assert n_simplified >= 2


def test_rules_leave_to_algebra_what_it_can_see() -> None:
    program = parse(of_weight("(log (abs weight))"))
    assert merge(program, vocabulary(program)) == program
    assert rewrite(program).program.text == of_weight("(log weight)")


def test_rules_introduce_no_word_of_another_set() -> None:
    program = parse("(mean_layers (mean (abs weight)))")
    assert merge(program, vocabulary(program)).text == "(mean_layers (mean_abs weight))"
    assert merge(program, frozenset({"mean_layers", "mean", "abs"})) == program
