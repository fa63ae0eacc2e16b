"""Families of networks: ranges over the grammar, in a TOML file; to add one takes no code.

    title = "Residual networks"
    block = "residual"            # or several, in a list

    [ranges]
    depth = [[1, 2, 3], [1, 2], [0, 1]]    # what each stage may have,
    width = [8, 12, 16]                    # or what all stages may have
    kernel = [3, 5]
    norm = ["batch", "none"]

A field that is not named has its default. Networks are drawn field by field, uniformly, and each once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from eznas.errors import ArchitectureError
from eznas.forms import Form, sentence, toml_of
from eznas.names import one_line, shown, unknown
from eznas.spaces.architecture import Architecture
from eznas.spaces.families.description import (
    BLOCKS,
    FIELDS,
    OPERATIONS,
    Description,
    Values,
    described,
    description_of,
    n_nodes,
)

MAX_BYTES: Final = 100_000
N_TRIES: Final = 200
"""Draws for each network wanted, after which a family counts as exhausted."""
N_EDGES: Final = 6
"""Of a cell, unless its family says otherwise."""


class Family(Form):
    """Ranges over the grammar; see the module.

    Attributes:
        title: for people.
        block: one or more, drawn uniformly.
        ranges: by field the values that it may have, or, of a field of stages, a list of them for each stage. A cell
            has a list for each edge, or one for all of `N_EDGES`.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    block: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    ranges: Annotated[dict[str, tuple[Values, ...]], Field(max_length=20)]

    @field_validator("block", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("ranges", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        found: dict[str, Any] = {}
        for name, given in value.items():
            listed = given if isinstance(given, list | tuple) and given else [given]
            rows = listed if isinstance(listed[0], list | tuple) else [listed]
            found[str(name)] = [[_text(item) for item in row] for row in rows if isinstance(row, list | tuple)]
        return found

    @model_validator(mode="after")
    def _makes_networks(self) -> Family:
        for block in self.block:
            if block not in BLOCKS:
                raise ValueError(unknown("block", block, BLOCKS))
        fields = dict.fromkeys(field for block in self.block for field in BLOCKS[block])
        for name in self.ranges:  # all of them before any is looked at
            if name not in fields:
                raise ValueError(unknown("field", name, fields))
        for name, rows in self.ranges.items():
            known = OPERATIONS if name == "cell" else FIELDS[name].values
            for row in rows:
                wrong = [value for value in row if value not in known]
                if wrong or not row:
                    got = shown(wrong[0] if wrong else "")
                    raise ValueError(f"{name} may be any of {', '.join(known[:12])}, got {got}")
            if len(rows) > 1 and len(rows) != (self.n_edges if name == "cell" else self.n_stages):
                raise ValueError(f"{name} needs one list for all, or one for each of its places, got {len(rows)} lists")
        return self

    @cached_property
    def n_stages(self) -> int:
        """As many as the longest range of a field of stages has lists."""
        return max((len(rows) for name, rows in self.ranges.items() if FIELDS[name].of_stages), default=1)

    @cached_property
    def n_edges(self) -> int:
        """Of a cell."""
        rows = self.ranges.get("cell", ())
        n = len(rows) if len(rows) > 1 else N_EDGES
        n_nodes(n)
        return n

    def rows(self, name: str) -> tuple[Values, ...]:
        """What each place of a field may have."""
        default: Values = OPERATIONS if name == "cell" else (FIELDS[name].default,)
        rows = self.ranges.get(name, (default,))
        n = self.n_edges if name == "cell" else self.n_stages if FIELDS[name].of_stages else 1
        return rows if len(rows) == n else rows * n

    def draw(self, rng: np.random.Generator) -> Description | None:
        """A network, or None where what was drawn is none."""
        block = self.block[int(rng.integers(len(self.block)))]
        given = {
            name: tuple(row[int(rng.integers(len(row)))] for row in self.rows(name)) for name in BLOCKS[block]
        }  # fmt: skip
        try:
            return described(block, given)
        except ArchitectureError:
            return None

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Architecture, ...]:
        """Distinct networks.

        Raises:
            ArchitectureError: if `n` is less than 1, or more than are found in `N_TRIES` times as many draws.
        """
        if n < 1:
            raise ArchitectureError(f"At least one network can be drawn from {self.title}, got {n}.")
        found: dict[Architecture, None] = {}
        for _ in range(N_TRIES * n):
            drawn = self.draw(rng)
            if drawn is not None:
                found[drawn.arch] = None
            if len(found) == n:
                return tuple(found)
        raise ArchitectureError(f"{self.title} has no {n} different networks; draw at most {len(found)}, or widen it.")

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A network of the family that differs in one value, field and place drawn uniformly.

        Raises:
            ArchitectureError: if `arch` is none of the grammar, or has no other beside it.
        """
        here = description_of(arch)
        found = [(name, place) for name, values in here.fields for place in range(len(values))]
        for index in rng.permutation(len(found)):
            name, place = found[int(index)]
            values = here[name]
            rows = self.rows(name)
            others = [value for value in rows[min(place, len(rows) - 1)] if value != values[place]]
            for other in rng.permutation(len(others)):
                changed = (*values[:place], others[int(other)], *values[place + 1 :])
                try:
                    there = described(here.block, {**dict(here.fields), name: changed}).arch
                except ArchitectureError:
                    continue
                if there != arch:
                    return there
        raise ArchitectureError(f"No network of {self.title} is one edit away from {shown(arch.spec)}.")


def _text(value: Any) -> str:
    """A value as descriptions write it."""
    if isinstance(value, bool):
        return str(int(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


EVERYTHING: Final = Family(
    title="all networks of the grammar",
    block=tuple(BLOCKS),
    ranges={
        "depth": (("1", "2", "3"), ("0", "1", "2", "3"), ("0", "1", "2")),
        "width": (("8", "12", "16", "24", "32"),),
        "kernel": (("1", "3", "5", "7"),),
        "expansion": (("0.5", "1", "2", "4"),),
        **{
            name: (field.values,)
            for name, field in FIELDS.items()
            if field.values and not field.of_stages
        },
    },
)  # fmt: skip
"""What is drawn from where no family is named; it bounds what one edit leads to."""


def read_family(path: Path) -> Family:
    """The family in a TOML file.

    Raises:
        ArchitectureError: if it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ArchitectureError(f"Cannot read {one_line(str(path), 200)}: {error.strerror or error}.") from None
    if len(content) > MAX_BYTES:
        raise ArchitectureError(f"{one_line(str(path), 200)} has more than {MAX_BYTES} bytes, and is no family.")
    try:
        return Family.model_validate(toml_of(content.decode()))
    except ValidationError as error:  # a ValueError itself
        raise ArchitectureError(f"{sentence(error, one_line(str(path), 200), Family)}.") from None
    except ValueError as error:
        raise ArchitectureError(f"{one_line(str(path), 200)} is not TOML: {one_line(str(error), 200)}.") from None


@cache
def families() -> Mapping[str, Family]:
    """The families that are shipped, by name."""
    return dict(sorted(_shipped()))


def _shipped() -> Iterator[tuple[str, Family]]:
    for entry in resources.files("eznas.spaces.families").iterdir():
        if entry.name.endswith(".toml"):
            yield entry.name.removesuffix(".toml"), Family.model_validate(tomllib.loads(entry.read_text("utf-8")))


def family_named(name: str) -> Family:
    """A shipped family, or the one in a TOML file.

    Raises:
        ArchitectureError: if there is none, or the file is none.
    """
    if name.endswith(".toml"):
        return read_family(Path(name))
    if name not in families():
        raise ArchitectureError(f"{unknown('family', name, families())}; a file of your own ends in .toml")
    return families()[name]
