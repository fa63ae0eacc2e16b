"""Measurements survive JSON, and a damaged one is one sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from eznas.assessment import Criterion, Measurement, measure
from eznas.errors import RunError
from eznas.forms import form_of
from tests.eznas.assessment.samples import labels_of, proxy_of


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    labels = labels_of(60)
    scores = proxy_of(labels, 5.0)
    scores[0] = np.nan
    return measure(scores, labels, direction=1, rng=np.random.default_rng(0), n_resamples=50)


def read(data: object) -> Measurement:
    """The measurement in a file that holds these data."""
    return form_of(Measurement, json.dumps(data), where="m.json", error=RunError, remedy="measure again")


def test_a_measurement_survives_json(measurement: Measurement) -> None:
    text = measurement.model_dump_json()
    assert read(json.loads(text)) == measurement
    nothing = Measurement(n=9, n_failed=9, failures={"overflow": 9}, share_tied=1.0, reason="it failed")
    assert read(json.loads(nothing.model_dump_json())) == nothing


def test_whole_numbers_are_read_as_real_ones(measurement: Measurement) -> None:
    data = measurement.model_dump() | {"share_tied": 0, "tau": {"value": 1, "low": 0, "high": 1}}
    assert read(data).tau == Criterion(value=1.0, low=0.0, high=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": "9"}, "'n' in m.json: input should be a valid integer, got '9'"),
        ({"n": True}, "Setting 'n'"),
        ({"n": 10**10}, "'n' in m.json: input should be less than or equal to 1000000000"),
        ({"share_tied": 1.5}, "Setting 'share_tied'"),
        ({"tau": {"value": float("nan"), "low": 0.0, "high": 1.0}}, "'tau.value' in m.json: input should be a finite"),
        ({"tau": {"value": 1.0, "low": "x", "high": 1.0}}, "Setting 'tau.low'"),
        ({"tau": 0.5}, "Setting 'tau'"),
        ({"colour": 1}, "Unknown key 'colour' in m.json"),
        ({"failures": dict.fromkeys(map(str, range(101)), 1)}, "'failures' in m.json: dictionary should have at most"),
        ({"failures": {"x" * 201: 1}}, "at most 200 characters"),
        ({"failures": {"x": -1}}, "Setting 'failures.x'"),
        ({"reason": "x" * 1001}, "'reason' in m.json: string should have at most 1000 characters"),
    ],
)
def test_a_damaged_measurement_is_one_sentence(
    measurement: Measurement, change: dict[str, Any], message: str
) -> None:  # fmt: skip
    with pytest.raises(RunError) as caught:
        read(measurement.model_dump() | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("data", [None, 3, [1], "x" * 1000])
def test_what_is_no_table_is_no_measurement(data: object) -> None:
    with pytest.raises(RunError, match=r"m\.json must hold a JSON object, got") as caught:
        read(data)
    assert len(str(caught.value)) < 200


def test_a_missing_key_is_named(measurement: Measurement) -> None:
    data = measurement.model_dump()
    del data["n_failed"]
    with pytest.raises(RunError, match=r"'n_failed' in m\.json: field required"):
        read(data)


def test_a_measurement_does_not_change(measurement: Measurement) -> None:
    with pytest.raises(ValidationError):
        measurement.n = 3  # type: ignore[misc]
