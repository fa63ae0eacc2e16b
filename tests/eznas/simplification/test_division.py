"""Whether the smoothing of a division shows: by its denominators over themselves on data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from eznas.evaluation import evaluate
from eznas.programs import Program, parse
from eznas.simplification import divides_plainly
from eznas.statistics import NetworkStatistics


def on(*counts: float):  # type: ignore[no-untyped-def]
    """Values of programs on networks of so many parameters and 100 multiply-accumulates each."""
    shown = [NetworkStatistics((), {"parameter_count": n, "mac_count": 100.0}) for n in counts]

    def score(programs: Sequence[Program]) -> np.ndarray:
        return np.array([[float(evaluate(p, one)) for one in shown] for p in programs])  # type: ignore[arg-type]

    return score


@pytest.mark.parametrize(
    ("text", "counts", "expected"),
    [
        ("(divide mac_count parameter_count)", (3.0, 70.0), True),
        ("(divide mac_count parameter_count)", (3.0, 0.0), False),
        ("(divide mac_count (subtract parameter_count 3.0))", (3.0, 9.0), False),
        ("(add (divide 1.0 mac_count) (divide 1.0 parameter_count))", (1.0, 2.0), True),
        ("(log parameter_count)", (1.0, 2.0), None),
    ],
)
def test_a_denominator_far_from_zero_divides_plainly(
    text: str, counts: tuple[float, ...], expected: bool | None
) -> None:
    assert divides_plainly(parse(text), on(*counts)) is expected


def test_what_lies_within_words_is_not_known_from_numbers_of_networks() -> None:
    program = parse("(mean_layers (mean (divide weight weight_grad.data)))")
    assert divides_plainly(program, on(1.0), of_networks_alone=True) is None
    asked: list[str] = []

    def score(programs: Sequence[Program]) -> np.ndarray:
        asked.extend(one.text for one in programs)
        return np.ones((len(programs), 2))

    assert divides_plainly(program, score) is True
    assert asked == ["(mean_layers (mean (divide weight_grad.data weight_grad.data)))"]
