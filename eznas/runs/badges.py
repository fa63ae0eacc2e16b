"""What the proxies of a finished run do not mind, as it is stored beside its front: measured once, read by its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from eznas.errors import RunError
from eznas.files import is_file
from eznas.forms import Form, read_form

FILE: Final = "badges.json"
_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Seconds = Annotated[float, Field(ge=0)]


class BadgeReading(Form):
    """What became of the scores when one thing was changed, see `eznas.assessment.Reading`."""

    badge: _Text
    title: _Text
    """What was changed, for people."""
    n: Annotated[int, Field(ge=0)]
    tau: float | None
    low: float | None = None
    high: float | None = None
    change: float | None
    is_won: bool


class ProxyBadges(Form):
    """One proxy, measured by itself."""

    seconds: tuple[_Seconds, _Seconds, _Seconds] | None
    """Time of one network on one core: the lower quartile over the networks, the median, the upper quartile."""
    readings: Annotated[tuple[BadgeReading, ...], Field(max_length=100)]


class BadgeSheet(Form):
    """What proxies of a run do not mind, on some networks of its report."""

    format: Literal["eznas-badges"] = "eznas-badges"
    version: Literal[1] = 1
    family: _Text
    """Whose networks."""
    n: Annotated[int, Field(ge=1)]
    """How many of them."""
    machine: Annotated[str, Field(max_length=200)]
    """The processor."""
    seconds: _Seconds
    """That measuring the last one took."""
    proxies: Annotated[dict[str, ProxyBadges], Field(max_length=10_000)]
    """By id."""


def load_badges(run_dir: Path) -> BadgeSheet | None:
    """What was measured of a run; None if nothing was.

    Raises:
        RunError: if the file is damaged.
    """
    path = Path(run_dir) / FILE
    if not is_file(path):
        return None
    return read_form(BadgeSheet, path, error=RunError, remedy="remove it, and measure anew with eznas badges RUN")
