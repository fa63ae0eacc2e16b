"""An importer: one kind of official file, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from eznas.benchmarks.importers.gathering import Gathering, Label
from eznas.benchmarks.importers.streams import INTACT
from eznas.errors import ArchitectureError, BenchmarkError
from eznas.files import is_folder
from eznas.names import shown
from eznas.spaces import SPACES

MAX_FILES: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A table before it is written.

    Attributes:
        name: of the table, unless the user names another.
        space: of its networks.
        is_read: whether the texts of its networks are in the form of that space.
        provenance: one sentence; ``{n}`` is the number of networks.
        gathered: the trainings.
        max_trainings: of one network under one recipe.
        has_seeds: whether seeds are the source's own.
        label: over several trainings.
        is_predicted: whether a surrogate predicted the accuracies.
        notes: one sentence each.
    """

    name: str
    space: str
    is_read: bool
    provenance: str
    gathered: Gathering
    max_trainings: int
    has_seeds: bool = True
    label: Label = "mean"
    is_predicted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks of an importer.

    Attributes:
        label: over several trainings.
        space: of the networks of a plain table.
    """

    label: Label = "mean"
    space: str | None = None


@dataclass(frozen=True, kw_only=True)
class Importer:
    """A kind of file.

    Attributes:
        kind: as the command line names it.
        title: for people.
        takes: the files that it reads, for people.
        read: files to a draft.
        is_one_table: whether all files make one table, or each its own.
        suffixes: of the files that are read of a folder; empty where folders are not read.
    """

    kind: str
    title: str
    takes: str
    read: Callable[[Sequence[Path], Request], Draft]
    is_one_table: bool
    suffixes: tuple[str, ...] = field(default=())

    def files(self, named: Sequence[Path]) -> tuple[Path, ...]:
        """The files that were named, and those in the folders that were, each once, in the order of their names.

        Raises:
            BenchmarkError: if there is none, or a folder has none.
        """
        found: dict[Path, None] = {}
        for path in named:
            inside = [path] if not (is_folder(path) and self.suffixes) else sorted(self._inside(path))
            if not inside:
                raise BenchmarkError(
                    f"The folder {path} has no file that ends in {' or '.join(self.suffixes)}; name {self.takes}."
                )
            found |= dict.fromkeys(Path(file) for file in inside)
        if not 0 < len(found) <= MAX_FILES:
            raise BenchmarkError(
                f"At least one file must be named and at most {MAX_FILES:,}, got {len(found)}; name {self.takes}."
            )
        return tuple(found)

    def _inside(self, folder: Path) -> Iterator[Path]:
        for number, path in enumerate(folder.iterdir()):
            if number > MAX_FILES:
                break
            if path.name.endswith(self.suffixes) and not path.name.startswith("."):
                yield path


def text_of(space: str, text: str, where: str) -> str:
    """The text of a network as its space writes it; as it is where this release lacks the space.

    Raises:
        BenchmarkError: if the space cannot read it.
    """
    if space not in SPACES:
        return text
    if text.strip().lower().startswith("random"):
        raise BenchmarkError(f"{where} must name one network, but it says {shown(text)}; {INTACT}.")
    try:
        found = SPACES[space].named(text)
    except ArchitectureError as error:
        raise BenchmarkError(f"{where}: {str(error).rstrip('.')}, or {INTACT}.") from None
    if len(found) != 1:
        raise BenchmarkError(f"{where} must name one network, but it names {len(found)}; {INTACT}.")
    return found[0].spec
