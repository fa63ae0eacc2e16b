"""The tables of docs/assessment.md, from experiments/results/assessment.json and the published figures beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

EXPECTED: Final = Path(__file__).parent / "expected" / "assessment.toml"
TITLES: Final = MappingProxyType({
    "nb201 cifar10": "201 C10", "nb201 cifar100": "201 C100", "nb201 imagenet16": "201 IN16", "nb101 cifar10": "101",
    "nb301 cifar10": "301", "nds_darts_in imagenet": "DARTS", "nds_enas_in imagenet": "ENAS",
    "nds_amoeba_in imagenet": "Amoeba", "nds_resnext_a_in imagenet": "ResNeXt-A",
})  # fmt: skip
CRITERIA: Final = (
    ("pearson", None), ("tau", None), ("rho", None), ("precision_top", "0.01"), ("precision_top", "0.05"),
    ("precision_top", "0.1"), ("precision_bottom", "0.01"), ("precision_bottom", "0.05"), ("precision_bottom", "0.1"),
    ("best_rank", "0.001"), ("best_rank", "0.01"), ("worst_rank", "0.001"), ("worst_rank", "0.01"),
    ("worst_rank", "0.05"),
)  # fmt: skip
SHORT: Final = MappingProxyType({
    "pearson": "Pearson", "tau": "tau", "rho": "rho", "precision_top": "P@top", "precision_bottom": "P@bottom",
    "best_rank": "BR", "worst_rank": "WR",
})  # fmt: skip
SIZES: Final = ("parameters", "MACs", "layers", "random")
EVOLVED: Final = ("general", "dimensionality")
"""Proxies that were evolved on networks of these spaces, some of them those of the samples."""
Found = Mapping[str, Any]


def short(value: float | None, digits: int = 2) -> str:
    """``.58``, ``-.04``, ``1.00``; empty if there is none."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def interval(three: Sequence[float | None] | None) -> str:
    """``.58 [.50, .65]``; empty if there is none."""
    if not three or three[0] is None:
        return ""
    return f"{short(three[0])} [{short(three[1])}, {short(three[2])}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def assessment_lines(result: Found) -> list[str]:
    """All tables, each under a heading."""
    expected = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))
    return [
        "## Which estimators beat size, and where", "", *against_size(result), "## Bad from worse, good from best", "",
        *top_and_bottom(result), "## Bias", "", *bias(result), "## Variance", "", *variance(result), "## Voting", "",
        *voting(result), "## Findings of the study", "", *findings(result), "## Published figures", "",
        *published(result, expected),
    ][:-1]  # fmt: skip


def samples(result: Found) -> dict[str, Found]:
    """Benchmarks of `TITLES` that were measured, by title."""
    return {title: result["spaces"][key] for key, title in TITLES.items() if key in result["spaces"]}


def family_samples(result: Found) -> dict[str, Found]:
    """The shipped families."""
    return {key.split()[0]: one for key, one in result["spaces"].items() if key.startswith("net_")}


def names_of(found: Mapping[str, Found]) -> list[str]:
    """Proxies of some samples, the highest mean tau first."""
    taus: dict[str, list[float]] = {}
    for one in found.values():
        for name, of in one["proxies"].items():
            if of.get("tau"):
                taus.setdefault(name, []).append(of["tau"][0])
    return sorted(taus, key=lambda name: -sum(taus[name]) / len(taus[name]))


def standing(of: Found | None) -> int | None:
    """1 if an estimator is above the best size by tau, -1 if below, 0 if its paired interval holds 0; None unranked."""
    if of is None or not of.get("difference"):
        return None
    _, low, high = of["difference"]
    return 1 if low > 0 else -1 if high < 0 else 0


MARKS: Final = MappingProxyType({1: " **+**", 0: "", -1: " -", None: ""})


def against_size(result: Found) -> list[str]:
    """tau of every proxy on every sample, and whether it is above or below the best of parameters, MACs and layers."""
    found, kin = samples(result), family_samples(result)
    rows = []
    for name in names_of(found):
        cells = []
        for one in found.values():
            of = one["proxies"].get(name)
            mark = MARKS[standing(of)] if name not in SIZES else ""
            cells.append("" if of is None or not of.get("tau") else short(of["tau"][0]) + mark)
        known = [one["proxies"][name] for one in kin.values() if one["proxies"].get(name, {}).get("tau")]
        if known:
            mean = short(sum(of["tau"][0] for of in known) / len(known))
            n_above, n_below = (sum(standing(of) == sign for of in known) for sign in (1, -1))
            cells.append(mean if name in SIZES else f"{mean} ({n_above} **+**, {n_below} -, of {len(known)})")
        else:
            cells.append("")
        rows.append([_proxy(name), *cells])
    evolved = any(name in EVOLVED for one in found.values() for name in one["proxies"])
    lines = table(["Kendall's tau", *found, f"{len(kin)} families, mean"], rows)
    lines += [
        "**+** and - mark a tau above and below that of the best of parameters, MACs, layers and chance on the same",
        "networks, where the paired 95 % interval of the difference leaves out 0.",
        *(["Proxies with † were evolved on networks of these spaces, and are no evidence."] if evolved else []), "",
    ]  # fmt: skip
    captions = []
    for title, one in (*found.items(), *list(kin.items())[:1]):
        asked = {
            n: of for n, of in one["proxies"].items() if not of["baseline"] and of.get("tau") and n not in EVOLVED
        }  # fmt: skip
        sizes = {n: of for n, of in one["proxies"].items() if of["baseline"] and of.get("tau")}
        best, size = (max(of, key=lambda n, of=of: of[n]["tau"][0]) for of in (asked, sizes))
        title = title if title in found else f"`{title}`, as the other families"
        captions.append([
            title, f"{one['n']}", f"{one['dataset']} {one['split']}, {one['epochs']}",
            f"{size} {interval(sizes[size]['tau'])}", f"`{best}` {interval(asked[best]['tau'])}",
            interval(asked[best]["difference"]),
        ])  # fmt: skip
    return [*lines, *table(["sample", "n", "accuracy", "best size", "best estimator", "difference"], captions)]


def _proxy(name: str) -> str:
    return f"*{name}*" if name in SIZES else f"`{name}` †" if name in EVOLVED else f"`{name}`"


def top_and_bottom(result: Found) -> list[str]:
    """Precision at the top and at the bottom tenth."""
    found = samples(result)
    rows, n_better, n_all = [], 0, 0
    for name in names_of(found):
        cells = []
        for one in found.values():
            of = one["proxies"].get(name) or {}
            if "precision_top" not in of or "0.1" not in of["precision_top"]:
                cells.append("")
                continue
            top, bottom = (of[f"precision_{end}"]["0.1"][0] for end in ("top", "bottom"))
            cells.append(f"{100 * top:.0f} / {100 * bottom:.0f}")
            if name not in SIZES:
                n_better += bottom > top
                n_all += 1
        rows.append([_proxy(name), *cells])
    ends: dict[str, list[float]] = {"top": [], "bottom": []}
    for one in (*found.values(), *result["published"].values()):
        for name, of in one["proxies"].items():
            if name not in SIZES and "precision_top" in of:
                for end in ends:
                    if of[f"precision_{end}"].get("0.1"):
                        _, low, high = of[f"precision_{end}"]["0.1"]
                        ends[end].append((high - low) / 2)
    half = {end: sum(values) / max(len(values), 1) for end, values in ends.items()}
    return [
        *table(["P@top / P@bottom, 10 %", *found], rows),
        f"In percent. In {n_better} of {n_all} places an estimator finds more of the worst tenth than of the best. The",
        f"95 % interval of such a share is about ±{100 * half['top']:.0f} points at the top and "
        f"±{100 * half['bottom']:.0f} at the bottom here.",
        "",
    ]  # fmt: skip


def bias(result: Found) -> list[str]:
    """Whom estimators prefer: the large, those with skips, the shallow."""
    lines: list[str] = []
    for name, numbers in result["bias"].items():
        keys = [key for key in numbers if key != "n"]
        columns = sorted(numbers[keys[0]], key=lambda column: -(numbers[keys[0]][column][0] or 0))
        columns = ["accuracy", *(column for column in columns if column != "accuracy")]
        rows = [[_of(column), *(interval(numbers[key].get(column)) for key in keys)] for column in columns]
        lines += table([f"{TITLES[f'{name} cifar10']}, {numbers['n']} networks: tau with", *keys], rows)
    for kinds in result["edits"].values():
        changes = {key: of for key, of in kinds.items() if key != "n"}
        if not changes:
            continue
        columns = [key for key in next(iter(changes.values())) if key != "pairs"]
        rows = [[_of(column), *(f"{100 * of[column]:.0f}" for of in changes.values())] for column in columns]
        titles = [f"{key.replace('nor_', '').replace('_connect', '')} ({of['pairs']:,})" for key, of in changes.items()]
        lines += [f"How often an edit raises it, in percent (pairs), of {kinds['n']:,} cells:", ""]
        lines += table(["", *titles], rows)
    return lines


def _of(column: str) -> str:
    return f"*{column}*" if column == "accuracy" else f"`{column}`"


def variance(result: Found) -> list[str]:
    """Agreement of an estimator with itself over seeds and batches."""
    rows: dict[str, list[str]] = {}
    columns = []
    for name, one in result["stability"].items():
        for over in ("seeds", "batches"):
            columns.append(f"`{name}` ({one['n']}), {over}")
            for proxy, of in one["proxies"].items():
                kinds = {kind["over"]: kind for kind in of.get("stability") or []}
                if of["baseline"]:
                    continue
                row = rows.setdefault(proxy, [])
                kind = kinds.get(over)
                row.append(
                    "" if kind is None else f"{short(kind['retest'])}; {short(min(kind['taus']))} to "
                    f"{short(max(kind['taus']))}, mean of {max(kind['averaged'], key=int)} "
                    f"{short(kind['averaged'][max(kind['averaged'], key=int)])}"
                )  # fmt: skip
    if not columns:
        return []
    return [
        "tau between two draws; the range of tau with accuracies over draws, and that of the mean score (networks in",
        "parentheses; three seeds draw weights and images anew, five batches the images alone):", "",
        *table(["", *columns], [[f"`{proxy}`", *cells] for proxy, cells in rows.items()]),
    ]  # fmt: skip


def voting(result: Found) -> list[str]:
    """Sums of ranks of three experts, less their best."""
    found = {title: result["votes"][key] for key, title in TITLES.items() if key in result["votes"]}
    votes = list(dict.fromkeys(name for one in found.values() for name in one if name != "oneshot:ensemble"))
    rows = [[f"`{name}`", *(_gap(one.get(name)) for one in found.values())] for name in votes]
    return [
        "tau of a sum of ranks less that of its best member, on the same networks (95 % interval):", "",
        *table(["", *found], rows),
    ]  # fmt: skip


def _gap(found: Sequence[Any] | None) -> str:
    return "" if found is None else f"{interval(found[1:])} ({found[0]})"


# Findings -------------------------------------------------------------------------------------------------------------


def findings(result: Found) -> list[str]:
    """Each finding of the study with its figure here and what becomes of it."""
    found = samples(result)
    rows: list[list[str]] = []

    def add(claim: str, verdict: bool | None, figure: str) -> None:
        word = "not attempted" if verdict is None else "confirmed" if verdict else "contradicted"
        rows.append([claim, word, figure])

    best = {
        title: max((n for n, of in one["proxies"].items()
                    if not of["baseline"] and of.get("tau") and "+" not in n and n not in EVOLVED),
                   key=lambda n, one=one: one["proxies"][n]["tau"][0])
        for title, one in found.items()
    }  # fmt: skip
    said = "; ".join(f"{title} {name}" for title, name in best.items())
    add("Which estimator is best depends on the space", len(set(best.values())) > 1, said)
    pairs = [
        (of["precision_bottom"]["0.1"][0], of["precision_top"]["0.1"][0])
        for one in found.values() for name, of in one["proxies"].items()
        if not of["baseline"] and "0.1" in of.get("precision_top", {})
    ]  # fmt: skip
    share = sum(bottom > top for bottom, top in pairs) / max(len(pairs), 1)
    add("All tell bad architectures apart better than good ones", share > 0.9,
        f"true in {100 * share:.0f} % of {len(pairs)} places (P@bottom above P@top at 10 %)")  # fmt: skip
    study = [title for title in ("201 C10", "201 C100", "201 IN16", "301") if title in found]
    above = [
        f"{title} {name}" for title in study for name, of in found[title]["proxies"].items()
        if not of["baseline"] and "+" not in name and name not in EVOLVED and standing(of) == 1
    ]  # fmt: skip
    said = f"above size: {', '.join(above)}" if above else "none is above the best size, by the paired interval"
    add("The best zero-shot estimator does not beat parameters on NAS-Bench-201 and 301", not above, said)
    cells = result["bias"].get("nb201")
    if cells is not None:
        tau = cells["parameters"].get("synflow") or [None] * 3
        add("synflow grows with the number of parameters", tau[0] is not None and tau[1] > 0.5,
            f"tau with parameters {interval(tau)} on NAS-Bench-201")  # fmt: skip
        texts, hold = [], []
        for name in ("snip", "grad_norm", "fisher"):
            theirs, truth = cells["skips"][name], cells["skips"]["accuracy"]
            hold.append(theirs[2] < min(0, truth[0]))
            texts.append(f"{name} {interval(theirs)}")
        add("snip, grad_norm and fisher prefer networks without skips on NAS-Bench-201", all(hold),
            f"tau with the number of skips: {', '.join(texts)}; of accuracy {interval(truth)}")  # fmt: skip
    cells = result["bias"].get("nb301")
    if cells is not None:
        theirs, truth = cells["depth"]["jacob_cov"], cells["depth"]["accuracy"]
        add("jacob_cov prefers shallow networks on NAS-Bench-301", theirs[2] < min(0, truth[1]),
            f"tau with the depth of the normal cell {interval(theirs)}; of accuracy {interval(truth)}")  # fmt: skip
    gaps = [(title, name, gap) for title, one in result["votes"].items() for name, gap in one.items() if "+" in name]
    better = [f"{TITLES.get(title, title)} {name}" for title, name, gap in gaps if gap[2] is not None and gap[2] > 0]
    worse = sum(gap[3] is not None and gap[3] < 0 for _, _, gap in gaps)
    add("A vote never beats its best member", not better,
        f"sums of ranks: above in {len(better)} of {len(gaps)} samples, below in {worse}"
        + (f" (above: {', '.join(better[:3])}{' and more' if len(better) > 3 else ''})" if better else ""))  # fmt: skip
    add("Loss ranks better than accuracy in one-shot estimates, and longer training helps", False,
        "with 4,000 images loss ranks worse and tau falls after 50 epochs ([one-shot](oneshot.md)); the study's own "
        "settings were not run")  # fmt: skip
    ensemble = result["votes"].get("nb201 cifar10", {}).get("oneshot:ensemble")
    add("Temporal ensembles help one-shot estimates", None if ensemble is None else ensemble[2] > 0,
        "" if ensemble is None else f"tau of accuracy with the weights of three checkpoints averaged, less that of the "
        f"last, {interval(ensemble[1:])} on NAS-Bench-201")  # fmt: skip
    add("Sampling without isomorphic duplicates, no affine normalisation, more Monte-Carlo samples help", None,
        "one supernet was trained")  # fmt: skip
    add("Zero-shot estimators get worse on trained weights", None, "")
    return table(["finding", "here", "figure"], rows)


# Published ------------------------------------------------------------------------------------------------------------


def published(result: Found, expected: Found) -> list[str]:
    """Published figures beside ours, and the criteria on all cells."""
    rows = []
    for figure in expected["figure"]:
        kind, key, name, criterion = figure["ours"]
        one = result[kind].get(key)
        of = None if one is None else one["proxies"].get(name)
        if one is None or of is None or not of.get(criterion):
            continue
        three = of[criterion]
        if figure.get("sign") == -1:
            three = [-three[0], -three[2], -three[1]]
        rows.append([
            figure["what"], figure["protocol"], short(figure["published"]), interval(three),
            f"{one['n']}, " + ("published scores" if kind == "published" else "our scores"),
        ])  # fmt: skip
    lines = table(["figure", "protocol", "published", "ours", "n, whose scores"], rows)
    labels = [
        SHORT[name] + ("" if share is None else f" {100 * float(share):g} %") for name, share in CRITERIA
    ]  # fmt: skip
    beside = []
    for dataset, known in ((name, of) for name, of in expected["cells"].items() if name != "source"):
        for name, values in known.items():
            for key, one in result["cells"].items():
                of = one["proxies"].get(name)
                if not key.endswith(f" {dataset}") or of is None or not of.get("tau"):
                    continue
                ours = [of[criterion][0] if share is None else of[criterion].get(share, [None])[0]
                        for criterion, share in CRITERIA]  # fmt: skip
                beside.append([dataset, name, f"{one['n']:,}", *(
                    "" if v is None else f"{short(v, 4 if criterion == 'best_rank' else 3)} "
                    f"({short(e, 4 if criterion == 'best_rank' else 3)})"
                    for v, e, (criterion, _) in zip(ours, values, CRITERIA, strict=True)
                )])  # fmt: skip
                break
    if beside:
        lines += [
            "On cells of NAS-Bench-201, ours with the published in parentheses. Ours are scores of the reduced",
            "skeleton (one cell a stage, 16 x 16 images), theirs of the benchmark's own; parameters are the same:", "",
            *table(["data set", "", "cells", *labels], beside),
        ]  # fmt: skip
    return lines
