"""Unknown names: the nearest known one, in one sentence that is the same for every kind and safe to print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eznas.errors import ArchitectureError, ConfigError
from eznas.estimators import by_name
from eznas.names import nearest, one_line, shown, unknown
from eznas.nas.protocols import protocol_named
from eznas.runs.config import config_from
from eznas.spaces import networks_named, space_named


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("naswott", "naswot"), ("NASWOT", "naswot"), ("syn-flow", "synflow"), ("jacob cov", "jacob_cov"),
        ("jacob-cov", "jacob_cov"), ("zzz", None), ("", None), ("n" * 100_000, None),
    ],
)  # fmt: skip
def test_the_nearest_name(name: str, near: str | None) -> None:
    assert nearest(name, ("synflow", "naswot", "jacob_cov")) == near


def test_nothing_is_near_where_nothing_is_known() -> None:
    assert nearest("a", ()) is None
    assert unknown("word", "a", ()) == "Unknown word 'a'; known are none"


def test_without_a_near_name_the_known_are_listed_and_not_too_many() -> None:
    assert unknown("word", "zzz", ["one", "two"]) == "Unknown word 'zzz'; known are one, two"
    assert unknown("word", "zzz", map(str, range(20))).endswith(" 6, 7 and 12 more")


@given(st.text(max_size=400))
def test_what_is_shown_is_short_and_has_no_control_characters(text: str) -> None:
    for said in (shown(text), one_line(text, 60), shown({text: [text]}), unknown("word", text, ["word"])):
        assert said.isprintable()
        assert len(said) <= 800
    assert len(one_line(text, 60)) <= 60


@pytest.mark.parametrize(
    ("ask", "error", "sentence"),
    [
        (lambda: space_named("nb210"), ArchitectureError, "Unknown search space 'nb210'; did you mean 'nb201'?"),
        (lambda: networks_named("NB_201:1"), ArchitectureError, "Unknown search space 'NB_201'; did you mean 'nb201'?"),
        (lambda: by_name("Syn-Flow"), ConfigError, "Unknown published estimator 'Syn-Flow'; did you mean 'synflow'?"),
        (lambda: protocol_named("warm_up"), ConfigError, "Unknown search 'warm_up'; did you mean 'warm-up'?"),
        (lambda: config_from({"netwroks": {}}), ConfigError, "did you mean 'networks'?"),
        (lambda: config_from({"networks": {"chanels": 1}}), ConfigError, "did you mean 'channels'?"),
    ],
)  # fmt: skip
def test_every_kind_of_name_is_answered_alike(ask: object, error: type[Exception], sentence: str) -> None:
    assert callable(ask)
    with pytest.raises(error) as caught:
        ask()
    assert sentence in str(caught.value)
