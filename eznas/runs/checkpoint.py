"""A checkpoint: where a search stood after a generation, with digests of all that it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt

from eznas.digests import content_digest
from eznas.errors import RunError
from eznas.forms import Form, read_form
from eznas.runs.manifest import Binding


class Checkpoint(Form):
    """Where a search stands.

    Attributes:
        format, version: of this file.
        generation: last finished.
        population: ids of the current population, in order.
        n_duplicates: programs that variation proposed again.
        sizes: bytes of each file that grows, by its name.
        digests: of so many bytes of each.
        manifest: what is recorded of the manifest; None for a search without one.
        digest: of the content of this file but for itself.
    """

    format: Literal["eznas-checkpoint"] = "eznas-checkpoint"
    version: Literal[2] = 2
    generation: NonNegativeInt
    population: tuple[str, ...]
    n_duplicates: NonNegativeInt
    sizes: dict[str, NonNegativeInt]
    digests: dict[str, str]
    manifest: Binding | None = None
    digest: str = ""

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """The checkpoint in a file.

        Raises:
            RunError: if it is missing or damaged, or does not have the digest that it names.
        """
        remedy = "delete it and resume from the one before"
        found = read_form(cls, path, error=RunError, remedy=remedy)
        if found.sealed() != found:
            raise RunError(f"{path} is damaged: it does not have the digest that it names; {remedy}")
        return found

    def sealed(self) -> Checkpoint:
        """The checkpoint with the digest of its content."""
        content = self.model_dump(mode="json", exclude={"digest"})
        return self.model_copy(update={"digest": content_digest(content)})
