"""Names people type: the known one that was meant, one sentence for all that are unknown, text that is safe to show.

A hint that points to something unrelated is worse than none: it says that another word grants the wish. So a known name
is offered only if the unknown one is a slip of the keys, an abbreviation, or made of some of its words.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_LONGEST: Final = 60
_N_LISTED: Final = 8
_LETTERS_PER_SLIP: Final = 4
"""Letters of a word for each of which one slip is forgiven."""
_LETTERS_OF_BEGINNING: Final = 3
"""Fewest letters of a known word that stand for all of it; a known word itself takes one more to be a beginning."""
_SEPARATOR: Final = re.compile(r"[^a-z0-9]+")
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
    """What another library says, as it may stand in a sentence: on one line, printable, short.

    Of an exception that says nothing, its kind.
    """
    text = " ".join(_printable(str(reason)[: 4 * limit], " ").split()).rstrip(".")
    if not text and isinstance(reason, BaseException):
        text = type(reason).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Text from anywhere as a terminal may be sent it: control and formatting characters are written as escapes.

    Args:
        text: of any number of lines.
        keep: characters that stay as they are although they are not printed.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def legible(text: str, limit: int) -> str:
    """A message on one line, printable, of at most so many characters; what is too long loses its middle."""
    if len(text) > 4 * limit:  # the escapes of a long text take time, and most of them would not be seen
        text = f"{text[: 2 * limit]} ... {text[-2 * limit :]}"
    text = printable(" ".join(text.split()) if "\n" in text or "\r" in text else text, keep="")
    if len(text) <= limit:
        return text
    n_last = limit // 3
    return f"{text[: limit - n_last - 5]} ... {text[-n_last:]}"


def _printable(text: str, other: str = "?") -> str:
    return "".join(c if c.isprintable() else other for c in text)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, the most similar one if several may be; None if none was."""
    given = name[:_LONGEST].casefold()
    plausible = [candidate for candidate in known if _may_mean(_words(given), _words(candidate.casefold()))]
    return max(plausible, key=lambda c: difflib.SequenceMatcher(None, given, c.casefold()).ratio(), default=None)


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


def _words(name: str) -> list[str]:
    return [word for word in _SEPARATOR.split(name) if word]


def _may_mean(given: Sequence[str], known: Sequence[str]) -> bool:
    whole = "".join(given)
    if not whole or not known:
        return False
    return (
        _is_slip(whole, "".join(known))
        or _abbreviates(whole, known)
        or all(any(_is_slip(word, other) or _begins(word, other) for other in known) for word in given)
    )


def _is_slip(given: str, known: str) -> bool:
    """Whether a few letters were left out, put in, replaced or swapped; the first is hardly ever replaced."""
    begins_alike = given[0] == known[0] or given[:2] == known[1::-1] or given == known[1:]
    allowed = max(len(given), len(known)) // _LETTERS_PER_SLIP
    return given == known or (begins_alike and _n_slips(given, known) <= allowed)


def _begins(given: str, known: str) -> bool:
    """Whether one word is the beginning of the other, as ``grad`` of ``gradient``."""
    if len(given) <= len(known):
        return len(given) >= _LETTERS_OF_BEGINNING and known.startswith(given)
    return len(known) > _LETTERS_OF_BEGINNING and given.startswith(known)


def _abbreviates(given: str, known: Sequence[str]) -> bool:
    """Whether it is the beginnings of all the words, one after another, as ``popsize`` of ``population_size``."""
    ends = {0}
    for word in known:
        ends = {end + n for end in ends for n in range(1, len(word) + 1) if given.startswith(word[:n], end)}
    return len(known) > 1 and len(given) in ends


def _n_slips(a: str, b: str) -> int:
    """Letters to leave out, put in or replace, and neighbours to swap, to make one word of the other."""
    rows = [list(range(len(b) + 1))]
    for i in range(1, len(a) + 1):
        row = [i]
        for j in range(1, len(b) + 1):
            n = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and (a[i - 2], a[i - 1]) == (b[j - 1], b[j - 2]):
                n = min(n, rows[i - 2][j - 2] + 1)
            row.append(n)
        rows.append(row)
    return rows[-1][-1]
