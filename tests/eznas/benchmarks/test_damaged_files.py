"""What importers make of damaged and hostile files: one sentence, nothing written, little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import pickle
import re
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eznas.benchmarks import load_benchmark
from eznas.benchmarks.imported import read_header, table_file
from eznas.benchmarks.importers import Request, import_files, nats, pickles, streams
from eznas.benchmarks.importers.pickles import PickleError, read_pickle
from eznas.benchmarks.importers.streams import JsonStream, Stream, masked_crcs
from eznas.errors import BenchmarkError, EznasError
from eznas.spaces import nb101, nb201
from tests.eznas.benchmarks import official_files as official

CELLS = nb201.all_architectures()[:12]
NETWORKS = {i: official.nats_network(arch, i, {3: {7: 50.0 + i, 8: 51.0 + i}}) for i, arch in enumerate(CELLS)}
NATS = pickle.dumps({"meta_archs": [], "arch2infos": NETWORKS, "evaluated_indexes": set()}, protocol=4)
GRAPHS = [nb101.architecture(f"011.001.000:{name}") for name in nb101.OPERATIONS]
RECORDS = official.framed(
    json.dumps(official.nb101_record(arch, 4, 0.5 + repeat / 10, 0.4)).encode()
    for arch in GRAPHS
    for repeat in range(3)
)
JOBS = json.dumps([official.nds_job(n, official.nds_resnet(8 * n + 8), [50.0, 30.0 + n]) for n in range(12)]).encode()
SCORES = json.dumps({"cifar10": {str((n,) * 6): {"val_accuracy": 50.0 + n} for n in range(5)}}).encode()
CSV = "\n".join(["network,cifar10_valid", *(f"{arch.spec},{40 + n}" for n, arch in enumerate(CELLS))]).encode()
FILES: dict[str, tuple[str, str, bytes, Callable[[bytes], bytes]]] = {
    "nats-tss": ("nats-tss", "all.pickle", NATS, lambda content: content),
    "nats-tss, compressed": ("nats-tss", "all.pickle.pbz2", NATS, lambda content: bz2.compress(content, 1)),
    "nb101": ("nb101", "all.tfrecord", RECORDS, lambda content: content),
    "nds": ("nds", "ResNet.json", JOBS, lambda content: content),
    "suite-zero": ("suite-zero", "zc_nasbench201.json", SCORES, gzip.compress),
    "csv": ("csv", "mine.csv", CSV, lambda content: content),
}
TOKENS = (
    b"\xff\xff\xff\xff", b"\0\0\0\0", b"NaN", b"1e999", b"null", b"[[[[", b"\x94\x94", b"r\xff\xff\xff\x7f", b"-1",
    b'""',
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut off, changed, lengthened or shortened at a place, or a few."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(("cut", "change", "insert", "remove", "repeat"))):
            case "cut":
                content = content[:place]
            case "change":
                content = content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
            case "insert":
                content = content[:place] + draw(st.sampled_from(TOKENS)) + content[place:]
            case "remove":
                content = content[:place] + content[place + draw(st.integers(1, 20)) :]
            case "repeat":
                content = content[:place] + content[place : place + 100] + content[place:]
    return content


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=60)
def test_damage_at_any_place_is_one_sentence(name: str, data: st.DataObject, tmp_path_factory: Any) -> None:
    kind, file, body, pack = FILES[name]
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / file
    inside = data.draw(st.booleans(), label="before it is compressed")
    path.write_bytes(pack(data.draw(damaged(body))) if inside else data.draw(damaged(pack(body))))
    try:
        import_files(kind, [path], folder, request=Request(space="nb201"))
    except EznasError as error:
        message = str(error)
    else:
        (table,) = set(os.listdir(folder)) - {file}
        read_header(folder / table)
        return
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 800
    assert file in message
    assert os.listdir(folder) == [file]  # nothing half-done


def test_the_files_are_whole_before_they_are_damaged(tmp_path: Path) -> None:
    for number, (kind, file, body, pack) in enumerate(FILES.values()):
        path = tmp_path / file
        path.write_bytes(pack(body))
        (one,) = import_files(kind, [path], tmp_path, request=Request(space="nb201"), name=f"table-{number}")
        assert one.header.n_networks in (3, 5, 12)


# Pickles --------------------------------------------------------------------------------------------------------------

VALUE: dict[str, Any] = {
    "numbers": (0, 1, 255, 256, 65_536, -1, -(2**40), 2**62, 0.1, float("inf"), None, True, False),
    "texts": ["", "é" * 300, "a" * 60_000], "bytes": b"xyz" * 200,
    "set": {1}, "frozen": frozenset([2]), "ordered": OrderedDict(a=1), "keys": {(1, "a"): 2, 3: 4, None: 5},
    "scalar": np.float64(1.5), "integer": np.int64(7), "big-endian": np.arange(3, dtype=">i2"),
    "matrix": np.arange(6.0).reshape(2, 3), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}  # fmt: skip
VALUE["again"] = VALUE["matrix"]


def loads(content: bytes) -> Any:
    return read_pickle(io.BytesIO(content).read)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_data_are_read_as_python_reads_them(protocol: int) -> None:
    found = loads(pickle.dumps(VALUE, protocol=protocol))
    for name, expected in VALUE.items():
        if isinstance(expected, np.ndarray):
            assert np.array_equal(found[name], expected)
            assert found[name].dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        else:
            assert found[name] == (list(expected) if isinstance(expected, set | frozenset) else expected)
    assert found["again"] is found["matrix"]


class _Call:
    """Pickles to a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    payload = pickle.dumps({0: _Call(os.mkdir, str(trace))})
    with pytest.raises(PickleError, match=r"it names '\w+\.mkdir', which data do not need"):
        loads(payload)
    path = tmp_path / "000000.pickle.pbz2"
    path.write_bytes(bz2.compress(payload))
    with pytest.raises(BenchmarkError, match=r"000000.pickle.pbz2 must hold a pickle of NATS-Bench, but it names"):
        import_files("nats-tss", [path], tmp_path)
    assert not trace.exists()
    pickle.loads(payload)  # the payload itself works
    assert trace.exists()


LIST = pickle.dumps(list(range(1000)), protocol=4)[:-1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it ends too early"),
        (b"no pickle", "it has the instruction"),
        (b"\x80\x09.", "it is of protocol 9"),
        (b"\x80\x04Nr\x00\x00\x00\x10.", "it asks for 268435456 places"),
        (b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00x.", "it holds 1099511627776 bytes in one piece"),
        (b"\x80\x04X\xff\xff\xff\xffx.", "it holds 4294967295 bytes"),
        (b"\x80\x04\x8a\xff" + bytes(255) + b".", "it holds an integer of 255 bytes"),
        (b"Pabc\n.", "it has the instruction 0x50"),
        (b"(" * 100_000 + b".", "it ends with other than one object"),
        (b"\x80\x04}K\x01s.", "takes what is not there"),
        (b"\x80\x04]K\x01K\x02s.", "it fills something that is no dictionary"),
        (b"\x80\x04}(K\x01u.", "it fills something that is no dictionary"),
        (b"\x80\x04}]Ns.", "it has a key of type list"),
        (b"\x80\x04]\x85NK\x01\x86.", "it ends with other than one object"),
        (b"\x80\x04h\x05.", "takes what is not there"),
        (b"\x80\x04c__builtin__\neval\n.", "it names '__builtin__.eval'"),
        (b"\x80\x04ccollections\nOrderedDict\nK\x01\x85R.", "it calls mapping in a way"),
        (b"\x80\x04K\x01K\x02b.", "it gives a state to a int"),
        (pickle.dumps(np.zeros(4)).replace(b"\x85", b"\x87"), "it|takes"),
        (pickle.dumps(np.array(["text"])), "in a way that data do not need|names|gives a state"),
        (pickle.dumps(np.zeros(20_000)), "it holds 160000 bytes in one piece"),
    ],
)
def test_a_hostile_pickle_takes_no_memory(content: bytes, reason: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PickleError, match=reason) as caught:
            loads(content)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("limit", "content"),
    [
        ("MAX_ITEMS", LIST + b"\x94cbuiltins\nlist\nh\x00\x85R" * 50 + b"."),  # copies of a list, a few bytes each
        ("MAX_ITEMS", b"\x80\x04" + b"]\x940" * 360_000 + b"N."),  # remembered, and gone from the stack
        ("MAX_ITEMS", b"\x80\x04](" + b"K\x01" * 20_000 + b"e" + b"N0" * 600_000 + b"."),
        ("MAX_STACK", b"\x80\x04" + b"N" * 1_200_000 + b"."),
        ("MAX_STACK", b"\x80\x04" + b"(" * 1_200_000 + b"."),
        ("MAX_MEMO", b"\x80\x04N" + b"\x94" * 1_200_000 + b"."),
        ("MAX_TEXTS", b"\x80\x04" + b"".join(b"\x8c\x06%06d0" % n for n in range(140_000)) + b"N."),
    ],
)
def test_every_limit_of_a_pickle_is_heeded(limit: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, limit, 10_000)
    with pytest.raises(PickleError, match=r"it describes more than|it holds more than"):
        loads(content)


def test_what_is_not_needed_is_let_go() -> None:
    """Of a large file only what `condense` leaves takes memory."""
    row = {"keep": 1, "drop": {number: number / 7 for number in range(300)}}
    content = pickle.dumps([dict(row, drop=dict(row["drop"])) for _ in range(60)], protocol=4)  # type: ignore[call-overload]

    def condense(mapping: dict[Any, Any]) -> int:
        dropped = mapping.pop("drop", {})
        n = len(dropped)
        dropped.clear()
        return n

    peaks = []
    for keep in (None, condense):
        tracemalloc.start()
        found = read_pickle(io.BytesIO(content).read, keep)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert [one["keep"] for one in found] == [1] * 60
    assert peaks[1] < peaks[0] / 3


# Compressed files, JSON and records -----------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bz2.compress, gzip.compress])
def test_a_decompression_bomb_is_refused(
    compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_RATIO_FROM", 2**19)
    path = tmp_path / "000000.pickle.pbz2"
    path.write_bytes(compress(b"\x80\x04" + b"N0" * 2**21))
    with pytest.raises(BenchmarkError, match="it grows more than 500 times when it is decompressed"):
        import_files("nats-tss", [path], tmp_path)
    monkeypatch.setattr(nats, "MAX_NETWORK_BYTES", 2**19)
    path.write_bytes(compress(b"\x80\x04" + os.urandom(2**20)))
    with pytest.raises(BenchmarkError, match="at most 524,288 bytes, but it has more"):
        import_files("nats-tss", [path], tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a list or an object, but it holds ''"),
        (b"[" * 200_000, "nested too deeply|ends too early"),
        (b'[{"net": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested too deeply"),
        (b'{"top": [], "top": []}', "texts as keys, each once, but 'top' is there twice"),
        (b"{1: []}", "valid JSON|texts as keys"),
        (b"[1, 2", "it ends too early"),
        (b"[] []", "something follows its end"),
        (b'[{"net": "' + b"x" * 3_000_000, "it is damaged or ends too early"),
        (b"[" + b"9" * 5000 + b"]", "valid JSON"),
        (b'["\xff"]', "UTF-8 text, but it holds other bytes"),
        (b"[1 2]", "valid JSON .* here.*, but '2' follows"),
    ],
)
def test_hostile_json(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "DARTS.json"
    path.write_bytes(content)
    with pytest.raises(BenchmarkError, match=f"DARTS.json.*{reason}|DARTS.json, job 0"):
        import_files("nds", [path], tmp_path)


def test_one_part_of_json_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_VALUE", 1_000_000)
    path = tmp_path / "DARTS.json"
    path.write_bytes(b'["' + b"x" * 5_000_000 + b'"]')
    with pytest.raises(BenchmarkError, match="parts of at most 1,000,000 characters, but one is longer"):
        import_files("nds", [path], tmp_path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=5,
    ).map(lambda value: {"a": value, "b": [value, value]}),
    st.integers(1, 40),
)
@settings(max_examples=40)
@example(value={"a": 0.0, "b": [1e-7, -2.5e30, 3]}, size=1)  # a number may end with a piece, or go on after it
@example(value={"a": 0.25, "b": [0.0, 0.0]}, size=2)
def test_json_in_pieces_is_json(value: Any, size: int) -> None:
    class Pieces:
        where = "pieces"

        def __init__(self) -> None:
            self._file = io.BytesIO(json.dumps(value, indent=size % 3 or None, ensure_ascii=size % 2 == 0).encode())

        def read(self, n: int) -> bytes:
            del n
            return self._file.read(size)

    content = JsonStream(Pieces())  # type: ignore[arg-type]
    assert {key: found for (key,), found in content.items(1)} == value
    content.end()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
@settings(max_examples=40)
def test_checksums_of_many_records_at_once_are_the_definition(records: list[bytes]) -> None:
    assert masked_crcs(records).astype("<u4").tobytes() == b"".join(map(official.masked, records))


def test_every_changed_byte_of_a_record_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "all.tfrecord"
    for place in range(0, len(RECORDS), 97):
        path.write_bytes(RECORDS[:place] + bytes([RECORDS[place] ^ 4]) + RECORDS[place + 1 :])
        with pytest.raises(BenchmarkError, match=r"all\.tfrecord"):
            import_files("nb101", [path], tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("pipe", "it is no file"), ("missing", "there is no such file"), (".", "it is a folder")):
        with pytest.raises(BenchmarkError, match=f"cannot be imported: {reason}; name a file that was downloaded"):
            Stream(tmp_path / name, 10)
    with pytest.raises(BenchmarkError, match=r"has no file that ends in .pickle.pbz2 or"):
        import_files("nats-tss", [tmp_path], tmp_path)


# The table itself -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("table")
    path = folder / "mine.csv"
    path.write_bytes(CSV)
    (one,) = import_files("csv", [path], folder, request=Request(space="nb201"))
    return one.path.read_bytes()


@given(data=st.data())
@settings(max_examples=60)
def test_a_damaged_table_is_refused(table: bytes, data: st.DataObject, tmp_path_factory: Any) -> None:
    """Also by those who are no damage of compression: the checksum is of what was compressed."""
    folder = tmp_path_factory.mktemp("table")
    inside = data.draw(st.booleans(), label="before it is compressed")
    content = data.draw(damaged(gzip.decompress(table) if inside else table))
    if (content if inside else None) == gzip.decompress(table):
        return
    table_file(folder, "mine").write_bytes(gzip.compress(content) if inside else content)
    message = _complaint(folder)
    if message:  # else a change of what says nothing: a title, the time of compression
        assert re.search(r"mine\.table\.gz|benchmark 'mine'|Unknown benchmark", message)
        assert len(message) < 800
        assert message.isprintable()


def _complaint(folder: Path) -> str:
    """What loading the table complains of; empty if it is read, and as it was."""
    try:
        found = load_benchmark("mine", folder)
    except BenchmarkError as error:
        return str(error)
    assert found.architectures == CELLS
    return ""


def test_an_accuracy_that_was_changed_by_hand_is_noticed(table: bytes, tmp_path: Path) -> None:
    content = gzip.decompress(table).replace(b",40.0\n", b",90.0\n")
    table_file(tmp_path, "mine").write_bytes(gzip.compress(content))
    with pytest.raises(BenchmarkError, match=r"mine.table.gz is not as it was written, its checksum is another one"):
        load_benchmark("mine", tmp_path)
    table_file(tmp_path, "other").write_bytes(table)
    with pytest.raises(BenchmarkError, match=r"holds the table 'mine'; call it mine.table.gz again"):
        load_benchmark("other", tmp_path)
