"""One block of a bank on disk: what some words say of some networks, written as a whole and never again.

A block is a safetensors file, named by the networks it holds and by the checksum of its bytes; it gets that name only
when it is complete. It knows its columns by content, and its rows by the digest of the list they stand in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from eznas.errors import BankError
from eznas.files import replace_file
from eznas.forms import json_of
from eznas.programs import FailureKind

NAME: Final = re.compile(r"(?P<columns>[0-9a-f]{32})-(?P<checksum>[0-9a-f]{32})\.safetensors")
KINDS: Final = tuple(FailureKind)
"""A failure is kept as its place in this tuple, counted from 1; 0 is a value. New kinds go to the end."""
MAX_COLUMNS: Final = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Values of words on networks.

    Attributes:
        columns: digest of each network, by content.
        values: (n_rows, n_columns) float64; not finite where a word failed, as the word left it.
        kinds: (n_rows, n_columns) uint8, see `KINDS`.
    """

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    kinds: npt.NDArray[np.uint8]


def write_block(folder: Path, block: Block) -> Path:
    """Write a block under the name that its content gives it; an equal one is written over.

    Raises:
        OSError: if it cannot be written; nothing of it stays.
    """
    data = save(
        {"values": np.ascontiguousarray(block.values), "kinds": np.ascontiguousarray(block.kinds)},
        metadata={"columns": json.dumps(block.columns, separators=(",", ":"))},
    )
    path = folder / f"{digest_of(block.columns)}-{blake2b(data, digest_size=16).hexdigest()}.safetensors"
    replace_file(path, data)
    return path


def read_block(path: Path, n_rows: int, *, verify: bool = False) -> Block:
    """A block from its file.

    Args:
        path: of the file.
        n_rows: that it must have.
        verify: compare the checksum in its name as well.

    Raises:
        BankError: if it cannot be read, or is not what its name says.
    """
    try:
        if verify and blake2b(path.read_bytes(), digest_size=16).hexdigest() not in path.stem:
            raise ValueError("its content is not what its name says")
        with safe_open(path, framework="numpy") as file:
            columns = tuple(json_of((file.metadata() or {}).get("columns", "[]")))
            values, kinds = file.get_tensor("values"), file.get_tensor("kinds")
        shape = (n_rows, len(columns))
        if values.shape != shape or kinds.shape != shape or values.dtype != np.float64 or kinds.dtype != np.uint8:
            raise ValueError(f"expected {shape[0]} rows and {shape[1]} columns, got {values.shape} and {kinds.shape}")
        if not all(isinstance(column, str) for column in columns) or digest_of(columns) not in path.name:
            raise ValueError("its networks are not those of its name")
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise BankError(
            f"A block of the bank cannot be read, {path}: {_brief(error)}; remove the file, and what it held is "
            "computed anew"
        ) from None
    return Block(columns, values, kinds)


def digest_of(names: Sequence[str]) -> str:
    """32 hexadecimal digits of a list of names."""
    content = json.dumps(list(names), separators=(",", ":"), ensure_ascii=True)
    return blake2b(content.encode(), digest_size=16).hexdigest()


def _brief(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
