"""Banks from the outside: filled beforehand for the networks of some settings, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eznas.bank import Bank, banks_on_disk, canonical, fill
from eznas.benchmarks import Part, networks_of
from eznas.errors import BankError, ConfigError
from eznas.evolution.lexicon import lexicon
from eznas.names import one_line
from eznas.runs.config import RunConfig
from eznas.scoring import resolved_conditions
from eznas.spaces import Architecture
from eznas.study.machine import Machine, check_machine, open_workers, single_threaded
from eznas.study.observer import Observer
from eznas.study.problem import prepare
from primitives import PRIMITIVE_SETS

LEARNING: Final[tuple[Part, ...]] = ("evolve", "select")
MAX_BYTES: Final = 50_000_000
"""Largest file of words that is read."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of one bank.

    Attributes:
        name: of the sample.
        folder: of the bank.
        n_networks: that were asked for.
        n_words: that were asked for.
        n_built: networks that were built because something of them was missing.
    """

    name: str
    folder: Path
    n_networks: int
    n_words: int
    n_built: int


def build_banks(
    config: RunConfig,
    *,
    words: Sequence[str] | None = None,
    networks: str | None = None,
    machine: Machine,
    observer: Observer,
) -> list[Filled]:
    """Have banks know what words say of the networks that a run with these settings would learn from.

    What is known already is not computed again; a build that was stopped or killed goes on where it was.

    Args:
        config: the settings of the run: samples, probe, language.
        words: programs and names of published estimators; the whole lexicon of the language without them.
        networks: of one sample, other networks than those the run would learn from, as ``nb201:random:500`` names them.
        machine: workers, device, cache.
        observer: told how it goes on.

    Raises:
        ConfigError: if networks are named for several samples, or a word is neither a program nor an estimator.
        EznasError: as the networks, images and programs are read.
    """
    check_machine(machine)
    language = PRIMITIVE_SETS[config.evolution.primitive_set]
    asked = words if words is not None else lexicon(language)
    texts = list(dict.fromkeys(canonical(text) for text in asked))
    filled = []
    observer.stage("Reading the networks")
    named = _networks(config, networks)
    with single_threaded(), open_workers(machine, observer) as pool:
        for name, conditions, architectures in named:
            bank = Bank.open(machine.banks, conditions, machine.device)
            observer.stage(f"Computing {len(texts):,} words on {len(architectures):,} {name} networks")
            n_built = fill(bank, texts, architectures, pool, progress=observer.advance)
            filled.append(Filled(name, bank.folder, len(architectures), len(texts), n_built))
    return filled


def words_in(path: Path) -> list[str]:
    """The words of a file, one a line; empty lines and those that begin with # say nothing.

    Raises:
        ConfigError: if the file cannot be read, is too large or has no word.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"A file of words may have at most {MAX_BYTES:,} bytes, got {path}; use a shorter one")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the file of words {path}: {one_line(error)}; check the path") from None
    lines = [line.strip() for line in text.splitlines()]
    words = [line for line in lines if line and not line.startswith("#")]
    if not words:
        raise ConfigError(f"The file of words {path} has none; write a program or the name of an estimator a line")
    return words


def _networks(config: RunConfig, named: str | None) -> list[tuple[str, Any, tuple[Architecture, ...]]]:
    if named is None:
        return [
            (family.name, family.conditions, tuple(arch for part in LEARNING for arch in family.networks(part)))
            for family in prepare(config).learnt
        ]
    if len(config.all_samples) > 1:
        raise ConfigError("Networks are named for settings of one sample, and these have several; leave --networks out")
    architectures = networks_of(named)
    (sample,) = config.all_samples
    conditions, _ = resolved_conditions(config, sample, architectures, datasets=sample.datasets)
    return [(sample.name, conditions, architectures)]


def bank_table(machine: Machine) -> list[dict[str, Any]]:
    """One row for each bank on this machine: what it holds, under which conditions, its size in bytes.

    A bank that cannot be read has a row that says why.
    """
    rows: list[dict[str, Any]] = []
    for folder, manifest in banks_on_disk(machine.banks):
        space = manifest.get("space")
        row: dict[str, Any] = {
            "bank": folder.name[:12],
            "space": space.get("space") if isinstance(space, dict) else None,
            "images": f"{manifest.get('batch_size')} {manifest.get('images')}, {manifest.get('input_size')} pixels",
            "units": manifest.get("units"), "networks": 0, "words": 0, "values": 0, "bytes": 0, "problem": "",
        }  # fmt: skip
        try:
            row |= Bank.held(folder)
        except BankError as error:
            row["problem"] = str(error)
        rows.append(row)
    return rows
