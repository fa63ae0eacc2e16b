"""Every estimator on every kind of network: a number or a reason, as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eznas.estimators import PUBLISHED, Estimator
from eznas.programs import Invalid
from eznas.testing import check_estimator
from tests.eznas.estimators.kinds import KINDS, N_CLASSES, networks
from tests.eznas.estimators.small_networks import labels

PAGE = Path(__file__).parents[3] / "docs" / "estimators.md"
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
CLASSES = labels(8, N_CLASSES)


@pytest.mark.parametrize("estimator", PUBLISHED, ids=lambda estimator: estimator.name)
def test_on_every_kind_an_estimator_keeps_its_promises(estimator: Estimator) -> None:
    """A finite number or a reason, the same each time; the network, the images and the generators as they were."""
    beside_those_of_the_contract = ("SiLU CNN", "mixer", "ViT", "LSTM")
    check_estimator(estimator, {kind: networks(kind)[0] for kind in beside_those_of_the_contract})


def said(estimator: Estimator, kind: str) -> str:
    """``yes``, a number; ``same``, one number for two sizes; ``no``, a reason; ``some``, a reason for one of them."""
    found = [estimator.outcome(network, IMAGES, CLASSES) for network in networks(kind)]
    assert all(isinstance(outcome, float) or outcome.detail.isprintable() for outcome in found)
    n_failed = sum(isinstance(outcome, Invalid) for outcome in found)
    if n_failed:
        return "no" if n_failed == len(found) else "some"
    return "same" if found[0] == found[1] else "yes"


def table() -> list[str]:
    """The table of the page, estimators with equal rows together."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for estimator in PUBLISHED:
        rows.setdefault(tuple(said(estimator, kind) for kind in KINDS), []).append(f"`{estimator.name}`")
    head = [f"| Estimators | {' | '.join(KINDS)} |", f"|{'---|' * (len(KINDS) + 1)}"]
    return [*head, *(f"| {', '.join(names)} | {' | '.join(row)} |" for row, names in rows.items())]


def test_the_page_says_which_estimator_works_on_which_kind() -> None:
    expected = "\n".join(table())
    assert expected in PAGE.read_text(encoding="utf-8"), f"The table of {PAGE.name} should read\n{expected}"
