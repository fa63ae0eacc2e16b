"""Ranks among a reference: the definition, what it does not depend on, and who ranks last."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from eznas.errors import ConfigError
from eznas.fitness.aggregation import MAX_TERMS, MODES, Mode, aggregate_scores, parse_sum, rank_shares, sorted_reference

Floats = npt.NDArray[np.float64]
WITH_FAILURES = st.integers(-8, 8).map(float) | st.sampled_from([math.nan, math.inf, -math.inf])
EACH_MODE = pytest.mark.parametrize("mode", MODES)


def rows(n_rows: int, n: st.SearchStrategy[int]) -> st.SearchStrategy[Floats]:
    """Scores with many ties and failures."""
    return n.flatmap(lambda m: arrays(np.float64, (n_rows, m), elements=WITH_FAILURES))


REFERENCES = rows(2, st.integers(2, 12))
NEW = rows(2, st.integers(1, 12))


def place(score: float, reference: Floats) -> float:
    """The definition, counted one by one."""
    value, others = (np.where(np.isfinite(x), x, -np.inf) for x in (np.float64(score), reference))
    below, equal = sum(other < value for other in others), sum(other == value for other in others)
    return float((below + equal / 2 + 1 / 2) / (len(reference) + 1))


@given(NEW, REFERENCES)
def test_a_share_is_what_the_definition_counts(scores: Floats, reference: Floats) -> None:
    found = rank_shares(scores[0], sorted_reference(reference[0]))
    assert found.tolist() == [pytest.approx(place(score, reference[0])) for score in scores[0]]
    assert np.all((found > 0) & (found < 1))


@given(REFERENCES)
def test_on_the_reference_itself_a_share_is_the_rank_that_scipy_gives(reference: Floats) -> None:
    values = np.where(np.isfinite(reference), reference, -np.inf)
    for row in values:
        found = rank_shares(row, sorted_reference(row))
        np.testing.assert_allclose(found, rankdata(row) / (len(row) + 1))


@given(REFERENCES)
def test_on_the_reference_itself_networks_are_ordered_as_published(reference: Floats) -> None:
    """AZ-NAS sums ln(rank / m), TE-NAS sums ranks: ours plus a constant, and ours times a constant."""
    values = np.where(np.isfinite(reference), reference, -np.inf)
    m, ranks = values.shape[1], rankdata(values, axis=1)
    has_score = np.isfinite(values).any(axis=0)
    ours = {mode: aggregate_scores(reference, sorted_reference(reference), mode=mode) for mode in MODES}
    assert np.array_equal(np.isfinite(ours["log_rank"]), has_score)
    published = np.log(ranks / m).sum(axis=0)
    constant = 2 * math.log(m / (m + 1))
    np.testing.assert_allclose(ours["log_rank"][has_score], (published + constant)[has_score])
    np.testing.assert_allclose(ours["rank_sum"][has_score] * (m + 1), ranks.sum(axis=0)[has_score])


@EACH_MODE
@given(scores=NEW, reference=REFERENCES, slope=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_only_the_order_of_a_member_counts(
    mode: Mode, scores: Floats, reference: Floats, slope: float, shift: float
) -> None:
    before = aggregate_scores(scores, sorted_reference(reference), mode=mode)

    def bent(values: Floats) -> Floats:
        finite = np.where(np.isfinite(values), values, 0.0)
        return np.where(np.isfinite(values), np.sinh(slope * finite / 4) + shift + finite, np.nan)

    after = aggregate_scores(bent(scores), sorted_reference(bent(reference)), mode=mode)
    np.testing.assert_array_equal(before, after)


@EACH_MODE
@given(reference=REFERENCES, first=st.integers(-9, 9), second=st.integers(-9, 9), other=st.integers(-9, 9))
def test_more_of_a_member_is_never_less_of_the_aggregate(
    mode: Mode, reference: Floats, first: int, second: int, other: int
) -> None:
    low, high = sorted((first, second))
    scores = aggregate_scores([[math.nan, low, high], [other] * 3], sorted_reference(reference), mode=mode)
    assert scores[0] <= scores[1] <= scores[2]
    if np.any((reference[0] > low) & (reference[0] <= high)):
        assert scores[1] < scores[2]


@EACH_MODE
@pytest.mark.parametrize("failure", [math.nan, math.inf, -math.inf])
def test_a_failure_ranks_last_and_stays(mode: Mode, failure: float) -> None:
    reference = sorted_reference([[3.0, math.nan, 1.0, math.inf], [1.0, 2.0, 3.0, 4.0]])
    assert reference[0].tolist() == [-math.inf, -math.inf, 1.0, 3.0]
    scores = aggregate_scores([[failure, -1e300, failure], [2.5, 2.5, failure]], reference, mode=mode)
    assert scores.shape == (3,)
    assert scores[0] < scores[1]
    assert math.isnan(scores[2])  # nothing is known of a network on which all fail


def test_a_score_below_or_above_the_reference_has_a_place_of_its_own() -> None:
    reference = sorted_reference([1.0, 2.0, 3.0])
    assert rank_shares([0.0, 1.0, 2.5, 3.0, 9.0], reference).tolist() == [1 / 8, 2 / 8, 5 / 8, 6 / 8, 7 / 8]


def test_weights_count() -> None:
    reference = sorted_reference([[1.0, 2.0], [1.0, 2.0]])
    scores = [[1.0, 2.0], [2.0, 1.0]]
    equal, unequal = (aggregate_scores(scores, reference, weights=w, mode="rank_sum") for w in (None, (2.0, 1.0)))
    assert equal[0] == equal[1]
    assert unequal.tolist() == pytest.approx([4 / 3, 5 / 3])


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("a+b", (("a", 1.0), ("b", 1.0))),
        (" a + 2*b ", (("a", 1.0), ("b", 2.0))),
        ("0.5*runs/first:best+x.json", (("runs/first:best", 0.5), ("x.json", 1.0))),
        ("a", (("a", 1.0),)),
    ],
)
def test_a_sum_is_read(text: str, terms: tuple[tuple[str, float], ...]) -> None:
    assert parse_sum(text) == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a+", "got '' in 'a\\+'"),
        ("", "An aggregate is written"),
        ("+".join("ab" * 2), "'a' occurs twice in 'a\\+b\\+a\\+b'; write 2\\*a instead"),
        ("0*a+b", "positive weights, got '0\\*a'"),
        ("-1*a+b", "positive weights, got '-1\\*a'"),
        ("a*b+c", "got 'a\\*b'"),
        ("9" * 400 + "*a+b", "positive weights"),
        ("+".join(f"p{i}" for i in range(MAX_TERMS + 1)), "at most 16 members, got 17"),
    ],
)
def test_what_is_no_sum_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_sum(text)
