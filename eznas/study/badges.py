"""What the pick of a run does not mind, and how long it takes by itself: measured on networks of the run's report."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eznas.assessment import BADGES, Reading, read_badges
from eznas.errors import ConfigError, EznasError
from eznas.files import is_folder
from eznas.fitness import MIN_NETWORKS
from eznas.proxies import Proxy, batch_size_for, proxy_of_entry
from eznas.runs import Front, RunFolder, load_front
from eznas.runs.badges import FILE, BadgeReading, BadgeSheet, ProxyBadges, load_badges
from eznas.runs.config import ReportSettings, load_config
from eznas.runs.interim import PAGE
from eznas.runs.manifest import Manifest
from eznas.study.machine import Machine, check_machine, single_threaded
from eznas.study.observer import Observer
from eznas.study.problem import GIVEN, Family, Problem, prepare


def badges_in_runs(
    names: Sequence[str], *, device: str = "cpu", observer: Observer
) -> tuple[list[dict[str, Any]], list[str], list[Path]]:
    """Measures those of some proxies that are a run's, keeps that in its folder, and writes its page anew.

    Args:
        names: proxies as a user calls them; a folder of a run is its pick.
        device: of the networks.
        observer: told how it goes on.

    Returns:
        A row for each of them and each badge; the names that are of no run; the pages that were written.

    Raises:
        RunError: if a run is not finished, was changed, or has no such proxy.
        ConfigError: if the device is absent, the networks of a run were handed over as objects, or are too few.
        EznasError: as the data of the run are read.
    """
    check_machine(Machine(device=device))
    wanted: dict[Path, list[str]] = {}
    others = []
    for name in names:
        folder, colon, proxy_id = name.rpartition(":")
        if is_folder(name):
            wanted.setdefault(Path(name), []).append("best")
        elif colon and is_folder(folder):
            wanted.setdefault(Path(folder), []).append(proxy_id)
        else:
            others.append(name)
    rows, pages = [], []
    for run_dir, ids in wanted.items():
        front, sheet = _measured(run_dir, tuple(ids), device, observer)
        rows += _rows(front, sheet, tuple(ids))
        pages.append(run_dir / PAGE)
    return rows, others, pages


def _measured(run_dir: Path, ids: tuple[str, ...], device: str, observer: Observer) -> tuple[Front, BadgeSheet]:
    from eznas.reporting import write_report

    folder = RunFolder.open(run_dir)
    front = load_front(run_dir)
    for one in ids:
        front.entry(one)
    settings = load_config(folder.path / "config.toml")
    Manifest.read(folder.path).check_settings(settings, folder.path)
    if any(sample.networks == GIVEN for sample in settings.all_samples):
        raise ConfigError(
            f"The networks of {run_dir} were handed over as objects, which its folder does not hold; name others with "
            "--networks"
        )
    with folder.writing():
        sheet = measure_badges(folder, prepare(settings), observer, ids=ids, device=device)
        if sheet is None:
            raise ConfigError(f"Badges need {MIN_NETWORKS} networks or more, and {run_dir} reports on fewer")
        write_report(run_dir)
    return front, sheet


def measure_badges(
    folder: RunFolder,
    problem: Problem,
    observer: Observer,
    *,
    ids: tuple[str, ...] = ("best",),
    device: str = "cpu",
) -> BadgeSheet | None:
    """Badges and time of proxies of a measured run, kept in its folder beside those measured there before.

    Returns:
        None if the run found nothing, or reports on too few networks.
    """
    front = load_front(folder.path)
    family = max(problem.learnt, key=lambda one: len(one.networks("report")))
    n = problem.config.report.badge_networks or ReportSettings().badge_networks
    networks = family.networks("report")[:n]
    if front.pick is None or len(networks) < MIN_NETWORKS:
        return None
    start = time.perf_counter()
    observer.stage(f"Reading badges on {len(networks)} networks with one thing changed after another")
    before = load_badges(folder.path)
    found = dict(before.proxies) if before is not None and _is_alike(before, family, len(networks)) else {}
    with single_threaded():
        for entry in dict.fromkeys(front.entry(one).id for one in ids):
            proxy = proxy_of_entry(front.entry(entry))
            (readings,) = read_badges(
                [proxy], networks, family.conditions, device=device, progress=observer.advance
            )
            found[entry] = ProxyBadges(
                seconds=_seconds(proxy, family, len(networks), device),
                readings=tuple(_line(one) for one in readings.values()),
            )
    sheet = BadgeSheet(
        family=family.name, n=len(networks), machine=processor(), seconds=round(time.perf_counter() - start, 1),
        proxies=found,
    )  # fmt: skip
    folder.replace(FILE, sheet.model_dump_json(indent=1))
    return sheet


def _rows(front: Front, sheet: BadgeSheet, ids: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each of these proxies and badges."""
    return [
        {
            "proxy": front.entry(one).label, "changed": line.title, "ranks alike": "yes" if line.is_won else "no",
            "tau": None if line.tau is None else round(line.tau, 3),
            "low": None if line.low is None else round(line.low, 3),
            "high": None if line.high is None else round(line.high, 3),
            "scores move by": None if line.change is None else round(line.change, 4), "networks": line.n,
        }
        for one in ids
        for line in sheet.proxies[front.entry(one).id].readings
    ]  # fmt: skip


def _is_alike(sheet: BadgeSheet, family: Family, n: int) -> bool:
    return (sheet.family, sheet.n) == (family.name, n)


def _line(reading: Reading) -> BadgeReading:
    return BadgeReading(
        badge=reading.badge, title=BADGES[reading.badge].title, n=reading.n, tau=reading.tau, low=reading.low,
        high=reading.high, change=reading.change, is_won=reading.is_won,
    )  # fmt: skip


def _seconds(proxy: Proxy, family: Family, n: int, device: str) -> tuple[float, float, float] | None:
    """Quartiles of the time of one score over networks, the batch and the network being there already.

    Returns:
        None if fewer than two of the networks can be built.
    """
    conditions = family.conditions
    inputs, targets = (tensor.to(device) for tensor in conditions.batch(batch_size_for(proxy, conditions)))
    taken = []
    for arch in family.networks("report")[:n]:
        try:
            network = conditions.network(arch, device)
        except EznasError:
            continue
        start = time.perf_counter()
        proxy.outcome(network, inputs, targets)
        taken.append(time.perf_counter() - start)
    if len(taken) < 2:
        return None
    low, median, high = statistics.quantiles(taken, n=4)
    return low, median, high


def processor() -> str:
    """What this machine's processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (next(named, "") or platform.processor() or platform.machine())[:200]
