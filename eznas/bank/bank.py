"""The bank: what words say of networks, kept for good. Evaluating tensors is what costs; a number is eight bytes.

A word is a complete program or the name of a published estimator; a value belongs to a word, a network and conditions.
A bank holds the values of one set of conditions, and its folder is named by a hash of them. A network is known by its
content and a word by its canonical text, so that any run, now or later, finds what another computed.

    <root>/<key>/manifest.json                         the conditions, for people, and the version
    <root>/<key>/<rows>/rows.json                      the words of the blocks beside it
    <root>/<key>/<rows>/<columns>-<checksum>.safetensors
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from eznas.bank.block import KINDS, NAME, Block, digest_of, read_block, write_block
from eznas.conditions import Conditions, tensor_digest
from eznas.digests import content_digest
from eznas.errors import BankError
from eznas.files import remedy, replace_file
from eznas.forms import json_of
from eznas.programs import FailureKind
from eznas.spaces import Architecture

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
ROWS: Final = "rows.json"
MAX_ROWS: Final = 1_000_000
MAX_BYTES: Final = 500_000_000
"""Largest list of words that is read."""
_FOLDER: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class BankKey:
    """All that determines a value beside the word and the network; it names the folder.

    Attributes:
        conditions: how networks are built and excited, and which layers are read.
        device: of the networks; values of a graphics processor differ in their last bits from those of a processor, so
            that they have a bank of their own.
    """

    conditions: Conditions
    device: str = "cpu"

    def __str__(self) -> str:
        """32 hexadecimal digits; they cover the minor version of torch, whose kernels may differ in the last bit."""
        return content_digest(self.as_dict())[:32]

    def as_dict(self) -> dict[str, Any]:
        """What it is a digest of, ready for JSON."""
        conditions = self.conditions
        sizes = dict.fromkeys((conditions.batch_size, conditions.estimator_batch_size))
        batches = {n: conditions.batch(n) for n in sizes}
        return {
            "format": FORMAT,
            "torch": ".".join(torch.__version__.split("+")[0].split(".")[:2]),
            "space": conditions.settings.model_dump(mode="json"),
            "seed": conditions.network_seed,
            "images": conditions.images,
            "digests": {str(n): [tensor_digest(part) for part in batch] for n, batch in batches.items()},
            "batch_size": conditions.batch_size,
            "estimator_batch_size": conditions.estimator_batch_size,
            "input_size": conditions.input_size,
            "channels": conditions.channels,
            "units": conditions.units,
            **({} if self.device == "cpu" else {"device": torch.device(self.device).type}),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """What words say of networks.

    Attributes:
        values: (n_words, n_networks) float64; not finite where a word failed, NaN where nothing is known.
        kinds: (n_words, n_networks) uint8: 0 of a value, 255 where nothing is known, else the failure (see `kind`).
    """

    values: npt.NDArray[np.float64]
    kinds: npt.NDArray[np.uint8]

    @property
    def is_missing(self) -> npt.NDArray[np.bool_]:
        """(n_words, n_networks) whether nothing is known."""
        return self.kinds == MISSING

    def kind(self, word: int, network: int) -> FailureKind | None:
        """Why a word failed on a network; None of a value."""
        code = int(self.kinds[word, network])
        return KINDS[code - 1] if 0 < code <= len(KINDS) else None


MISSING: Final = 255


@dataclass(eq=False)
class Bank:
    """The bank of some conditions, in a folder; blocks written meanwhile by others are seen after `refresh`."""

    folder: Path
    key: BankKey
    _rows: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Words by the digest of their list."""
    _blocks: dict[str, dict[Path, tuple[str, ...]]] = field(default_factory=dict, repr=False)
    """By list of words: the networks of each block."""

    @classmethod
    def open(cls, root: Path, conditions: Conditions, device: str = "cpu") -> Bank:
        """The bank of these conditions and this device under the folder of all banks; made if there is none.

        Raises:
            BankError: if it is of another version, made under other conditions, or cannot be read or written.
        """
        key = BankKey(conditions, device)
        folder = root / str(key)
        path = folder / MANIFEST
        try:
            if not path.exists():
                replace_file(path, json.dumps(key.as_dict(), indent=1) + "\n")
            found = _json(path)
        except OSError as error:
            raise BankError(f"The bank {folder} cannot be opened: {error.strerror}; {remedy(error)}") from None
        if found.get("format") != FORMAT:
            raise BankError(
                f"The bank {folder} is of format {found.get('format')!r}, expected {FORMAT}; remove the folder, and "
                "its values are computed anew"
            )
        if content_digest(found) != content_digest(key.as_dict()):
            raise BankError(
                f"The manifest of the bank {folder} tells of other conditions than its name; put it back, or remove "
                "the folder, and its values are computed anew"
            )
        bank = cls(folder, key)
        bank.refresh()
        return bank

    def refresh(self) -> None:
        """See the blocks that were written since.

        Raises:
            BankError: if a list of words or a block cannot be read.
        """
        for folder in sorted(self.folder.iterdir()):
            if not _FOLDER.fullmatch(folder.name) or not (folder / ROWS).is_file():
                continue
            if folder.name not in self._rows:
                self._rows[folder.name] = _read_rows(folder)
            blocks = self._blocks.setdefault(folder.name, {})
            for path in sorted(folder.iterdir()):
                if NAME.fullmatch(path.name) and path not in blocks:
                    blocks[path] = read_block(path, len(self._rows[folder.name])).columns

    @staticmethod
    def held(folder: Path) -> dict[str, int]:
        """What the bank in a folder holds, whatever its conditions: networks, words, values, bytes.

        Raises:
            BankError: if it is of another version, or something of it cannot be read.
        """
        found = _json(folder / MANIFEST)
        if found.get("format") != FORMAT:
            raise BankError(f"The bank {folder} is of format {found.get('format')!r}, expected {FORMAT}; remove it")
        bank = Bank(folder, None)  # type: ignore[arg-type]  # nothing that is counted asks for the conditions
        bank.refresh()
        return {
            "networks": len(bank.columns), "words": len(bank.words), "bytes": bank.n_bytes,
            "values": sum(
                len(bank._rows[name]) * len(columns)
                for name, blocks in bank._blocks.items()
                for columns in blocks.values()
            ),
        }  # fmt: skip

    @property
    def words(self) -> tuple[str, ...]:
        """All words of which something is known."""
        return tuple(dict.fromkeys(word for name in self._blocks for word in self._rows[name]))

    @property
    def columns(self) -> frozenset[str]:
        """Digests of the networks of which something is known."""
        return frozenset(c for blocks in self._blocks.values() for columns in blocks.values() for c in columns)

    @property
    def n_bytes(self) -> int:
        """Of its blocks on the disk."""
        return sum(path.stat().st_size for blocks in self._blocks.values() for path in blocks)

    def column_of(self, arch: Architecture) -> str:
        """Digest of a network by content."""
        return self.key.conditions.search_space.digest(arch)

    def values(self, words: Sequence[str], architectures: Sequence[Architecture]) -> Values:
        """What words say of networks, as far as it is known.

        Raises:
            BankError: if a block cannot be read.
        """
        place = {word: row for row, word in enumerate(words)}
        at: dict[str, list[int]] = {}
        for position, arch in enumerate(architectures):
            at.setdefault(self.column_of(arch), []).append(position)
        values = np.full((len(words), len(architectures)), np.nan)
        kinds = np.full(values.shape, MISSING, dtype=np.uint8)
        for path, rows, columns in self._of_interest(place, at):
            block = read_block(path, rows)
            theirs = self._rows[path.parent.name]
            from_rows = [row for row, word in enumerate(theirs) if word in place]
            to_rows = [place[theirs[row]] for row in from_rows]
            for column, digest in enumerate(columns):
                for position in at.get(digest, ()):
                    values[to_rows, position] = block.values[from_rows, column]
                    kinds[to_rows, position] = block.kinds[from_rows, column]
        return Values(values, kinds)

    def _of_interest(
        self, words: Mapping[str, int], columns: Mapping[str, Any]
    ) -> Iterator[tuple[Path, int, tuple[str, ...]]]:
        for name, blocks in self._blocks.items():
            theirs = self._rows[name]
            if not words.keys() & set(theirs):
                continue
            for path, held in blocks.items():
                if columns.keys() & set(held):
                    yield path, len(theirs), held

    def missing(
        self, words: Sequence[str], architectures: Sequence[Architecture]
    ) -> list[tuple[tuple[str, ...], tuple[Architecture, ...]]]:
        """What is to be computed: words, and networks of which these, and no others of the words asked, are unknown."""
        known: dict[str, set[str]] = {}
        asked = set(words)
        for name, blocks in self._blocks.items():
            theirs = asked & set(self._rows[name])
            for columns in blocks.values():
                for column in columns:
                    known.setdefault(column, set()).update(theirs)
        groups: dict[frozenset[str], dict[str, Architecture]] = {}
        for arch in architectures:
            column = self.column_of(arch)
            lacking = frozenset(asked - known.get(column, set()))
            if lacking:
                groups.setdefault(lacking, {}).setdefault(column, arch)
        return [
            (tuple(word for word in words if word in lacking), tuple(of_column.values()))
            for lacking, of_column in groups.items()
        ]

    def place_for(self, words: Sequence[str]) -> Path:
        """The folder of blocks with these words, made if there is none.

        Raises:
            BankError: if it cannot be written.
        """
        folder = self.folder / digest_of(words)
        path = folder / ROWS
        try:
            if not path.exists():
                replace_file(path, json.dumps(list(words), indent=0) + "\n")
        except OSError as error:
            raise BankError(f"The bank {folder} cannot be written: {error.strerror}; {remedy(error)}") from None
        return folder

    def add(self, words: Sequence[str], block: Block) -> None:
        """Keep what words say of some networks.

        Raises:
            BankError: if it cannot be written.
        """
        folder = self.place_for(words)
        try:
            write_block(folder, block)
        except OSError as error:
            raise BankError(f"The bank {folder} cannot be written: {error.strerror}; {remedy(error)}") from None
        self.refresh()


def banks_on_disk(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The banks under the folder of all banks, each with what its manifest says; those of other versions too."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    for folder in folders:
        if _FOLDER.fullmatch(folder.name) and (folder / MANIFEST).is_file():
            yield folder, _json(folder / MANIFEST)


def _read_rows(folder: Path) -> tuple[str, ...]:
    rows: Any = _json(folder / ROWS, list)
    if len(rows) > MAX_ROWS or not all(isinstance(row, str) for row in rows) or digest_of(rows) != folder.name:
        raise BankError(
            f"The list of words {folder / ROWS} is not the one its folder is named by; remove the folder, and what it "
            "held is computed anew"
        )
    return tuple(rows)


def _json(path: Path, kind: type = dict) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        found = json_of(path.read_text(encoding="utf-8"))
        if not isinstance(found, kind):
            raise ValueError(f"expected {kind.__name__}, got {type(found).__name__}")
    except (OSError, ValueError) as error:
        raise BankError(
            f"A file of the bank cannot be read, {path}: {str(error)[:200]}; remove the folder {path.parent}, and its "
            "values are computed anew"
        ) from None
    return found
