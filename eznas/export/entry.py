"""A proxy of a run in every form it can be taken away in."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from eznas.conditions import Conditions
from eznas.errors import ConfigError
from eznas.export.python import export_python
from eznas.names import one_line, unknown
from eznas.programs import directed_sympy, to_latex
from eznas.proxies import ProgramProxy, Proxy, proxy_of_entry, proxy_to_json
from eznas.runs import Entry, Front
from eznas.runs.front import tau_text

Target = Literal["python", "json", "latex", "sympy"]
TARGETS: tuple[Target, ...] = get_args(Target)


def export_entry(front: Front, entry: Entry, target: str) -> str:
    """A proxy of a run, with what a reader should know of it.

    Raises:
        ConfigError: if there is no such form, or the proxy is no program and the form needs one.
    """
    proxy, conditions = proxy_of_entry(entry), front.learnt[0].conditions
    if isinstance(proxy, ProgramProxy):
        proxy = replace(proxy, name=one_line(proxy.name))
    return export_proxy(
        proxy, target, conditions=conditions, card=proxy_card(front, entry), smoothed=entry.division == "smoothed"
    )


def export_proxy(
    proxy: Proxy,
    target: str,
    *,
    conditions: Conditions,
    card: dict[str, str] | None = None,
    smoothed: bool = False,
) -> str:
    """A proxy as text: ``"python"``, ``"json"``, ``"latex"`` or ``"sympy"``; of its formulas higher is better.

    Args:
        proxy: to take away.
        target: the form.
        conditions: how networks were built and excited where it was found.
        card: what to tell the reader, a label with a text each.
        smoothed: whether LaTeX shows divisions as what they are, see `eznas.programs.to_latex`.

    Raises:
        ConfigError: if there is no such form, or the proxy is no program and the form needs one.
    """
    if target not in TARGETS:
        raise ConfigError(unknown("form of an exported proxy", target, TARGETS))
    if target == "json":
        bound = proxy.bound(conditions) if isinstance(proxy, ProgramProxy) else proxy
        return proxy_to_json(bound, conditions, card)
    if not isinstance(proxy, ProgramProxy):
        raise ConfigError(
            f"Proxy {proxy.name!r} is no program, and only a program has a formula; export it --to json, or score it "
            f"by name with eznas score {proxy.name}"
        )
    match target:
        case "latex":
            return to_latex(proxy.program, direction=proxy.direction, smoothed=smoothed) + "\n"
        case "sympy":
            return str(directed_sympy(proxy.program, proxy.direction)) + "\n"
    return export_python(proxy, conditions, card=card, smoothed=smoothed)


def proxy_card(front: Front, entry: Entry) -> dict[str, str]:
    """What a reader of an exported proxy should know: which run found it, on what, and how well it ranks what else."""
    run = front.run
    card = {
        "Proxy": f"{entry.label} of run {run.name} (seed {run.seed}, primitive set {run.primitive_set})",
        "Accuracies": front.provenance,
    }
    if run.n_folds is not None:
        card["Report"] = (
            f"cross-fitted in {run.n_folds} folds; this formula was evolved on all networks, and the figures are of "
            "searches that did not see the networks they are of"
        )
    for sample in front.samples:
        card[f"Evolved on {sample.name}"] = "nothing, it was left out" if sample.is_left_out else str(sample.evolve)
        if sample.coverage is not None and entry.units is not None:
            card[f"Reads of {sample.name}"] = f"{sample.coverage} (units: {entry.units})"
        measured = entry.report.get(sample.name)
        if measured is not None and measured.tau is not None:
            rho = "" if measured.rho is None else f", Spearman {measured.rho.value:.3f}"
            card[f"Held-out {sample.name}"] = (
                f"Kendall tau-b {tau_text(measured)} (95 % bootstrap interval){rho} on {sample.report}"
            )
    return {one_line(label, 400): one_line(text, 4_000) for label, text in card.items()}
