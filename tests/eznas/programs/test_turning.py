"""The opposite of a program without a minus: the same values to the last bit, no more nodes, and how it is written."""

from __future__ import annotations

import pytest

from eznas.evaluation import evaluate
from eznas.programs import directed, directed_infix, parse, to_latex, turned
from eznas.statistics import NetworkStatistics

SHOWN = NetworkStatistics((), {"parameter_count": 7.3, "mac_count": 41.7})

TURNED = {
    "(subtract (log mac_count) parameter_count)": "(subtract parameter_count (log mac_count))",
    "(negate (log mac_count))": "(log mac_count)",
    "(multiply -2.5 (log mac_count))": "(multiply 2.5 (log mac_count))",
    "(divide (negate mac_count) parameter_count)": "(divide mac_count parameter_count)",
    "(add (negate mac_count) (negate parameter_count))": "(add mac_count parameter_count)",
    "(add (negate mac_count) parameter_count)": "(subtract mac_count parameter_count)",
    "(multiply (log mac_count) (subtract 1.0 parameter_count))":
        "(multiply (log mac_count) (subtract parameter_count 1.0))",
}  # fmt: skip


@pytest.mark.parametrize("text", TURNED)
def test_a_turned_program_is_the_opposite_to_the_last_bit(text: str) -> None:
    found = turned(parse(text))
    assert found is not None
    assert found.text == TURNED[text]
    one, other = evaluate(parse(text), SHOWN), evaluate(found, SHOWN)
    assert isinstance(one, float)
    assert other == -one


@pytest.mark.parametrize("text", ["(log mac_count)", "parameter_count", "(add mac_count parameter_count)"])
def test_what_cannot_be_turned_keeps_a_minus_before_it(text: str) -> None:
    assert turned(parse(text)) is None
    program, has_minus = directed(parse(text), -1)
    assert has_minus
    assert program.text == text
    assert directed_infix(parse(text), -1).startswith("-")
    assert to_latex(parse(text), direction=-1).startswith("-")


def test_no_two_signs_follow_each_other() -> None:
    program = parse("(add (subtract mac_count (negate parameter_count)) (negate (log mac_count)))")
    shown, has_minus = directed(program, 1)
    assert not has_minus
    assert evaluate(shown, SHOWN) == evaluate(program, SHOWN)
    assert directed_infix(program, 1) == "mac_count + parameter_count - log(mac_count)"
    assert directed_infix(parse("(add mac_count parameter_count)"), -1) == "-(mac_count + parameter_count)"


def test_a_smoothed_division_is_written_as_what_it_is() -> None:
    program = parse("(divide parameter_count (add 1.0 mac_count))")
    assert to_latex(program) == r"\frac{{N_{par}}}{1 + {N_{mac}}}"
    assert to_latex(program, smoothed=True) == (
        r"\frac{{N_{par}} \cdot \left(1 + {N_{mac}}\right)}{\left(1 + {N_{mac}}\right)^{2} + \varepsilon^{2}}"
    )


def test_sums_and_products_are_read_from_the_left() -> None:
    assert to_latex(parse("(add (add 1.0 2.0) 3.0)")) == "1 + 2 + 3"
    assert to_latex(parse("(subtract (add 1.0 2.0) (subtract 3.0 4.0))")) == r"1 + 2 - \left(3 - 4\right)"
    assert to_latex(parse("(multiply (add 1.0 2.0) 3.0)")) == r"3 \cdot \left(1 + 2\right)"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("(multiply mac_count 0.25)", "0.25 * mac_count"),
        ("(add mac_count (multiply parameter_count -2.0))", "mac_count - 2 * parameter_count"),
        ("(subtract mac_count (multiply -2.0 parameter_count))", "mac_count + 2 * parameter_count"),
        ("(add (multiply -0.5 mac_count) parameter_count)", "parameter_count - 0.5 * mac_count"),
        ("(negate (multiply -0.5 mac_count))", "0.5 * mac_count"),
        ("(log (add mac_count (multiply parameter_count -2.0)))", "log(mac_count - 2 * parameter_count)"),
    ],
)
def test_numbers_come_first_and_lend_their_minus_to_the_sum(text: str, written: str) -> None:
    program = parse(text)
    shown, has_minus = directed(program, 1)
    assert not has_minus
    assert directed_infix(program, 1) == written
    assert evaluate(shown, SHOWN) == evaluate(program, SHOWN)


def test_a_sum_that_was_turned_is_tidied_too() -> None:
    program = parse("(subtract (multiply mac_count -2.0) parameter_count)")
    shown, has_minus = directed(program, -1)
    value, turned_value = evaluate(program, SHOWN), evaluate(shown, SHOWN)
    assert isinstance(value, float)
    assert isinstance(turned_value, float)
    assert (-turned_value if has_minus else turned_value) == -value
    assert directed_infix(program, -1) == "parameter_count + 2 * mac_count"
