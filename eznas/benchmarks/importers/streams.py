"""Files of strangers, read piece by piece within stated limits: compressed bytes, JSON, framed records.

Nothing here takes more memory than a few pieces, whatever a file says of itself; whoever keeps what is read has limits
of their own.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from eznas.errors import BenchmarkError
from eznas.files import is_file, is_folder
from eznas.names import one_line, shown

MAX_RATIO: Final = 500
"""Largest factor by which a file may grow when it is decompressed; the official ones grow by 4 to 20."""
MAX_VALUE: Final = 32 * 2**20
"""Characters of one piece of JSON: a training, an architecture."""
MAX_RECORD: Final = 2**20
"""Bytes of one framed record; those of NAS-Bench-101 have about 400."""
INTACT: Final = "replace it by an intact copy"
_PIECE: Final = 2**18
_RATIO_FROM: Final = 16 * 2**20
_RECORDS_AT_ONCE: Final = 2048
_DAMAGED: Final = (OSError, EOFError, zlib.error, ValueError)
Path_ = tuple[str | int, ...]


def refuse(where: str, expected: str, got: str, remedy: str = INTACT) -> BenchmarkError:
    """The one sentence for what is wrong with a file: where, what was expected, what was found, what to do."""
    return BenchmarkError(f"{where} must hold {expected}, but {got}; {remedy}.")


class Stream:
    """A regular file, plain or compressed by bzip2 or gzip, of which no more than `max_bytes` are given.

    Attributes:
        where: its name for a sentence.
        n_read: bytes that were given, decompressed.

    Raises:
        BenchmarkError: if it cannot be opened, and from `read` if it is damaged or grows too much.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.where = one_line(path, 200)
        self.n_read = 0
        self._max_bytes = max_bytes
        if not is_file(path):
            other = "it is no file" if os.path.exists(path) else "there is no such file"
            found = "it is a folder" if is_folder(path) else other
            raise BenchmarkError(f"{self.where} cannot be imported: {found}; name a file that was downloaded.")
        try:
            self._raw = path.open("rb")
            magic = self._raw.peek(3)[:3]
        except OSError as error:
            raise BenchmarkError(f"Cannot read {self.where}: {error.strerror or error}.") from None
        self._file: BinaryIO = self._raw
        if magic == b"BZh":
            self._file = cast(BinaryIO, bz2.BZ2File(self._raw))
        elif magic[:2] == b"\x1f\x8b":
            self._file = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw))

    def read(self, n: int) -> bytes:
        """The next `n` bytes, fewer at the end.

        Raises:
            BenchmarkError: if the file is damaged, or more of it follows than is read.
        """
        try:
            piece = self._file.read(n)
        except _DAMAGED as error:
            raise refuse(self.where, "intact data", f"it cannot be read ({one_line(error)})") from None
        self.n_read += len(piece)
        if self.n_read > self._max_bytes:
            got = f"it has more than {self._max_bytes:,} bytes"
            raise refuse(self.where, f"at most {self._max_bytes:,} bytes", got)
        if self.n_read > _RATIO_FROM and self.n_read > MAX_RATIO * self._raw.tell():
            got = f"it grows more than {MAX_RATIO} times when it is decompressed, as no official file does"
            raise refuse(self.where, "an official table", got)
        return piece

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._raw.close()


_IN_NUMBERS: Final = ".eE"
"""What may follow the digits of a number that is read in part."""


class JsonStream:
    """The parts of one JSON text, read one after another: never the whole of it.

    Args:
        stream: UTF-8.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._parse = json.JSONDecoder()
        self._text, self._at, self._is_last = "", 0, False

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more(_PIECE):
                return self._text[self._at : self._at + 1]

    def items(self, depth: int, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
        """The values `depth` levels below the next one, each with its keys and positions.

        Raises:
            BenchmarkError: if it is not JSON, less deep, or one value is longer than `MAX_VALUE`.
        """
        if depth == 0:
            yield path, self._value(path)
            return
        opening = self.peek()
        if opening not in ("[", "{"):
            raise self._wrong(path, "a list or an object", f"it holds {shown(self._text[self._at : self._at + 20])}")
        self._at += 1
        closing = "]" if opening == "[" else "}"
        seen: set[str] = set()
        for number in range(2**40):
            if number == 0 and self.peek() == closing:
                break
            key: str | int = number
            if opening == "{":
                key = self._value(path)
                if not isinstance(key, str) or key in seen:
                    got = f"{shown(key)} is there twice" if isinstance(key, str) else f"one is {shown(key)}"
                    raise self._wrong(path, "texts as keys, each once", got)
                seen.add(key)
                self._mark(":", path)
            yield from self.items(depth - 1, (*path, key))
            if self._mark(f",{closing}", path) == closing:
                return
        self._at += 1

    def end(self) -> None:
        """Raises `BenchmarkError` if anything follows."""
        if self.peek():
            raise self._wrong((), "one JSON text", "something follows its end")

    def _mark(self, allowed: str, path: Path_) -> str:
        found = self.peek()
        if not found or found not in allowed:
            got = f"{shown(found)} follows" if found else "it ends too early"
            raise self._wrong(path, f"valid JSON ({' or '.join(map(repr, allowed))} here)", got)
        self._at += 1
        return found

    def _value(self, path: Path_) -> Any:
        self.peek()
        size = _PIECE
        while True:
            try:
                value, end = self._parse.raw_decode(self._text, self._at)
            except RecursionError:
                raise self._wrong(path, "valid JSON", "it is nested too deeply") from None
            except ValueError as error:
                problem: str | None = getattr(error, "msg", None) or one_line(error)
            else:
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if self._is_last or self._text[end : end + 1] not in ("", *(_IN_NUMBERS if is_number else "")):
                    self._at = end
                    return value
                problem = None  # a number may go on, as 0. does
            if len(self._text) - self._at > MAX_VALUE:
                raise self._wrong(path, f"parts of at most {MAX_VALUE:,} characters", "one is longer or does not end")
            if not self._more(size) and problem is not None:
                raise self._wrong(path, "valid JSON", f"it is damaged or ends too early ({problem})")
            size *= 2

    def _more(self, n: int) -> bool:
        """Read on; False at the end."""
        if self._is_last:
            return False
        piece = self._stream.read(n)
        self._is_last = not piece
        try:
            added = self._decode(piece, self._is_last)
        except UnicodeDecodeError:
            raise self._wrong((), "UTF-8 text", "it holds other bytes") from None
        self._text, self._at = self._text[self._at :] + added, 0
        return not self._is_last

    def _wrong(self, path: Path_, expected: str, got: str) -> BenchmarkError:
        at = f", at {'.'.join(one_line(part, 40) for part in path)}" if path else ""
        return refuse(self._stream.where + at, expected, got)


# Framed records -------------------------------------------------------------------------------------------------------

_POLYNOMIAL: Final = 0x82F63B78
_MASK_DELTA: Final = 0xA282EAD8


def _crc_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_CRC_TABLE: Final = _crc_table()


def masked_crcs(records: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """(n,) checksums of byte strings as TFRecord files store them: CRC-32C, rotated by 15 bits, plus a constant."""
    lengths = np.array([len(record) for record in records])
    order = np.argsort(-lengths, kind="stable")
    width = int(lengths.max(initial=0))
    block = np.zeros((len(records), width), dtype=np.uint8)
    for place, position in enumerate(order):
        block[place, : lengths[position]] = np.frombuffer(records[position], dtype=np.uint8)
    columns = np.ascontiguousarray(block.T)
    n_longer = np.searchsorted(-lengths[order], -np.arange(width), side="left")  # records longer than each position
    crc = np.full(len(records), 0xFFFFFFFF, dtype=np.uint32)
    for column, n in zip(columns, n_longer, strict=True):
        crc[:n] = _CRC_TABLE[(crc[:n] ^ column[:n]) & 0xFF] ^ (crc[:n] >> 8)
    crc ^= np.uint32(0xFFFFFFFF)
    found = np.empty_like(crc)
    found[order] = ((crc >> 15) | (crc << 17)) + np.uint32(_MASK_DELTA)
    return found


def framed_records(stream: Stream) -> Iterator[bytes]:
    """The records of a TFRecord file: length (8 bytes), its checksum (4), the record, its checksum (4).

    Raises:
        BenchmarkError: if a checksum is wrong, a record is longer than `MAX_RECORD`, or the file ends within one.
    """
    first = 0
    while True:
        headers: list[bytes] = []
        records: list[bytes] = []
        sums: list[bytes] = []
        is_last = False
        while len(records) < _RECORDS_AT_ONCE:
            where = f"{stream.where}, record {first + len(records)}"
            header = stream.read(12)
            if not header:
                is_last = True
                break
            length = int.from_bytes(header[:8], "little")
            if len(header) < 12 or length > MAX_RECORD:
                got = f"it says it has {length}" if len(header) == 12 else "it ends too early"
                raise refuse(where, f"a record of at most {MAX_RECORD} bytes", got)
            content = stream.read(length + 4)
            if len(content) < length + 4:
                raise refuse(where, f"{length} bytes and a checksum", f"{len(content)} bytes follow")
            headers.append(header)
            records.append(content[:length])
            sums.append(content[length:])
        for parts, said in (([h[:8] for h in headers], [h[8:] for h in headers]), (records, sums)):
            stored = np.frombuffer(b"".join(said), dtype="<u4")
            wrong = np.flatnonzero(masked_crcs(parts) != stored)
            if wrong.size:
                where = f"{stream.where}, record {first + int(wrong[0])}"
                raise refuse(where, "data with the checksum that is stored", "it has another one")
        yield from records
        first += len(records)
        if is_last:
            return


def csv_lines(stream: Stream) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV table with a header, by the names of its columns, and the number of each line.

    Raises:
        BenchmarkError: if it is not UTF-8 text in rows as long as the header.
    """
    reader = csv.reader(_text_lines(stream), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not any(header) or len(set(header)) != len(header):
            raise refuse(stream.where, "a header that names every column once", f"it begins {shown(header)}")
        for row in reader:
            if len(row) == len(header):
                yield reader.line_num, dict(zip(header, row, strict=True))
            elif any(field.strip() for field in row):
                where = f"{stream.where}, line {reader.line_num}"
                raise refuse(where, f"{len(header)} fields, as the header does", f"it has {len(row)}")
    except csv.Error as error:
        raise refuse(f"{stream.where}, line {reader.line_num + 1}", "a row of a CSV table", one_line(error)) from None


def _text_lines(stream: Stream) -> Iterator[str]:
    rest, is_last, number = b"", False, 0
    while not is_last:
        piece = stream.read(_PIECE)
        is_last = not piece
        lines = (rest + piece).splitlines(keepends=True)
        rest = lines.pop() if lines and not is_last else b""
        if len(rest) > MAX_RECORD:
            raise refuse(f"{stream.where}, line {number + 1}", f"at most {MAX_RECORD} bytes", "it is longer")
        for line in lines:
            number += 1
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise refuse(f"{stream.where}, line {number}", "UTF-8 text", "it holds other bytes") from None
