"""Names people type: the nearest known one, one sentence for all that are unknown, and text that is safe to show."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 60
_N_LISTED: Final = 12


def shown(text: object, limit: int = _LONGEST) -> str:
    """A text in quotes as a message may hold it: no control characters, and no more than `limit` of its characters."""
    text = str(text)
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a name is most like; None if it is like none.

    Capitals, and whether words are joined by hyphens, spaces or underscores, make no difference.
    """
    spelt: dict[str, str] = {}
    for each in known:
        spelt.setdefault(_plain(each), each)
    close = difflib.get_close_matches(_plain(name[:_LONGEST]), spelt, n=1, cutoff=0.55)
    return spelt[close[0]] if close else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known: the nearest known one, or else which are known.

    Args:
        kind: what the name is of, for example ``"search space"``.
        name: as it was typed.
        known: the names that would have done.

    Returns:
        one sentence without a full stop, ``Unknown search space 'nb202'; did you mean 'nb201'?``.
    """
    names = [*known]
    near = nearest(name, names)
    if near is not None:
        return f"Unknown {kind} {shown(name)}; did you mean {near!r}?"
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return f"Unknown {kind} {shown(name)}; known are {', '.join(names[:_N_LISTED]) or 'none'}{more}"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")
