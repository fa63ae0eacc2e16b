"""Proxies judged on a benchmark by the criteria of the field: what `eznas assess` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import nn

from eznas.assessment.assessment import (
    Assessed,
    Assessment,
    Scored,
    as_document,
    as_rows,
    assess_scores,
    n_resamples_for,
)
from eznas.assessment.bias import pairs_one_edit_apart
from eznas.assessment.stability import stability_of
from eznas.benchmarks import Benchmark, Sample, load_accuracies, load_benchmark, reporting_split, uniform
from eznas.conditions import Conditions, image_batch
from eznas.errors import BenchmarkError, ConfigError
from eznas.fitness import MIN_NETWORKS, Labels
from eznas.fitness.labels import FloatArray
from eznas.names import one_line, unknown
from eznas.randomness import stream
from eznas.scoring import (
    GivenScores,
    Request,
    Scores,
    counted,
    covariates_from,
    names_file,
    read_given,
    request_for,
    score_networks,
)
from eznas.spaces import Architecture, SearchSpace, networks_named
from eznas.study.machine import Machine, check_machine, open_workers, single_threaded
from eznas.study.observer import Observer
from eznas.study.score import why_failed
from eznas.tables import render_table

N_SCORED: Final = 200
"""Networks that are scored where nobody says how many; scores of files are of all."""
TRAINED_SIZE: Final = 32
"""Height and width of the images for which networks as trained are counted."""
_AS_TRAINED: Final = (
    f"Parameters and MACs are those of networks as trained, on images of {TRAINED_SIZE} x {TRAINED_SIZE}."
)
WIDTH: Final = 80
"""Columns of the tables of a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to assess on.

    Attributes:
        benchmark: name of one, or the CSV of accuracies of one's own networks.
        networks: those networks, as `eznas.spaces.networks_named` takes them; only with a CSV.
        dataset: whose accuracies; None is the benchmark's first.
        n: networks drawn uniformly; None is all where nothing is scored here, else `N_SCORED`.
        seed: of the draw and of all others.
        n_seeds: initialisations, each with images of its own, that proxies are scored with.
        n_batches: batches of images, with one initialisation.
        overrides: settings; see `eznas.scoring.request_for`.
    """

    benchmark: str
    networks: str | None = None
    dataset: str | None = None
    n: int | None = None
    seed: int = 0
    n_seeds: int = 1
    n_batches: int = 1
    overrides: tuple[str, ...] = ()


def assess(proxies: Sequence[str], options: Options, *, machine: Machine, observer: Observer) -> Assessment:
    """Score proxies on networks of a benchmark, and judge them beside the baselines.

    Args:
        proxies: as `eznas.scoring.request_for` takes them, or ``FILE.csv`` and ``FILE.csv:COLUMN`` of scores made
            elsewhere; none measures the baselines alone.
        options: what to assess on.
        machine: workers and device.
        observer: told how it goes on.

    Raises:
        ConfigError: if options or proxies make no sense.
        BenchmarkError: if there is no such benchmark, or too few of its networks can be used.
        EznasError: as `request_for`.
    """
    check_machine(machine)
    if min(options.n_seeds, options.n_batches) < 1:
        raise ConfigError("--seeds and --batches are counts of at least 1; leave them out, or ask for 3 and 5")
    observer.stage("Reading the benchmark and what is assessed")
    benchmark = _benchmark(options)
    dataset = options.dataset or benchmark.datasets[0]
    if dataset not in benchmark.datasets:
        raise BenchmarkError(f"{unknown('data set', dataset, benchmark.datasets)} of benchmark {benchmark.name!r}")
    split = reporting_split(benchmark, (dataset,))
    given = [one for text in proxies if names_file(text) for one in read_given(text, benchmark.architectures)]
    asked = [text for text in proxies if not names_file(text)]
    architectures = _drawn(benchmark, given, options, is_free=not asked)
    request = request_for(asked or ["parameter_count"], architectures, options.overrides)
    notes = list(request.notes) if asked else []

    scored = [_of_given(one, architectures) for one in given]
    if asked:
        scored += _scored(request, asked, architectures, options, machine, observer, notes, benchmark, dataset)
    observer.stage(f"Measuring on {len(architectures):,} networks")
    sizes, note = _sizes(architectures, request.conditions)
    notes.append(note)
    space = request.conditions.search_space
    covariates = covariates_from(architectures, sizes, space)
    scored += _baselines(architectures, sizes, request.conditions, options.seed, notes)
    names = [one.name for one in scored]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ConfigError(f"Two of the proxies are called {repeated!r}; assess one of them apart")
    accuracies = benchmark.accuracies(architectures, dataset, split)
    labels = Labels(dataset, accuracies, np.arange(len(architectures)), covariates)
    pairs = pairs_one_edit_apart([space.places(arch) for arch in architectures]) if space.places is not None else {}
    if not pairs:
        notes.append("No two of these networks are known to be one edit apart, so nothing is said of operations.")
    sample = Sample(
        name=benchmark.name, benchmark=benchmark, dataset=dataset, part="report", split=split, epochs=None,
        architectures=architectures, conditions=request.conditions,
    )  # fmt: skip
    epochs = sample.stated_epochs
    return Assessment(
        benchmark=benchmark.name,
        dataset=dataset,
        split=sample.stated_split if sample.stated_split != "unstated" else "(split not stated)",
        epochs="epochs not stated" if epochs is None else f"{epochs} epochs",
        conditions=_in_words(request.conditions) if asked else "no network was run",
        n_benchmark=len(benchmark.architectures),
        architectures=tuple(arch.spec for arch in architectures),
        accuracies=accuracies,
        size="MACs",
        label_noise=benchmark.label_noise.get(dataset),
        n_resamples=n_resamples_for(len(architectures)),
        seed=options.seed,
        proxies=assess_scores(
            scored,
            labels,
            np.array([macs for _, macs in sizes], dtype=np.float64),
            pairs=pairs,
            seed=options.seed,
            shapes=_shapes(architectures, space),
        ),
        notes=tuple(notes),
    )


def _shapes(architectures: Sequence[Architecture], space: SearchSpace[Any]) -> dict[str, FloatArray]:
    """(n,) width, depth and resolution of the networks, those that the space varies."""
    if space.shape is None:
        return {}
    found = [space.shape(arch) for arch in architectures]
    names = [name for name in found[0] if len({one[name] for one in found}) > 1]
    return {name: np.array([one[name] for one in found]) for name in names}


def _in_words(conditions: Conditions) -> str:
    """Conditions of scores, for a caption."""
    n = conditions.estimator_batch_size
    return str(conditions) if n == conditions.batch_size else f"{conditions}, {n} images for estimators"


# --- networks and scores ------------------------------------------------------------------------------------------


def _benchmark(options: Options) -> Benchmark:
    if options.networks is None:
        if options.benchmark.endswith(".csv"):
            raise ConfigError(
                f"{options.benchmark} has the accuracies of networks of your own; name those with --networks "
                "python:module:function"
            )
        return load_benchmark(options.benchmark)
    if not options.benchmark.endswith(".csv"):
        raise ConfigError("--networks names networks of your own, whose accuracies are a CSV: --benchmark FILE.csv")
    return load_accuracies(Path(options.benchmark), networks_named(options.networks))


def _drawn(
    benchmark: Benchmark, given: Sequence[GivenScores], options: Options, *, is_free: bool
) -> tuple[Architecture, ...]:
    """The networks: of those that every file scores, as many as asked for."""
    known = [arch for arch in benchmark.architectures if all(arch in one.scores for one in given)]
    n = len(known) if is_free else min(N_SCORED, len(known))
    n = n if options.n is None else options.n
    if len(known) < MIN_NETWORKS or not MIN_NETWORKS <= n <= len(known):
        scored = "" if not given else " that the files score"
        raise BenchmarkError(
            f"Benchmark {benchmark.name!r} has {len(known):,} networks{scored}, and an assessment needs {MIN_NETWORKS} "
            f"to all of them, got {n:,}; ask for another --n, or score more networks."
        )
    return tuple(known) if n == len(known) else uniform(tuple(known), n, stream(options.seed, "assess", "networks"))


def _of_given(one: GivenScores, architectures: Sequence[Architecture]) -> Scored:
    return Scored(
        name=one.name,
        scores=np.array([one.scores[arch] for arch in architectures]),
        kinds=[one.kinds.get(arch) for arch in architectures],
    )


def _scored(
    request: Request,
    asked: Sequence[str],
    architectures: tuple[Architecture, ...],
    options: Options,
    machine: Machine,
    observer: Observer,
    notes: list[str],
    benchmark: Benchmark,
    dataset: str,
) -> list[Scored]:
    """The proxies that are scored here, with their stability as far as asked."""

    def rows(under: Request, conditions: Conditions, stage: str) -> Scores:
        with single_threaded(), open_workers(machine, observer) as pool:
            observer.stage(stage)
            found = score_networks(
                under.proxies, architectures, conditions, pool, device=machine.device, progress=observer.advance
            )
        return under.rows(found)[0]

    first = rows(request, request.conditions, f"Scoring {len(architectures):,} networks of {benchmark.name}")
    notes.extend(request.rows(first)[1] if request.without_reference else ())
    notes.extend(why_failed([column.name for column in request.columns], architectures, first))
    accuracies = benchmark.accuracies(architectures, dataset, reporting_split(benchmark, (dataset,)))
    draws: dict[str, list[FloatArray]] = {}
    for number in range(1, options.n_seeds):
        stage = f"Scoring again, initialisation {number + 1} of {options.n_seeds}"
        seed = options.seed + number
        again = request_for(asked, architectures, (*options.overrides, f"seed={seed + request.conditions.seed}"))
        draws.setdefault("seeds", [first.scores]).append(rows(again, again.conditions, stage).scores)
    for number in range(1, options.n_batches):
        stage = f"Scoring again, batch {number + 1} of {options.n_batches}"
        others = _other_images(request.conditions, number)
        draws.setdefault("batches", [first.scores]).append(rows(request, others, stage).scores)
    return [
        Scored(
            name=column.name,
            scores=first.scores[row],
            kinds=first.kinds(row),
            stability=tuple(
                stability_of(what, np.stack([scores[row] for scores in found]), accuracies)
                for what, found in draws.items()
            ),
        )
        for row, column in enumerate(request.columns)
    ]


def _other_images(conditions: Conditions, number: int) -> Conditions:
    """The same networks under another batch, of as many images as programs and estimators see."""
    made = conditions.model_copy(update={"digests": {}})
    made._batches = {}
    for n in dict.fromkeys((conditions.batch_size, conditions.estimator_batch_size)):
        conditions.check_source(n)
        made._batches[n] = image_batch(
            conditions.images,
            batch_size=n,
            input_size=conditions.input_size,
            channels=conditions.channels,
            n_classes=conditions.n_classes,
            rng=stream(conditions.seed, "assess", "images", number),
        )
    return made


# --- baselines ----------------------------------------------------------------------------------------------------


def _sizes(architectures: Sequence[Architecture], conditions: Conditions) -> tuple[list[tuple[int, int]], str]:
    """Parameters and MACs of each network, as trained where that is known in closed form; and which it is."""
    space = conditions.search_space
    if space.counts is not None and space.full is not None:
        found = [space.counts(arch, space.full, TRAINED_SIZE) for arch in architectures]
        return [(one.parameters, one.macs) for one in found], _AS_TRAINED
    sizes = [counted(arch, conditions) for arch in architectures]
    return sizes, "Parameters and MACs are those of networks as they are built here."


def _baselines(
    architectures: Sequence[Architecture],
    sizes: Sequence[tuple[int, int]],
    conditions: Conditions,
    seed: int,
    notes: list[str],
) -> list[Scored]:
    """Parameters, MACs, layers and chance, what every proxy is measured beside."""
    space = conditions.search_space
    levels = [space.level(arch) for arch in architectures]
    if None in levels:
        layers = [_n_layers(arch, conditions) for arch in architectures]
        notes.append("Layers are the convolutions and linear layers of a network.")
    else:
        layers = [level or 0 for level in levels]
        notes.append("Layers are the space's own level of complexity; of cells, their convolutions.")
    values: dict[str, npt.ArrayLike] = {
        "parameters": [n for n, _ in sizes],
        "MACs": [n for _, n in sizes],
        "layers": layers,
        "random": stream(seed, "assess", "random").random(len(architectures)),
    }
    return [
        Scored(name=name, scores=np.array(found, dtype=np.float64), is_baseline=True) for name, found in values.items()
    ]


def _n_layers(arch: Architecture, conditions: Conditions) -> int:
    """Convolutions and linear layers of a network."""
    network = conditions.network(arch)
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    return sum(isinstance(module, kinds) for module in network.modules())


# --- texts --------------------------------------------------------------------------------------------------------


def assessment_text(assessment: Assessment, form: str) -> str:
    """The assessment as tables that fit `WIDTH` columns, as JSON, or as CSV with a row per proxy and criterion."""
    if form == "json":
        return json.dumps(as_document(assessment), indent=1, allow_nan=False) + "\n"
    if form == "csv":
        return render_table(as_rows(assessment), "csv")
    parts = [
        ("How scores rank: tau, less that of the best baseline, rho within equal size", _first(assessment)),
        ("Other criteria (top: the best tenth by accuracy)", _second(assessment)),
        ("Picks (%): precision at top and bottom, best rank (BR) and worst rank (WR)", _picks(assessment)),
        (f"Bias by {assessment.size}, smallest fifth to largest: ranked too high by % of all", _by_size(assessment)),
    ]
    shapes = dict.fromkeys(name for one in assessment.proxies for name in one.shapes)
    for shape in shapes:
        parts.append((f"Bias by {shape}, least to most: ranked too high by % of all", _by_size(assessment, shape)))
    if any(one.edits for one in assessment.proxies):
        title = "Bias by operation: pairs one edit apart, how often each rises (%)"
        parts.append((title, _edits(assessment)))
    if any(one.stability for one in assessment.proxies):
        parts.append(("Stability over seeds and batches", _stable(assessment)))
    text = "".join(f"{title}\n{render_table(rows, 'table', width=WIDTH)}\n" for title, rows in parts)
    reasons = [(one, one.measurement.reason) for one in assessment.proxies if one.measurement.reason is not None]
    text += "".join(_wrapped(f"{_name(one)} ranks no networks because {reason}") for one, reason in reasons)
    return text + _wrapped(assessment.caption)


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, WIDTH) + "\n"


def _first(assessment: Assessment) -> list[dict[str, str]]:
    rows = []
    for one in assessment.proxies:
        tau, gap = one.measurement.tau, one.differences.get("tau")
        rows.append({
            "proxy": _name(one),
            "tau": "-" if tau is None else _interval(tau.value, tau.low, tau.high),
            "less best base": "-" if gap is None else _interval(gap[1].value, gap[1].low, gap[1].high),
            "level": _value(one, "level_rho"),
            "failed": _failed(one),
        })  # fmt: skip
    return rows


def _failed(one: Assessed) -> str:
    kinds = one.measurement.failures
    return ", ".join(f"{n} {kind}" for kind, n in kinds.items()) if kinds else "0"


def _second(assessment: Assessment) -> list[dict[str, str]]:
    titles = {
        "rho": "rho", "pearson": "Pear.", "sparse_tau": "sparse", "weighted_tau": "weigh.", "partial_tau": "part.",
        "top_tau": "top tau", "ndcg": "nDCG",
    }  # fmt: skip
    return [
        {"proxy": _name(one), **{title: _value(one, name) for name, title in titles.items()}}
        for one in assessment.proxies
    ]


def _picks(assessment: Assessment) -> list[dict[str, str]]:
    wanted = [
        ("precision_top", 0.01, "top1"), ("precision_top", 0.05, "top5"), ("precision_top", 0.1, "top10"),
        ("precision_bottom", 0.05, "low5"), ("precision_bottom", 0.1, "low10"),
        ("best_rank", 0.01, "BR1"), ("best_rank", 0.05, "BR5"), ("worst_rank", 0.05, "WR5"),
    ]  # fmt: skip
    rows = []
    for one in assessment.proxies:
        row = {"proxy": _name(one)}
        for name, share, title in wanted:
            value = one.standing.picks[name].get(share) if one.standing else None
            row[title] = "-" if value is None else f"{100 * value:.2g}" if value < 0.1 else f"{100 * value:.0f}"
        rows.append(row)
    return rows


def _by_size(assessment: Assessment, shape: str | None = None) -> list[dict[str, str]]:
    rows = []
    for one in assessment.proxies:
        groups = one.sizes if shape is None else one.shapes.get(shape, ())
        row = {"proxy": _name(one)}
        for place in range(5):
            group = groups[place] if place < len(groups) else None
            tau = None if group is None or group.tau is None else f"{group.tau.value:.2f}"
            row[f"{place + 1} (tau)"] = "-" if group is None else f"{100 * group.difference:+.0f} ({tau or '-'})"
        rows.append(row)
    return rows


def _edits(assessment: Assessment) -> list[dict[str, str]]:
    shown = [one for one in assessment.proxies if one.edits][:4]
    rows = []
    for edit in shown[0].edits[:10]:
        row = {"edit": f"{edit.before} -> {edit.after}", "pairs": f"{edit.n:,}", "truth": f"{100 * edit.truth:.0f}"}
        for one in shown:
            same = next((o for o in one.edits if (o.before, o.after) == (edit.before, edit.after)), None)
            row[_name(one)[:10]] = "-" if same is None else f"{100 * same.estimate:.0f}"
        rows.append(row)
    return rows


def _stable(assessment: Assessment) -> list[dict[str, str]]:
    rows = []
    for one in assessment.proxies:
        for kind in one.stability:
            row = {"proxy": _name(one), "over": f"{len(kind.taus)} {kind.what}", "retest tau": f"{kind.retest:.3f}"}
            row["tau"] = f"{min(kind.taus):.3f} to {max(kind.taus):.3f}"
            row["averaged"] = ", ".join(f"{n}: {tau:.3f}" for n, tau in kind.averaged.items())
            rows.append(row)
    return rows


def _name(one: Assessed) -> str:
    """Short; baselines, which nobody asked for, stand in parentheses."""
    if one.is_baseline:
        return "(params)" if one.name == "parameters" else f"({one.name})"
    text = one_line(one.name)
    return text if len(text) <= 16 else f"{text[:15]}…"


def _value(one: Assessed, name: str) -> str:
    found = one.measurement.criteria.get(name) or one.intervals.get(name)
    value = found.value if found else (one.standing.criteria.get(name, np.nan) if one.standing else np.nan)
    return f"{value:.3f}" if np.isfinite(value) else "-"


def _interval(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:.3f}"
    ends = ",".join(f"{end:.2f}".replace("0.", ".", 1) for end in (low, high))
    return f"{value:.3f} [{ends}]"
