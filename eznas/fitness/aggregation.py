"""Aggregation by rank: what several scores say together, counted in ranks among the networks of a reference sample.

The place of one score among the m of a reference is a *share* in (0, 1):

    share = (number below + half of the number equal + 1/2) / (m + 1)

* On the reference itself it is the mid-rank over m + 1: ``scipy.stats.rankdata(scores) / (m + 1)``.
* A score below the whole reference has 1/2 / (m + 1), one above it all (m + 1/2) / (m + 1): never 0, so that its
  logarithm exists, and never a rank that a network of the reference has.
* It depends on the order alone: any increasing transformation of a score, of the reference too, leaves it as it is.
* Whatever is not finite is a failure. All failures are equal and lie below every finite score.

An aggregate is the weighted sum of the shares of its members, or of their logarithms. The published definitions rank
the candidates among themselves, from 1 (worst) to m (best); theirs and ours order the same networks in the same way:
``sum ln(rank / m)`` is ours plus a constant, and ``sum rank`` is ours times m + 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from eznas.errors import ConfigError

Floats = npt.NDArray[np.float64]
Mode = Literal["log_rank", "rank_sum"]
"""How members are combined: by the sum of the logarithms of their shares, or of the shares."""
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
MAX_TERMS: Final = 16
"""Most members of an aggregate."""
_TERM: Final = re.compile(r"(?:(?P<weight>[0-9]+(?:\.[0-9]+)?)\*)?(?P<name>[^*]+)")


def sorted_reference(scores: npt.ArrayLike) -> Floats:
    """(..., m) scores in ascending order, as ``-inf`` where they are not finite."""
    values = np.asarray(scores, dtype=np.float64)
    return np.sort(np.where(np.isfinite(values), values, -np.inf), axis=-1)


def rank_shares(scores: npt.ArrayLike, reference: Floats) -> Floats:
    """The place of each score among those of a reference.

    Args:
        scores: (n,) scores; what is not finite ranks last.
        reference: (m,) scores as `sorted_reference` returns them.

    Returns:
        (n,) shares in (0, 1); higher is better.
    """
    values = np.asarray(scores, dtype=np.float64)
    values = np.where(np.isfinite(values), values, -np.inf)
    n_below = np.searchsorted(reference, values, side="left")
    n_not_above = np.searchsorted(reference, values, side="right")
    shares: Floats = (n_below + n_not_above + 1) / 2 / (len(reference) + 1)
    return shares


def aggregate_scores(
    scores: npt.ArrayLike, reference: Floats, *, weights: Sequence[float] | None = None, mode: Mode = "log_rank"
) -> Floats:
    """One score per network from those of several members.

    Args:
        scores: (k, n) scores of k members on n networks, in the direction in which a higher one predicts a higher
            accuracy; one that is not finite has the lowest place of that member.
        reference: (k, m) scores of the same members on the reference, as `sorted_reference` returns them.
        weights: of the members, positive; equal without.
        mode: see `Mode`.

    Returns:
        (n,) scores; higher predicts a higher accuracy. NaN where every member failed, which says nothing.
    """
    values = np.asarray(scores, dtype=np.float64)
    shares = np.stack([rank_shares(row, among) for row, among in zip(values, reference, strict=True)])
    terms = np.log(shares) if mode == "log_rank" else shares
    sums = np.asarray(np.ones(len(values)) if weights is None else weights, dtype=np.float64) @ terms
    result: Floats = np.where(np.isfinite(values).any(axis=0), sums, np.nan)
    return result


def parse_sum(text: str) -> tuple[tuple[str, float], ...]:
    """Names and weights of a sum such as ``jacob_cov+2*parameter_count``; a weight that is not given is 1.

    Raises:
        ConfigError: if a term is empty or has no positive weight, a name occurs twice, or there are too many.
    """
    terms: dict[str, float] = {}
    for part in text.split("+"):
        found = _TERM.fullmatch(part.strip())
        weight = float(found["weight"] or 1) if found else math.nan
        if found is None or not 0 < weight < math.inf:
            raise ConfigError(
                f"An aggregate is written NAME+NAME or WEIGHT*NAME+NAME with positive weights, got {part.strip()!r} "
                f"in {text[:200]!r}"
            )
        if found["name"] in terms:
            raise ConfigError(f"{found['name']!r} occurs twice in {text[:200]!r}; write 2*{found['name']} instead")
        terms[found["name"]] = weight
    if len(terms) > MAX_TERMS:
        raise ConfigError(f"An aggregate has at most {MAX_TERMS} members, got {len(terms)}; leave some out")
    return tuple(terms.items())
