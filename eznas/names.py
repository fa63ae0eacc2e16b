"""What a name that nobody knows was probably meant to be.

A hint that points to something unrelated is worse than none: it says that another word grants the wish. So a known name
is offered only if the unknown one is a slip of the keys, an abbreviation, or made of some of its words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_LETTERS_PER_SLIP = 4
"""Letters of a word for each of which one slip is forgiven."""
_LETTERS_OF_BEGINNING = 3
"""Fewest letters of a known word that stand for all of it; a known word itself takes one more to be a beginning."""
_LONGEST = 60
"""Letters of an unknown name that are looked at."""
_SEPARATOR = re.compile(r"[^a-z0-9]+")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, the most similar one if several may be; None if none was."""
    given = name[:_LONGEST].casefold()
    plausible = [candidate for candidate in known if _may_mean(_words(given), _words(candidate.casefold()))]
    return max(plausible, key=lambda c: difflib.SequenceMatcher(None, given, c.casefold()).ratio(), default=None)


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
