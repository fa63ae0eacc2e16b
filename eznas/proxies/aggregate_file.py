"""The stored form of aggregates: versioned JSON with the members and their scores on the reference.

A file from a stranger is data: every key, size and number is checked, estimators are looked up by name, and programs
are read by the language's own reader.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from eznas.errors import ConfigError, ProgramError
from eznas.estimators.published import by_name
from eznas.fitness.aggregation import MAX_TERMS, MODES, Floats
from eznas.programs import from_tree, to_tree
from eznas.proxies.aggregate import Member, RankAggregate, Reference, ReferenceConditions
from eznas.statistics import UNITS

FORMAT: Final = "eznas-aggregate"
VERSION: Final = 1
MAX_NETWORKS: Final = 100_000
"""Most networks of a reference."""
MAX_BYTES: Final = 48_000_000
"""Largest aggregate file that is read: room for the scores of all members on all networks."""
MAX_TEXT: Final = 4_000
MAX_SETTINGS: Final = 50
MAX_SETTING: Final = 2_000
"""Largest setting of networks, such as their channels."""
MAX_BATCH_VALUES: Final = 2**28
"""Most values of a batch of images that a file may ask for: a gibibyte of them."""
_LARGEST: Final = {
    "seed": 2**128, "probe_seed": 2**63, "input_size": 10_000, "batch_size": 100_000, "estimator_batch_size": 100_000,
}  # fmt: skip
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 1, 4, 4, 60, 40, 40


def aggregate_to_json(aggregate: RankAggregate) -> str:
    """The stored form as text; scores in full precision."""
    reference = aggregate.reference
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": aggregate.name,
        "mode": aggregate.mode,
        "members": [
            {"name": member.name, "direction": member.direction, "weight": weight}
            | ({} if member.program is None else {"program": to_tree(member.program), "units": member.units})
            for member, weight in zip(aggregate.members, aggregate.weights, strict=True)
        ],
        "reference": {
            "networks": reference.networks,
            "space": reference.space,
            "digest": reference.digest,
            "n": reference.n,
            "conditions": asdict(reference.conditions),
            "scores": [
                {"failed": n_failed, "finite": row[n_failed:].tolist()}
                for row, n_failed in zip(reference.scores, reference.n_failed, strict=True)
            ],
        },
    }
    return json.dumps(document) + "\n"


def aggregate_from_json(text: str) -> RankAggregate:
    """The aggregate a stored form describes; inverse of `aggregate_to_json`.

    Raises:
        ProgramError: if the text is not JSON, not this format and version, names something unknown, or a key, size or
            number is not what it must be.
    """
    if len(text) > MAX_BYTES:
        raise ProgramError(f"An aggregate file may have at most {MAX_BYTES} bytes, got {len(text)}")
    try:
        document = json.loads(text)
    except RecursionError:
        raise ProgramError("The aggregate file is nested too deeply to be one") from None
    except ValueError as error:
        raise ProgramError(f"Not an aggregate file: invalid JSON ({error}); expected format {FORMAT!r}") from None
    return _aggregate(document)


def load_aggregate(path: Path) -> RankAggregate:
    """The aggregate stored in a file.

    Raises:
        ProgramError: as `aggregate_from_json`, naming the file.
    """
    try:
        return aggregate_from_json(_read(path))
    except OSError as error:
        raise ProgramError(f"Cannot read aggregate file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ProgramError(f"Aggregate file {path} is not UTF-8 text; expected JSON of format {FORMAT!r}") from None
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None


def is_aggregate_file(path: Path) -> bool:
    """Whether a file says that it holds an aggregate; whether it holds one is for `load_aggregate` to find out."""
    try:
        document = json.loads(_read(path))
    except (OSError, ValueError, RecursionError, ProgramError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ProgramError(f"the file has more than {MAX_BYTES} bytes, at most {MAX_BYTES} are read")
    return content.decode("utf-8")


def _aggregate(document: Any) -> RankAggregate:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ProgramError(f'Not an aggregate file: expected an object with "format": "{FORMAT}"')
    if isinstance(document.get("version"), bool) or document.get("version") != VERSION:
        version = _SHORT.repr(document.get("version"))
        raise ProgramError(f"Aggregate file of version {version}; this release reads version {VERSION}: make it anew")
    _check_keys(document, "an aggregate file", "format", "version", "name", "mode", "members", "reference")
    members = document["members"]
    if not isinstance(members, list) or not 1 <= len(members) <= MAX_TERMS:
        raise ProgramError(f"The members of an aggregate are a list of 1 to {MAX_TERMS}, got {_SHORT.repr(members)}")
    mode = document["mode"]
    if mode not in MODES:
        raise ProgramError(f"The mode of an aggregate is one of {', '.join(MODES)}, got {_SHORT.repr(mode)}")
    try:
        return RankAggregate(
            name=_text(document["name"], "name of an aggregate"),
            members=tuple(_member(member) for member in members),
            weights=tuple(_number(member["weight"], "weight of a member") for member in members),
            mode=mode,
            reference=_reference(document["reference"], len(members)),
        )
    except ConfigError as error:
        raise ProgramError(str(error)) from None


def _member(data: Any) -> Member:
    is_program = isinstance(data, dict) and "program" in data
    _check_keys(
        data, "a member of an aggregate", "name", "direction", "weight", *(["program", "units"] if is_program else [])
    )
    name, direction = _text(data["name"], "name of a member"), data["direction"]
    if isinstance(direction, bool) or direction not in (1, -1):
        raise ProgramError(f"The direction of a member is 1 or -1, got {_SHORT.repr(direction)}")
    if not is_program:
        published = by_name(name).direction
        if direction != published:
            raise ProgramError(f"The direction of {name!r} is {published}, as published, but the file says {direction}")
        return Member(name=name, direction=published)
    program = from_tree(data["program"])
    if not program.is_complete:
        raise ProgramError(f"The program of member {name!r} gives {program.type}, expected one number per network")
    if data["units"] not in UNITS:
        raise ProgramError(f"The units of a program are one of {', '.join(UNITS)}, got {_SHORT.repr(data['units'])}")
    return Member(name=name, direction=int(direction), program=program, units=data["units"])


def _reference(data: Any, n_members: int) -> Reference:
    _check_keys(data, "the reference", "networks", "space", "digest", "n", "conditions", "scores")
    n, rows = _integer(data["n"], "number of networks of a reference", 2, MAX_NETWORKS), data["scores"]
    if not isinstance(rows, list) or len(rows) != n_members:
        raise ProgramError(f"The reference holds one list of scores for each of {n_members} members")
    return Reference(
        networks=_text(data["networks"], "networks of a reference"),
        space=_text(data["space"], "space of a reference"),
        digest=_text(data["digest"], "digest of a reference"),
        conditions=_conditions(data["conditions"]),
        scores=np.stack([_scores(row, n) for row in rows]),
    )


def _conditions(data: Any) -> ReferenceConditions:
    _check_keys(data, "the conditions of a reference", *(field.name for field in fields(ReferenceConditions)))
    values: dict[str, Any] = {
        field.name: _text(data[field.name], field.name)
        if field.type == "str"
        else _integer(data[field.name], field.name, 0 if field.name.endswith("seed") else 1, _LARGEST[field.name])
        for field in fields(ReferenceConditions)
        if field.name != "networks"
    }
    n_values = 3 * values["input_size"] ** 2 * max(values["batch_size"], values["estimator_batch_size"])
    if n_values > MAX_BATCH_VALUES:
        raise ProgramError(
            f"The batch of a reference may have at most {MAX_BATCH_VALUES:,} values, but these conditions ask for "
            f"{n_values:,}; make the file anew with a smaller batch"
        )
    return ReferenceConditions(networks=_settings(data["networks"]), **values)


def _settings(data: Any) -> dict[str, int | str]:
    """Settings of networks by name; whether there are such settings is for their reader to say."""
    if not isinstance(data, dict) or not 1 <= len(data) <= MAX_SETTINGS:
        raise ProgramError(f"The networks of a reference have 1 to {MAX_SETTINGS} settings, got {_SHORT.repr(data)}")
    return {
        _text(key, "name of a setting"): _text(value, "value of a setting")
        if isinstance(value, str)
        else _integer(value, "value of a setting", 0, MAX_SETTING)
        for key, value in data.items()
    }


def _scores(row: Any, n: int) -> Floats:
    """(n,) scores, ascending, failures first."""
    _check_keys(row, "the scores of a member", "failed", "finite")
    n_failed, finite = _integer(row["failed"], "number of failures", 0, n), row["finite"]
    if not isinstance(finite, list) or len(finite) != n - n_failed:
        raise ProgramError(f"A member has {n} scores on the reference, {n_failed} of them failures; the list differs")
    values = np.array([_number(value, "score on the reference") for value in finite])
    if np.any(values[1:] < values[:-1]):
        raise ProgramError("The scores of a member on the reference must ascend; make the file anew")
    return np.concatenate([np.full(n_failed, -np.inf), values])


def _check_keys(data: Any, what: str, *keys: str) -> None:
    if not isinstance(data, Mapping) or set(data) != set(keys):
        found = ", ".join(sorted(str(key)[:40] for key in list(data)[:20])) if isinstance(data, Mapping) else None
        raise ProgramError(f"The keys of {what} are {', '.join(keys)}, got {found or _SHORT.repr(data)}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise ProgramError(f"The {what} is a line of 1 to {MAX_TEXT} characters, got {_SHORT.repr(value)}")
    return value


def _integer(value: Any, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ProgramError(f"The {what} is a whole number from {low} to {high}, got {_SHORT.repr(value)}")
    return value


def _number(value: Any, what: str) -> float:
    if not isinstance(value, bool) and isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise ProgramError(f"The {what} is a finite number, got {_SHORT.repr(value)}")
