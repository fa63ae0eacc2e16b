"""What an operator may see of its argument, and what its result may keep of it: the words of the operators' algebra."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Aspect(enum.Enum):
    """A view of a value that leaves something out.

    An operator that *sees* an aspect gives equal results for arguments that agree in it; one that *keeps* an aspect
    gives a result that agrees in it with its argument. So an operator that sees no more than another keeps gives the
    same result without the other, as the mean magnitude of ``-x`` is that of ``x``.
    """

    VALUES = "the values"
    UP_TO_SIGN = "the values, up to one sign for all"
    MAGNITUDES = "the magnitudes"
    POSITIVE_PARTS = "the positive parts"
    SIGNS = "the signs, NaN having the sign 0"
    ZEROS = "which entries are zero"
    POSITIVES = "which entries are above zero"
    SHAPE = "the shape"

    def follows_from(self, other: Aspect, *, exactly: bool) -> bool:
        """Whether values that agree in `other` agree in this one.

        Args:
            other: the aspect that is known.
            exactly: whether this must hold for NaN as well.
        """
        return self in (_IMPLIED if exactly else _IMPLIED_OF_NUMBERS)[other]


def _implied(coarser: Mapping[Aspect, tuple[Aspect, ...]]) -> dict[Aspect, frozenset[Aspect]]:
    """By aspect: all that follow from it, itself included."""
    found: dict[Aspect, frozenset[Aspect]] = {}
    for aspect in reversed(Aspect):
        found[aspect] = frozenset((aspect,)).union(*(found[c] for c in coarser[aspect]))
    return found


_COARSER: Mapping[Aspect, tuple[Aspect, ...]] = {
    Aspect.VALUES: (Aspect.UP_TO_SIGN, Aspect.POSITIVE_PARTS, Aspect.SIGNS),
    Aspect.UP_TO_SIGN: (Aspect.MAGNITUDES,),
    Aspect.MAGNITUDES: (Aspect.ZEROS,),
    Aspect.POSITIVE_PARTS: (Aspect.POSITIVES,),
    Aspect.SIGNS: (Aspect.POSITIVES,),
    Aspect.ZEROS: (Aspect.SHAPE,),
    Aspect.POSITIVES: (Aspect.SHAPE,),
    Aspect.SHAPE: (),
}
"""By aspect: the next that leave out more. They come later in `Aspect`."""
_IMPLIED = _implied(_COARSER)
# NaN has the sign 0, but is not zero.
_IMPLIED_OF_NUMBERS = _implied({**_COARSER, Aspect.SIGNS: (Aspect.POSITIVES, Aspect.ZEROS)})
