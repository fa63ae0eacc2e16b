"""The gallery in every form it is shown or taken away in, and badges of any proxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from eznas.assessment import BADGES, read_badges
from eznas.assessment.card import card_of
from eznas.benchmarks import networks_of
from eznas.conditions import Conditions
from eznas.errors import ConfigError
from eznas.export import export_proxy
from eznas.fitness import MIN_NETWORKS
from eznas.proxies import RankAggregate, StoredProxy, gallery_proxy
from eznas.proxies.named import is_sum
from eznas.reporting import card_text, gallery_rows, gallery_text
from eznas.scoring import request_for
from eznas.spaces import nb201
from eznas.study.machine import Machine, check_machine, single_threaded
from eznas.study.observer import Observer
from eznas.tables import render_table

WITHOUT_ANY: Final = Conditions(settings=nb201.Settings())
"""What an exported file says of a formula whose own file holds no conditions; the search space is of no matter."""


def gallery_in(name: str | None, form: str, *, width: int) -> str:
    """The table of the gallery, or one proxy of it.

    Args:
        name: of a proxy; None for the table.
        form: ``"table"`` or ``"json"``; ``"csv"`` of the table; ``"latex"`` or ``"python"`` of one proxy.
        width: of a line of text.

    Raises:
        ConfigError: if there is no such proxy, or not this form of it.
    """
    if name is None:
        if form in ("latex", "python"):
            raise ConfigError(f"The whole gallery has no {form} form, only one proxy has; name it (eznas gallery NAME)")
        return gallery_text(width) if form == "table" else render_table(gallery_rows(), form)
    stored = gallery_proxy(name)
    if form == "csv":
        raise ConfigError("A model card is a table, json, latex or python, got --format csv; eznas gallery prints csv")
    if form == "table":
        return card_text(name, width)
    if form == "json":
        card = card_of(name)
        about = {"name": name, "about": dict(stored.card), "card": card.model_dump(mode="json") if card else None}
        return json.dumps(about, indent=1) + "\n"
    return exported(stored, form)


def exported(stored: StoredProxy, form: str) -> str:
    """A proxy of the gallery as a Python file or LaTeX."""
    conditions = stored.conditions[0] if stored.conditions else WITHOUT_ANY
    return export_proxy(stored.proxy, form, conditions=conditions, card=dict(stored.card))


def badges_of(
    names: Sequence[str], networks: str, *, overrides: Sequence[str] = (), device: str = "cpu", observer: Observer
) -> list[dict[str, Any]]:
    """A row for each proxy and badge.

    Args:
        names: proxies as a user calls them.
        networks: as a user names them; five at least.
        overrides: settings of networks and probe.
        device: of the networks.
        observer: told how it goes on.

    Raises:
        ConfigError: if the device is absent, a name is a sum or an aggregate, which ranks networks among others, or
            there are too few networks.
        EznasError: as proxies, networks and images are read.
    """
    check_machine(Machine(device=device))
    for name in names:
        if is_sum(name):
            raise ConfigError(f"{name} ranks networks among each other and has no badges; name its members instead")
    observer.stage("Reading the networks")
    architectures = networks_of(networks)
    if len(architectures) < MIN_NETWORKS:
        raise ConfigError(f"Badges need {MIN_NETWORKS} networks or more, got {len(architectures)}; name more")
    request = request_for(names, architectures, overrides)
    for proxy in request.proxies:
        if isinstance(proxy, RankAggregate):
            raise ConfigError(f"{proxy.name} is an aggregate, which has no badges; read those of its members instead")
    observer.stage(f"Scoring {len(architectures)} networks with one thing changed after another")
    with single_threaded():
        found = read_badges(
            request.proxies, architectures, request.conditions, device=device, progress=observer.advance
        )
    return [
        {
            "proxy": column.name, "changed": BADGES[one.badge].title, "ranks alike": "yes" if one.is_won else "no",
            "tau": None if one.tau is None else round(one.tau, 3),
            "scores move by": None if one.change is None else round(one.change, 4),
            "at most": None if one.largest is None else round(one.largest, 4), "networks": one.n,
        }
        for column in request.columns
        for one in found[column.proxies[0]].values()
    ]  # fmt: skip
