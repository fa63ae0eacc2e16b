"""One shard on disk: a safetensors file, named by the networks it holds and by the checksum of its bytes.

A file gets its name only when it is complete, so nothing half-written can be taken for a shard.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eznas.errors import StoreError
from eznas.statistics.shard import Column

DIGEST_BYTES = 16
TEMPORARY = ".temporary"
_READ_BYTES = 2**20
_LINE_BYTES = 64
_TYPE_NAMES = {
    torch.int64: "I64", torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16",
}  # fmt: skip
"""The types a shard file can hold, in the order in which it holds them, with their names in safetensors."""
SHARD_NAME = re.compile(r"(?P<start>\d{6,})-(?P<stop>\d{6,})-(?P<checksum>[0-9a-f]{32})\.safetensors")
TEMPORARY_NAME = re.compile(rf"[0-9a-f]{{32}}{re.escape(TEMPORARY)}")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One line of the manifest: networks ``start`` to ``stop`` (exclusive) of the store."""

    name: str
    start: int
    stop: int
    checksum: str
    n_bytes: int

    @classmethod
    def from_path(cls, path: Path) -> ShardFile | None:
        """The entry that belongs to a finished shard file, or nothing if this is not one."""
        match = SHARD_NAME.fullmatch(path.name)
        if match is None:
            return None
        return cls(path.name, int(match["start"]), int(match["stop"]), match["checksum"], path.stat().st_size)


def write_columns(path: Path, named: Mapping[str, Column]) -> str:
    """Writes tensors in the safetensors format, part by part and so without a copy of any; returns the checksum.

    Unlike ``safetensors.torch.save_file``, it does not want every tensor whole in memory; and tensors that fill whole
    lines of a processor's cache come first, after a header that does, so that they begin at one where they are mapped.
    """
    order = {dtype: position for position, dtype in enumerate(_TYPE_NAMES)}
    ordered = sorted(
        named.items(),
        key=lambda item: (item[1].nbytes % _LINE_BYTES != 0, order[item[1].parts[0].dtype], item[0]),
    )
    digest = sha256()
    values = (_bytes(part) for _, column in ordered for part in column.parts)
    with path.open("wb") as file:
        for block in itertools.chain([memoryview(_header(ordered))], values):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()[: 2 * DIGEST_BYTES]


def _header(ordered: Sequence[tuple[str, Column]]) -> bytes:
    """The head of a safetensors file: its length, and type, shape and place of every tensor as JSON."""
    entries: dict[str, Any] = {}
    end = 0
    for name, column in ordered:
        start, end = end, end + column.nbytes
        entries[name] = {
            "dtype": _TYPE_NAMES[column.parts[0].dtype],
            "shape": list(column.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _LINE_BYTES)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    """The values of a tensor as the machine holds them."""
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary path in `folder`, gone afterwards unless it was published."""
    temporary = folder / f"{uuid.uuid4().hex}{TEMPORARY}"
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def publish(temporary: Path, final: Path) -> None:
    """Gives a complete file its name once its bytes, and then its entry in the folder, are on the disk."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_shard_file(folder: Path, file: ShardFile, *, verify: bool) -> None:
    path = folder / file.name
    try:
        n_bytes = path.stat().st_size
        if n_bytes != file.n_bytes:
            raise damaged(path, f"{file.n_bytes} bytes", f"{n_bytes}")
        checksum = file_checksum(path) if verify else file.checksum
    except OSError as error:
        raise damaged(path, "a readable shard", str(error)) from error
    if checksum != file.checksum:
        raise damaged(path, f"checksum {file.checksum}", checksum)


def damaged(path: Path, expected: str, found: str) -> StoreError:
    return StoreError(
        f"{path.name} of the statistics store {path.parent} is damaged: expected {expected}, found {found}; delete the "
        f"folder, it will be captured again."
    )


def file_checksum(path: Path) -> str:
    """The first 32 hexadecimal digits of a file's SHA-256, which processors compute faster than BLAKE2."""
    digest = sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()[: 2 * DIGEST_BYTES]
