"""Architectures as other tools write them, and texts that are none."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eznas.errors import ArchitectureError
from eznas.spaces import Architecture, darts, nb101, nb201, networks_named
from eznas.spaces.notation import Call, literal
from tests.eznas.spaces.reference import rows
from tests.eznas.spaces.test_nb101 import cells as nb101_cells

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
PAIR = (
    "|sep_conv_3x3~0|sep_conv_3x3~1|+|sep_conv_3x3~0|skip_connect~1|+|dil_conv_5x5~2|max_pool_3x3~0|+"
    "|avg_pool_3x3~4|skip_connect~1|/|skip_connect~0|sep_conv_5x5~1|+|dil_conv_3x3~0|skip_connect~2|+"
    "|skip_connect~3|skip_connect~0|+|sep_conv_3x3~4|max_pool_3x3~1|"
)
GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 1), "
    "('dil_conv_5x5', 2), ('max_pool_3x3', 0), ('avg_pool_3x3', 4), ('skip_connect', 1)], normal_concat=range(2, 6), "
    "reduce=[('skip_connect', 0), ('sep_conv_5x5', 1), ('dil_conv_3x3', 0), ('skip_connect', 2), ('skip_connect', 3), "
    "('skip_connect', 0), ('sep_conv_3x3', 4), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def pairs_of(cell: str) -> list[list[object]]:
    """The operations of a cell with the node they read, as records of NDS list them."""
    return [[edge[:-2], int(edge[-1])] for edge in cell.replace("+", "").split("|") if edge]


# NAS-Bench-201 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        CELL,
        f"  {CELL}\t",
        CELL.replace("+", " + ").replace("|", "| "),
        f"nb201:{CELL}",
        f"nb201: {CELL} ",
        f"Structure(4 nodes with {CELL})",
        f"CellStructure(4 nodes with {CELL})",
        "nb201:((('nor_conv_3x3', 0),), (('none', 0), ('skip_connect', 1)), "
        "(('avg_pool_3x3', 0), ('nor_conv_1x1', 1), ('none', 2)))",
        "nb201:(2, 1, 4, 0, 3, 1)",  # edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3
        "nb201:[2,1,4,0,3,1]",
        "nb201:214031",
    ],
)
def test_one_cell_of_nb201_in_every_form(text: str) -> None:
    assert networks_named(text) == (Architecture("nb201", CELL),)


def test_codes_of_nb201_are_those_of_the_published_tables() -> None:
    """Written out once more: digit k of the code is the operation of the k-th edge, edges by the node they leave."""
    names = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
    for code in itertools.islice(itertools.product(range(5), repeat=6), 0, None, 37):
        a, b, c, d, e, f = (names[digit] for digit in code)
        expected = nb201.architecture(f"|{a}~0|+|{b}~0|{d}~1|+|{c}~0|{e}~1|{f}~2|")
        assert networks_named(f"nb201:{code}") == networks_named(f"nb201:{''.join(map(str, code))}") == (expected,)


def test_indices_and_cells_stand_side_by_side() -> None:
    expected = (*map(nb201.from_index, (3, 7, 8, 5)), Architecture("nb201", CELL))
    assert networks_named(f"nb201:3,7-8; 5;{CELL}") == expected
    assert networks_named("nb201:4,0,3,1,4,3") == tuple(map(nb201.from_index, (4, 0, 3, 1)))


# NAS-Bench-101 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "nb101:0110.0010.0001.0000:conv3x3,maxpool3x3",
        " nb101: 0110.0010.0001.0000 : conv3x3-bn-relu, maxpool3x3 ",
        "nb101:0110.0010.0001.0000:CONV3X3_BN_RELU,maxpool3x3",
        "ModelSpec(matrix=[[0,1,1,0],[0,0,1,0],[0,0,0,1],[0,0,0,0]], "
        "ops=['input','conv3x3-bn-relu','maxpool3x3','output'])",
        "api.ModelSpec([[0,1,1,0],[0,0,1,0],[0,0,0,1],[0,0,0,0]], "
        "['input', 'conv3x3-bn-relu', 'maxpool3x3', 'output'])",
        'nb101:{"matrix": [[0,1,1,0],[0,0,1,0],[0,0,0,1],[0,0,0,0]], '
        '"ops": ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]}',
        "nb101:{'module_adjacency': array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]), "
        "'module_operations': ['input', 'conv3x3-bn-relu', 'maxpool3x3', 'output']}",
        "nb101:(0,1,1,0, 0,0,1,0, 0,0,0,1, 0,0,0,0, 0,4,2,1)",
        "nb101:4,0110001000010000,02",
        "nb101:00005c142e6f48ac74fdcf73e3439874,4,0110001000010000,02,8555530,0.36,1.5e-3",
    ],
)
def test_one_cell_of_nb101_in_every_form(text: str) -> None:
    assert networks_named(text) == (Architecture("nb101", "0110.0010.0001.0000:conv3x3,maxpool3x3"),)


def test_rows_of_the_nb101_table_have_their_hash() -> None:
    table = rows("nb101.csv.gz")
    for row in table[::40]:
        (arch,) = networks_named("nb101:" + ",".join(row.values()))
        assert nb101.function(arch) == row["hash"]
        assert nb101.parameter_count(arch) == int(row["params"])


@given(nb101_cells(), st.randoms(use_true_random=False))
def test_isomorphic_cells_of_nb101_have_one_function(text: str, rng: random.Random) -> None:
    cell = nb101.graph(nb101.architecture(text)).pruned()
    n = cell.n_vertices
    place = [0]  # where each vertex of the new order stood: a random order along the edges
    while len(place) < n - 1:
        ready = [v for v in range(1, n - 1) if v not in place
                 and all(u in place for u in range(v) if cell.matrix[u][v])]  # fmt: skip
        place.append(rng.choice(ready))
    place.append(n - 1)
    matrix = tuple(tuple(cell.matrix[i][j] for j in place) for i in place)
    other = nb101.Graph(matrix, tuple(cell.operations[v - 1] for v in place[1:-1]))
    assert nb101.cell_hash(other) == nb101.cell_hash(cell) == nb101.function(nb101.architecture(text))


def test_other_cells_of_nb101_have_other_functions() -> None:
    """All small cells: as many functions as the benchmark has graphs of up to four vertices."""
    found = set()
    for n in range(2, 5):
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        for bits in itertools.product((False, True), repeat=len(pairs)):
            edges = dict(zip(pairs, bits, strict=True))
            matrix = tuple(tuple(edges.get((i, j), False) for j in range(n)) for i in range(n))
            for names in itertools.product(nb101.OPERATIONS, repeat=n - 2):
                try:
                    cell = nb101.Graph(matrix, names)
                except ArchitectureError:
                    continue
                if cell.pruned() == cell:
                    found.add(nb101.cell_hash(cell))
    assert len(found) == 91


# DARTS ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"darts:{PAIR}",
        "darts: " + PAIR.replace("+", " + ").replace("/", " / "),
        GENOTYPE,
        f"darts:{GENOTYPE}",
        f"darts:genotypes.{GENOTYPE}",
        GENOTYPE.replace("range(2, 6)", "[2, 3, 4, 5]").replace(" ", ""),
        "darts:" + json.dumps({"genotype": dict(zip(("normal", "reduce"), map(pairs_of, PAIR.split("/")), strict=True)),
                               "width": 32}),
        "darts:(((0,3),(1,3),(0,3),(1,2),(2,6),(0,0),(4,1),(1,2)),((0,2),(1,4),(0,5),(2,2),(3,2),(0,2),(4,3),(1,0)))",
    ],
)  # fmt: skip
def test_one_darts_network_in_every_form(text: str) -> None:
    assert networks_named(text) == (Architecture("darts", PAIR),)


def test_the_order_of_nodes_and_of_their_two_operations_is_no_other_function() -> None:
    first, second = "|sep_conv_3x3~0|skip_connect~1|", "|skip_connect~1|sep_conv_3x3~0|"
    assert PAIR.count(first) == 1
    one, other = darts.architecture(PAIR), darts.architecture(PAIR.replace(first, second))
    assert one != other
    assert darts.function(one) == darts.function(other)
    renumbered = PAIR.replace("+|dil_conv_5x5~2|max_pool_3x3~0|+|avg_pool_3x3~4|", "+|A|+|avg_pool_3x3~3|")
    renumbered = renumbered.replace(f"+{first}+|A|", f"+|dil_conv_5x5~2|max_pool_3x3~0|+{first}", 1)
    assert renumbered.count("avg_pool_3x3~3") == 1
    assert darts.function(darts.architecture(renumbered)) == darts.function(one)
    changed = darts.architecture(PAIR.replace(first, "|skip_connect~1|sep_conv_5x5~0|"))
    assert darts.function(one) != darts.function(changed)


def refusal(spec: str) -> str:
    """What is said of a specification; empty if it names networks."""
    try:
        assert networks_named(spec)
    except ArchitectureError as error:
        return str(error)
    return ""


def test_records_of_nds_with_other_operations_are_refused_by_the_nearest_name() -> None:
    records = [row["net_json"] for row in rows("nds.csv.gz") if row["file"] in ("DARTS_in", "Amoeba_in")]
    said = [refusal(f"darts:{record}") for record in records]
    assert sum(map(bool, said)) > 100
    assert max(map(len, said)) < 500


# What is none ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("8:16:24:32:65", r"five widths out of 8, .*, 64, as in '8:16:24:32:64', but '8:16:24:32:65'"),
        (PAIR, r"two cells as a DARTS network has; write darts: before them"),
        ("nb201:|nor_conv_3x~0|+|none~0|none~1|+|none~0|none~1|none~2|", r"did you mean 'nor_conv_3x3'\?$"),
        ("nb201:(4, 0, 3, 1, 4, 5)", r"go from 0 to 4 \(skip_connect, none, .*\), but they are 4, 0, 3, 1, 4, 5"),
        ("nb201:(4, 0, 3, 1, 4)", r"NASLib's codes"),
        ("nb201:(4, 0, 3, 1, 4, 'x')", r"NASLib's codes"),
        ("nb201:((('none', 0),), (('none', 0), ('none', 0)), (('none', 0), ('none', 1), ('none', 2)))", "six edges"),
        ("nb101:0110.0010.0001.0000:conv3x3,maxpool", r"did you mean 'maxpool3x3'\?$"),
        ("ModelSpec(matrix=[[0,1],[0,0]], ops=['input','out'])", r"Expected a NAS-Bench-101 cell"),
        ("ModelSpec(matrix=__import__('os').system('false'), ops=[])", r"Expected a NAS-Bench-101 cell"),
        ("ModelSpec(matrix=[[0,2],[0,0]], ops=['input','output'])", r"Expected a NAS-Bench-101 cell"),
        ("nb101:[0]", r"Expected a NAS-Bench-101 cell"),
        ("nb101:{'matrix': 3}", r"Expected a NAS-Bench-101 cell"),
        ("nb101:5,0110001000010000,02", r"Expected a NAS-Bench-101 cell"),
        (GENOTYPE.replace("range(2, 6)", "range(3, 6)"), r"normal_concat is \[3, 4, 5\]; give a genotype"),
        (GENOTYPE.replace("sep_conv_5x5", "sep_conv_7x7"), r"but it has sep_conv_7x7~1; did you mean 'sep_conv_"),
        (GENOTYPE.replace("('max_pool_3x3', 1)", "('max_pool_3x3', open)"), r"Expected the normal and the reduction"),
        (GENOTYPE.replace("reduce=", "other="), r"Expected the normal and the reduction"),
        ("nb202:all", r"Unknown search space 'nb202'; did you mean 'nb201'\?; write nb201:all, "),
        ("nb201:", r"nothing follows 'nb201:'; write nb201:all, "),
        ("zoo.small:networks", r"no search space 'zoo.small'; of your own, write 'python:zoo.small:networks'$"),
        ("imagenet", r"--networks takes nb201:all, .*, got 'imagenet'$"),
        ("nb201:random", r"Expected nb201:random:N or nb201:random:N:SEED, got 'nb201:random'"),
        ("nb101:random:0", r"Of NAS-Bench-101 1 to 100,000 can be drawn, but 0 were asked for"),
        ("darts:random:2:x", r"Expected a whole number in 'darts:random:2:x', got 'x'"),
        ("nb201:random:15626", r"1 to 15,625 can be drawn, but 15626"),
        ("nb201:1-x", r"Expected a NAS-Bench-201 cell"),
        ("nb201:1-", None),
        ("nb201:5-3", r"indices go from 0 to 15624, got '5-3'"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_one_sentence_that_names_the_nearest_form(spec: str, message: str | None) -> None:
    if message is None:
        assert networks_named(spec)
        return
    with pytest.raises(ArchitectureError, match=message) as caught:
        networks_named(spec)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def _damaged(rng: random.Random) -> str:
    """A specification of one of the forms above with pieces cut out, repeated, swapped or replaced by rubbish."""
    text = rng.choice([f"nb201:{CELL}", f"darts:{PAIR}", GENOTYPE, "nb101:0110.0010.0001.0000:conv3x3,maxpool3x3",
                       "nb201:(4, 0, 3, 1, 4, 3)", "nb201:random:3:1", "python:math:floor", "nb201:3,7-12",
                       "ModelSpec(matrix=[[0,1],[0,0]], ops=['input','output'])"])  # fmt: skip
    for _ in range(rng.randint(1, 6)):
        start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        rubbish = "".join(rng.choice(string.printable + "\x1b[31m\u202e\0\ud800é𝟜٣") for _ in range(rng.randint(0, 9)))
        piece = rng.choice([rubbish, "9" * rng.randint(1, 6_000), text[start:end] * 40, "", "((((((((((", "[" * 3_000])
        text = text[:start] + piece + text[end:]
    return text


def test_no_damaged_text_is_more_than_a_sentence() -> None:
    rng = random.Random(5)
    said = [refusal(spec) for spec in (_damaged(rng) for _ in range(1_500)) if not spec.lstrip().startswith("@")]
    assert sum(map(bool, said)) > 1_000
    assert max(map(len, said)) < 600
    assert all(sentence.isprintable() for sentence in said)


def test_files_of_damaged_specifications_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mnetworks.txt"
    for content in (b"nb201:random:" + b"9" * 5_000, b"|nor_conv_-1x0~" + b"9" * 9_000, b"python:math:" + b"0" * 9_000,
                    "nb201:3,15\ufffd\x1b[31m~|\x0f\u202e".encode(), b"\xff\xfe", b"", b"# nothing\n", b"@other\n",
                    b"nb201:os.path," + b"1" * 20 + b"-" + b"9" * 3_000):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ArchitectureError) as caught:
            networks_named(f"@{path}")
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()


# Literals -------------------------------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.integers(-999_999_999, 999_999_999) | st.booleans() | st.none()
    | st.text(string.ascii_letters + " ,:=()[]{}\"0.", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_data_is_read_as_python_and_json_write_it(value: object) -> None:
    expected = json.loads(json.dumps(value))
    assert literal(repr(value)) == expected
    if "\\" not in json.dumps(value):
        assert literal(json.dumps(value)) == expected


def test_calls_are_data() -> None:
    assert literal("[1.0, 0.25, -3.5, 2]") == [1.0, 0.25, -3.5, 2]
    assert literal("a.F(1, (2, 3), x = 'y',)") == Call("F", [1, [2, 3]], {"x": "y"})
    assert literal("range(4)") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "text",
    ["", "1 2", "[1", "(1, 2", "1.", ".5", "1.5.2", "1.5e3",
     "x", "[,]", "f(", "{1: 2}", "{'a' 1}", "range(10**9)", "range('a')", "f(x)",
     "'a", "a.b", "lambda: 0", "[" * 20, "9" * 10, "b'x'", "'\\n'", "1" * 5_000, "f()()"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z(\'].*"):
        literal(text)


def test_digests_name_space_and_text() -> None:
    arch = nb201.architecture(CELL)
    assert nb201.SPACE.digest(arch) == hashlib.blake2b(b"nb201\0" + CELL.encode(), digest_size=16).hexdigest()
