"""Names people type: the nearest known one, one sentence for all that are unknown, and text that is safe to show."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LONGEST: Final = 60
_N_LISTED: Final = 12
_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 2, 4, 4, 4
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 60, 60, 40


def shown(value: object, limit: int = _LONGEST) -> str:
    """A value from a user or a file as a message may hold it: quoted, on one line, short, no control characters."""
    if isinstance(value, str):
        return repr(value if len(value) <= limit else value[: limit - 3] + "...")
    if isinstance(value, Path):
        return shown(str(value), limit)
    return _printable(_SHORT.repr(value))


def one_line(reason: object, limit: int = 160) -> str:
    """What another library says, as it may stand in a sentence: on one line, printable, short."""
    text = " ".join(_printable(str(reason)[: 4 * limit], " ").split()).rstrip(".")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _printable(text: str, other: str = "?") -> str:
    return "".join(c if c.isprintable() else other for c in text)


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
