"""Proxies by what people call them: a name, a file, a run and an id, a supernet, a formula, or a sum."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from eznas.errors import ConfigError, ProgramError, RunError
from eznas.estimators import PUBLISHED, by_name
from eznas.files import is_file
from eznas.fitness.aggregation import Mode
from eznas.names import shown, unknown
from eznas.oneshot import PREFIX, oneshot_proxy
from eznas.programs import parse
from eznas.proxies.aggregate import RECIPES, RankAggregate, Recipe, recipe_for
from eznas.proxies.file import StoredProxy, load_proxy_file
from eznas.proxies.known import KNOWN_PROGRAMS
from eznas.proxies.program import ProgramProxy
from eznas.proxies.proxy import Proxy
from eznas.runs import Entry, RunFolder, load_front
from primitives import NETWORK_SCALAR, STATISTICS

GALLERY: Final = "gallery"
FORMS: Final = (
    "a published name (eznas estimators), a proxy file (.json), a formula as text or in a file, RUN:ID, gallery:NAME, "
    "oneshot:RUN, or a sum of names such as jacob_cov+parameter_count"
)


def published_proxy(name: str) -> Proxy:
    """The published proxy of a name, a program if the language can express it, else an estimator.

    Raises:
        ConfigError: if there is none; names the nearest. Also for an aggregate, which scores no network by itself.
    """
    if is_sum(name):
        raise ConfigError(
            f"{shown(name)} ranks networks among each other and gives one alone no score; make it a proxy with a "
            "reference (eznas aggregate) and name that file"
        )
    if name in KNOWN_PROGRAMS:
        return KNOWN_PROGRAMS[name]
    known = [estimator.name for estimator in PUBLISHED]
    if name not in known:
        raise ConfigError(f"{unknown('proxy', name, (*known, *KNOWN_PROGRAMS, *RECIPES))} (a proxy is {FORMS})")
    return by_name(name)


def proxy_named(text: str) -> StoredProxy:
    """The proxy that a user names, with the conditions it was found under where these are known.

    Args:
        text: a published name; the path of a proxy file or of a text file with a formula; ``RUN:ID``, where the id may
            be its beginning, a published name of that run, or ``best``; ``gallery:NAME``; ``oneshot:RUN[:KIND]``, see
            `eznas.oneshot.oneshot_proxy`; a formula such as ``(mean_layers (mean weight))``; or a word of the language
            that is one number per network.

    Raises:
        ConfigError: if there is none.
        ProgramError: if a file or a formula cannot be read.
        RunError: if a run is not finished, or has no such proxy.
    """
    text = text.strip()
    if text.startswith("("):
        return StoredProxy(ProgramProxy(name=" ".join(text.split()), program=parse(text)))
    if text.startswith(PREFIX):
        return StoredProxy(oneshot_proxy(text))
    if text.startswith(f"{GALLERY}:"):
        return gallery_proxy(text.removeprefix(f"{GALLERY}:"))
    if is_file(text):
        return load_proxy_file(Path(text))
    folder, colon, proxy_id = text.rpartition(":")
    if colon and folder:
        return proxy_of_run(RunFolder.open(Path(folder)), proxy_id)
    if text.endswith(".json"):
        raise ProgramError(f"Cannot read proxy file {text}: no such file; check the path")
    statistic = STATISTICS.get(text)
    if text not in KNOWN_PROGRAMS and statistic is not None and statistic.type is NETWORK_SCALAR:
        return StoredProxy(ProgramProxy(name=text, program=parse(text)))
    return StoredProxy(published_proxy(text))


def is_sum(text: str) -> bool:
    """Whether a text names an aggregate without a reference: one of `RECIPES`, or a sum of names."""
    return text in RECIPES or ("+" in text and not text.lstrip().startswith("(") and not is_file(text))


def aggregate_named(text: str, mode: Mode | None = None) -> tuple[Recipe, tuple[StoredProxy, ...]]:
    """The aggregate that a sum or a published name describes, and its members.

    Raises:
        ConfigError: if it cannot be read, or a member is an aggregate itself.
        EznasError: as `proxy_named`.
    """
    recipe = recipe_for(text, mode)
    members = tuple(proxy_named(name) for name, _ in recipe.terms)
    for (name, _), member in zip(recipe.terms, members, strict=True):
        if isinstance(member.proxy, RankAggregate):
            raise ConfigError(f"{name} is an aggregate and no member of another; write its members instead")
    return recipe, members


# --- of runs ------------------------------------------------------------------------------------------------------


def proxy_of_run(folder: RunFolder, proxy_id: str) -> StoredProxy:
    """A proxy of a finished run, as it scored there.

    Raises:
        RunError: if the run is not finished, or has no such proxy.
    """
    front = load_front(folder.path)
    entry = front.entry(proxy_id)
    conditions = tuple(dict.fromkeys(sample.conditions for sample in front.samples))
    proxy = proxy_of_entry(entry)
    if isinstance(proxy, ProgramProxy):
        proxy = replace(proxy, name=f"{folder.path.resolve().name}:{proxy_id}")
    return StoredProxy(proxy, conditions)


def proxy_of_entry(entry: Entry) -> Proxy:
    """The proxy of a row of a front, bound to the layers it reads and the seed of its noise.

    Raises:
        RunError: if the row holds none.
    """
    if entry.formula is None:
        if entry.name is None:
            raise RunError(f"Entry {entry.id!r} of the front holds neither a program nor the name of an estimator")
        return by_name(entry.name)
    return ProgramProxy(
        name=entry.label,
        program=entry.formula,
        direction=entry.direction,
        units=entry.units,
        seed=entry.seed,
        title=entry.title,
    )


# --- the gallery --------------------------------------------------------------------------------------------------


def gallery_names() -> tuple[str, ...]:
    """Names of the proxies that are shipped."""
    folder = files("eznas") / GALLERY
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def gallery_proxy(name: str) -> StoredProxy:
    """A shipped proxy.

    Raises:
        ConfigError: if there is none of that name; names the nearest.
    """
    if name not in gallery_names():
        raise ConfigError(f"{unknown('proxy of the gallery', name, gallery_names())}; eznas gallery lists them")
    stored = load_proxy_file(Path(str(files("eznas") / GALLERY / f"{name}.json")))
    proxy = stored.proxy
    return replace(stored, proxy=replace(proxy, name=name)) if isinstance(proxy, ProgramProxy) else stored


def gallery_table() -> list[dict[str, str]]:
    """What is shipped, one row each, for people."""
    rows = []
    for name in gallery_names():
        proxy = gallery_proxy(name).proxy
        formula = proxy.program.text if isinstance(proxy, ProgramProxy) else ""
        rows.append({"name": name, "needs": ", ".join(sorted(proxy.needs)) or "nothing", "formula": formula})
    return rows
