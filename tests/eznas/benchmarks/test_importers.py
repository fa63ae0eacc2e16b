"""Official files become tables: what each kind holds, with split, epochs, seeds and label noise; the known traps."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eznas.benchmarks import Benchmark, Split, load_benchmark, source_named
from eznas.benchmarks.imported import read_header, table_file
from eznas.benchmarks.importers import IMPORTERS, Imported, Request, import_files
from eznas.cli import main
from eznas.errors import BenchmarkError, ConfigError, OutputError
from eznas.runs.config import config_from
from eznas.spaces import nb101, nb201, sss
from eznas.study import prepare
from eznas.testing import check_benchmark
from tests.eznas.benchmarks import official_files as official
from tests.eznas.cli.commands import Capsys, complaint

VALIDATION, TEST = Split.VALIDATION, Split.TEST
N = 28
CELLS = nb201.all_architectures()[:N]
LENGTHS = {12: {111: 30.0, 777: 31.0}, 200: {777: 60.0, 888: 62.0, 999: 64.0}}


def _lengths(index: int) -> dict[int, dict[int, float]]:
    """Accuracies by epochs and seed; three seeds that agree on the order of networks."""
    return {epochs: {seed: a + index for seed, a in seeds.items()} for epochs, seeds in LENGTHS.items()}


NETWORKS = {index: official.nats_network(arch, index, _lengths(index)) for index, arch in enumerate(CELLS)}


def made(kind: str, path: Path | list[Path], folder: Path, **options: Any) -> Imported:
    """One table."""
    request = Request(**{key: options.pop(key) for key in ("label", "space") if key in options})
    (one,) = import_files(kind, path if isinstance(path, list) else [path], folder, request=request, **options)
    return one


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file of all networks."""
    return official.write_nats(tmp_path_factory.mktemp("tss") / "NATS-tss.pickle.pbz2", NETWORKS)


@pytest.fixture(scope="module")
def tss(file: Path) -> Benchmark:
    made("nats-tss", file, file.parent)
    return load_benchmark("nats-tss", file.parent)


# NATS-Bench -----------------------------------------------------------------------------------------------------------


def test_every_length_split_and_data_set_is_a_column_of_its_own(tss: Benchmark) -> None:
    check_benchmark(tss)
    assert (tss.space, tss.full_training, tss.architectures) == ("nb201", 200, CELLS)
    assert tss.datasets == ("cifar10", "cifar100", "imagenet16")
    index = np.arange(N)
    for epochs, seeds in LENGTHS.items():
        mean = np.mean([*seeds.values()])
        # the files here add 1 and 2 to the accuracy of the second and third images that a network is evaluated on
        for dataset, valid, test in (("cifar10", 0, 0), ("cifar100", 1, 2), ("imagenet16", 1, 2)):
            assert tss.tables[dataset, VALIDATION, epochs] == pytest.approx(mean + valid + index)
            assert tss.tables[dataset, TEST, epochs] == pytest.approx(mean + test + index)
    assert tss.accuracies(CELLS[:1], "cifar10", VALIDATION)[0] == pytest.approx(62.0)  # of 200 epochs, unless asked


def test_cifar10_validation_and_test_are_of_different_networks(tmp_path: Path) -> None:
    """Validation of those trained on half of the images, test of those trained on all."""
    network = official.nats_network(CELLS[0], 0, {200: {777: 50.0}})
    results = network["200"]["all_results"]
    results["cifar10-valid", 777] = official.nats_training("cifar10-valid", 777, 200, 0.129306, 11.0)
    results["cifar10", 777] = official.nats_training("cifar10", 777, 200, 0.129306, 22.0)
    header = made("nats-tss", official.write_nats(tmp_path / "all.pickle.pbz2", {0: network}), tmp_path).header
    table = load_benchmark("nats-tss", tmp_path)
    assert table.tables["cifar10", VALIDATION, 200] == [11.0]
    assert table.tables["cifar10", TEST, 200] == [22.0]
    assert "cifar10-valid" not in table.datasets
    assert any("trained on half of CIFAR-10 is not taken" in note for note in header.notes)


def test_seeds_are_averaged_counted_and_give_the_label_noise(file: Path, tss: Benchmark) -> None:
    header = read_header(table_file(file.parent, "nats-tss"))
    columns = {(c.dataset, c.split, c.epochs): c for c in header.columns}
    full, short = columns["cifar10", "validation", 200], columns["cifar10", "validation", 12]
    assert (full.label, full.trainings, full.seeds) == ("mean", (3, 3), (777, 888, 999))
    assert (short.label, short.trainings, short.seeds) == ("mean", (2, 2), (111, 777))
    assert full.noise == pytest.approx(2.0)  # of 60, 62, 64
    assert short.noise == pytest.approx(np.std([30.0, 31.0], ddof=1), abs=1e-6)
    assert full.retest == 1.0  # all seeds agree on the order
    assert tss.label_noise == {dataset: pytest.approx(2.0) for dataset in tss.datasets}
    assert "each the mean over all recorded seeds" in tss.provenance


def test_the_maximum_over_seeds_is_taken_only_when_asked_for_and_is_said(file: Path, tmp_path: Path) -> None:
    header = made("nats-tss", file, tmp_path, label="maximum", name="best").header
    table = load_benchmark("best", tmp_path)
    assert table.accuracies(CELLS[:1], "cifar10", VALIDATION) == [64.0]
    assert {column.label for column in header.columns} == {"maximum"}
    assert "each the maximum over all recorded seeds" in table.provenance


def test_seconds_are_all_epochs_and_one_evaluation_of_the_validation_images(tss: Benchmark) -> None:
    assert set(tss.seconds) == {(d, e) for d in ("cifar10", "cifar100", "imagenet16") for e in (12, 200)}
    assert tss.seconds["cifar10", 12] == pytest.approx(np.full(N, 12 * 2.0 + 0.5))


def test_a_folder_of_networks_gives_the_table_of_the_one_file(tss: Benchmark, tmp_path: Path) -> None:
    folder = tmp_path / "NATS-tss-v1_0-simple"
    folder.mkdir()
    for index, network in NETWORKS.items():
        official.write_pickle(folder / f"{index:06d}.pickle.pbz2", network, protocol=2 + index % 4)
    official.write_pickle(folder / "meta.pickle.pbz2", {"meta_archs": [], "total_archs": N, "arch2infos": None})
    made("nats-tss", folder, tmp_path)
    table = load_benchmark("nats-tss", tmp_path)
    assert table.architectures == tss.architectures
    for column, values in tss.tables.items():
        assert np.array_equal(table.tables[column], values)


def test_the_size_space(tmp_path: Path) -> None:
    archs = [sss.from_index(index) for index in range(N)]
    seeds = {1: {777: 20.0}, 12: {777: 30.0, 888: 32.0}, 90: {777: 40.0}}
    networks = {
        index: official.nats_network(arch, index, {e: {s: a + index for s, a in of.items()} for e, of in seeds.items()})
        for index, arch in enumerate(archs)
    }
    header = made("nats-sss", official.write_nats(tmp_path / "all.pickle.pbz2", networks), tmp_path).header
    table = load_benchmark("nats-sss", tmp_path)
    check_benchmark(table)
    assert (table.space, table.full_training, table.architectures) == ("sss", 90, tuple(archs))
    assert table.tables["cifar10", VALIDATION, 12] == pytest.approx(31.0 + np.arange(N))
    assert table.accuracies(archs[:1], "cifar10", VALIDATION) == [40.0]
    assert table.label_noise == {}  # full trainings have one seed, and the noise of 12 epochs is not theirs
    assert {c.noise for c in header.columns if c.epochs == 12} == {round(np.sqrt(2.0), 6)}


@pytest.mark.parametrize(
    ("kind", "folder", "published"),
    [
        ("nats-tss", "NATS-tss-v1_0-3ffb9-simple", {
            ("cifar10", VALIDATION, 200): (81.983, 87.94, 86.047), ("cifar10", TEST, 200): (85.863, 91.583, 88.79),
            ("cifar100", VALIDATION, 200): (52.7, 67.453, 61.68), ("cifar100", TEST, 200): (52.913, 67.607, 62.14),
            ("imagenet16", VALIDATION, 200): (28.211, 30.41, 33.4), ("imagenet16", TEST, 200): (26.633, 30.167, 32.467),
        }),
        ("nats-sss", "NATS-sss-v1_0-50262-simple", {
            ("cifar10", TEST, 90): (79.79, 85.77, 89.51), ("cifar100", VALIDATION, 90): (32.24, 54.46, 62.78),
        }),
    ],
)  # fmt: skip
def test_the_official_samples(
    kind: str, folder: str, published: dict[Any, tuple[float, ...]], data_dir: Path, tmp_path: Path
) -> None:
    samples = data_dir / "nats-samples" / folder
    if not samples.is_dir():
        pytest.skip("no samples of NATS-Bench")
    made(kind, samples, tmp_path)
    table = load_benchmark(kind, tmp_path)
    space = nb201 if kind == "nats-tss" else sss
    assert table.architectures == tuple(space.from_index(index) for index in (0, 11, 284))
    for column, values in published.items():
        assert table.tables[column] == pytest.approx(values, abs=2e-3)
    if kind == "nats-tss":
        assert table.seconds["cifar10", 12][1] == pytest.approx(153.7, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n["200"].update(arch_str=CELLS[1].spec), "results of .*, the network of that number, but they are"),
        (lambda n: n["200"]["all_results"]["cifar10", 777].update(epochs=12), "cifar10 of '200' epochs, but it says"),
        (lambda n: n["200"]["all_results"]["cifar10", 777].update(name="cifar10-valid"), "'cifar10-valid' and 200"),
        (lambda n: n["200"]["all_results"]["cifar10", 777].update(params=np.float64(1.0)), "network of 129,306 param"),
        (lambda n: n["200"]["all_results"]["cifar100", 777]["eval_acc1es"].pop("x-test@199"), "accuracy x-test@199"),
        (lambda n: n["200"]["all_results"]["cifar10", 777]["eval_acc1es"].update({"ori-test@199": 912.0}), "0..100"),
        (lambda n: n["200"]["all_results"].update({("svhn", 777): {}}), "a training on one of cifar10-valid"),
        (lambda n: n["200"].pop("all_results"), "by data set and seed under 'all_results'"),
        (lambda n: n.clear(), "results by hyper-parameters"),
    ],
)
def test_a_network_that_contradicts_itself(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    network = official.nats_network(CELLS[0], 0, {200: {777: 50.0}})
    change(network)
    path = official.write_nats(tmp_path / "all.pickle.pbz2", {0: network})
    with pytest.raises(BenchmarkError, match=f"all.pickle.pbz2, network 0.*{message}.*; replace it by an intact copy"):
        made("nats-tss", path, tmp_path)
    assert os.listdir(tmp_path) == [path.name]


def test_networks_of_another_number_or_given_twice(tmp_path: Path) -> None:
    network = official.nats_network(CELLS[0], 0, {12: {777: 50.0}})
    path = official.write_nats(tmp_path / "all.pickle.pbz2", {99_999: network})
    with pytest.raises(BenchmarkError, match="network 99999 must hold a number of NATS-Bench TSS"):
        made("nats-tss", path, tmp_path)
    one = official.write_pickle(tmp_path / "000000.pickle.pbz2", network)
    again = official.write_nats(tmp_path / "all.pickle.pbz2", {0: network})
    with pytest.raises(BenchmarkError, match=r"every network once, but .* was there before; give each file once"):
        made("nats-tss", [one, again], tmp_path)
    meta = official.write_pickle(tmp_path / "meta.pickle.pbz2", {"meta_archs": []})
    with pytest.raises(BenchmarkError, match=r"only the list of all networks.*; name the files of networks"):
        made("nats-tss", meta, tmp_path)


# NAS-Bench-101 --------------------------------------------------------------------------------------------------------

GRAPHS = tuple(map(nb101.architecture, (
    "0100110.0010000.0001001.0000010.0000010.0000001.0000000:conv3x3,maxpool3x3,conv3x3,conv3x3,conv1x1",
    "01.00:", "011.001.000:conv3x3", "011.001.000:conv1x1", "011.001.000:maxpool3x3",
    "0110.0010.0001.0000:conv3x3,maxpool3x3", "0110.0010.0001.0000:conv3x3,conv3x3", "010.001.000:conv3x3",
    "010.001.000:conv1x1", "010.001.000:maxpool3x3",
)))  # fmt: skip


def _validation(position: int, epochs: int, repeat: int) -> float:
    return 0.5 + position / 50 + epochs / 1000 + repeat / 100


def _records() -> list[list[Any]]:
    return [
        official.nb101_record(arch, epochs, _validation(position, epochs, repeat), 0.4 + position / 50, 50.0 + repeat)
        for position, arch in enumerate(GRAPHS)
        for epochs in (4, 12, 36, 108)
        for repeat in range(3)
    ]


@pytest.mark.parametrize(("label", "added"), [("mean", 1.0), ("maximum", 2.0)])
def test_records_of_nb101(label: str, added: float, tmp_path: Path) -> None:
    header = made("nb101", official.write_nb101(tmp_path / "a.tfrecord", _records()), tmp_path, label=label).header
    table = load_benchmark("nb101-official", tmp_path)
    check_benchmark(table)
    assert table.architectures == GRAPHS
    assert (table.space, table.full_training) == ("nb101", 108)
    assert f"each the {label} of its recorded trainings" in table.provenance
    for epochs in (4, 12, 36, 108):
        expected = [100 * _validation(position, epochs, 0) + added for position in range(len(GRAPHS))]
        assert table.tables["cifar10", VALIDATION, epochs] == pytest.approx(expected)
    assert table.tables["cifar10", TEST, 108][3] == pytest.approx(46.0)
    assert table.seconds["cifar10", 108] == pytest.approx(np.full(len(GRAPHS), 51.0))
    assert table.functions == tuple(map(nb101.function, GRAPHS))
    (noise,) = {column.noise for column in header.columns if column.split == "validation"}
    assert noise == pytest.approx(1.0)  # of 0, 1, 2 percent
    assert table.label_noise == {"cifar10": pytest.approx(1.0)}


def _as_json(path: Path) -> Path:
    """What ``get_metrics_from_hash`` of the released code gives, for every hash."""
    content: dict[str, Any] = {}
    for position, arch in enumerate(GRAPHS):
        rows, _, names = arch.spec.partition(":")
        fixed = {
            "module_adjacency": [[int(bit) for bit in row] for row in rows.split(".")],
            "module_operations": ["input", *filter(None, names.split(",")), "output"],
            "trainable_parameters": nb101.parameter_count(arch),
        }
        computed = {
            str(epochs): [
                {
                    "halfway_validation_accuracy": 0.1, "final_validation_accuracy": _validation(position, epochs, n),
                    "final_test_accuracy": 0.4 + position / 50, "final_training_time": 50.0 + n,
                }
                for n in range(3)
            ]
            for epochs in (4, 12, 36, 108)
        }  # fmt: skip
        content[nb101.function(arch)] = [fixed, computed]
    path.write_text(json.dumps(content))
    return path


def _as_csv(path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["module_hash", "epochs", "raw_adjacency", "raw_operations", "params",
                         "validation_accuracy", "test_accuracy", "training_time"])  # fmt: skip
        for position, arch in enumerate(GRAPHS):
            code, _, bits, names, _ = official.nb101_record(arch, 4, 0.5, 0.5)
            for epochs in (4, 12, 36, 108):
                for repeat in range(3):
                    labels = _validation(position, epochs, repeat), 0.4 + position / 50, 50 + repeat
                    writer.writerow([code, epochs, bits, names, nb101.parameter_count(arch), *labels])
    return path


@pytest.mark.parametrize("export", [_as_json, _as_csv])
def test_exports_of_nb101_give_the_table_of_the_records(export: Callable[[Path], Path], tmp_path: Path) -> None:
    made("nb101", official.write_nb101(tmp_path / "a.tfrecord", _records()), tmp_path, name="records")
    made("nb101", export(tmp_path / "export"), tmp_path, name="export")
    ours, theirs = (load_benchmark(name, tmp_path) for name in ("export", "records"))
    assert (ours.architectures, ours.functions) == (theirs.architectures, theirs.functions)
    assert ours.tables.keys() == theirs.tables.keys()
    for column, values in theirs.tables.items():
        assert ours.tables[column] == pytest.approx(values)
    assert ours.label_noise == theirs.label_noise
    assert ours.seconds["cifar10", 36] == pytest.approx(theirs.seconds["cifar10", 36])


def test_a_table_of_one_number_each_does_not_say_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    header = "n_vertices,adj_rowmajor,ops_interior,val_acc_4ep,val_acc_108ep"
    path.write_text(f"{header}\n2,0100,,0.5,0.8\n3,010001000,0,.6,.9\n")
    found = made("nb101", path, tmp_path).header
    assert {(c.label, c.trainings, c.noise) for c in found.columns} == {("recorded", (1, 1), None)}
    assert "which may be one of three trainings, their mean or their maximum" in found.provenance
    assert load_benchmark("nb101-official", tmp_path).tables["cifar10", VALIDATION, 108] == pytest.approx([80.0, 90.0])


def test_one_checksum_is_the_definition() -> None:
    assert official.crc32c(b"123456789") == 0xE3069283  # of RFC 3720, appendix B.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.__setitem__(0, "0" * 32), "hash f[0-9a-f]{31} and|hash [0-9a-f]{32} and .* as the cell has"),
        (lambda r: r.__setitem__(1, 7), "the last after 7 epochs, but it holds 3, the last after 4.0"),
        (lambda r: r.__setitem__(2, "010"), "a NAS-Bench-101 cell: its hash, matrix and operations"),
        (lambda r: r.__setitem__(3, "input,conv5x5,output"), "A NAS-Bench-101 cell of 3 vertices"),
        (lambda r: r.__setitem__(4, "!"), "hash, epochs, matrix, operations and metrics as JSON"),
        (lambda r: r.__setitem__(4, "CgEJ"), "metrics as a protocol buffer, but they are damaged"),
        (lambda r: r.__setitem__(4, official.nb101_metrics(4, 81.0, 0.8, 1.0, 5)), "as fractions, 0..1|param"),
        (lambda r: r.pop(), "hash, epochs, matrix, operations and metrics as JSON"),
    ],
)
def test_a_record_that_is_none(change: Callable[[list[Any]], object], message: str, tmp_path: Path) -> None:
    record = official.nb101_record(GRAPHS[2], 4, 0.5, 0.5)
    change(record)
    with pytest.raises(BenchmarkError, match=rf"a.tfrecord, record 1\b.*({message})"):
        made("nb101", official.write_nb101(tmp_path / "a.tfrecord", [_records()[0], record]), tmp_path)


def test_more_trainings_than_there_were_are_a_file_given_twice(tmp_path: Path) -> None:
    path = official.write_nb101(tmp_path / "a.tfrecord", _records())
    copy = official.write_nb101(tmp_path / "b.tfrecord", _records())
    with pytest.raises(BenchmarkError, match=r"at most 3 trainings of a network.* has 6 .*; give each file once"):
        made("nb101", [path, copy], tmp_path)


def test_rows_without_epochs_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text('module_adjacency,module_operations,validation_accuracy\n0100,"input,output",0.9\n')
    with pytest.raises(BenchmarkError, match="line 2 must hold epochs, one of 4, 12, 36, 108, but it says None"):
        made("nb101", path, tmp_path)


# NDS ------------------------------------------------------------------------------------------------------------------


def test_errors_become_accuracies_after_the_last_epoch(tmp_path: Path) -> None:
    jobs = [official.nds_job(n, official.nds_resnet(8 * n + 8), [60.0, 20.0 + n, 30.0 + n]) for n in range(12)]
    path = tmp_path / "ResNet.json"
    path.write_text(json.dumps(jobs))
    one = made("nds", path, tmp_path)
    (column,) = one.header.columns
    assert (one.header.name, one.header.space, one.header.n_networks) == ("nds-resnet", "nds_resnet", 12)
    assert (column.dataset, column.split, column.epochs, column.trainings) == ("cifar10", "test", 3, (1, 1))
    assert _column(one, "cifar10_test_3ep") == [str(70.0 - n) for n in range(12)]  # 100 - the last, not the smallest
    assert "100 minus the error after the last epoch on CIFAR-10 test" in one.header.provenance


def test_two_lists_recipes_and_trainings_that_did_not_end(tmp_path: Path) -> None:
    nets = [{**official.nds_resnet(8 * n + 8), "drop_prob": 0.0} for n in range(12)]
    jobs = [official.nds_job(n, net, [50.0, 30.0 + n]) for n, net in enumerate(nets)]
    other = official.nds_job(50, official.nds_resnet(8), [50.0, 10.0], optim={"base_lr": 0.2, "max_ep": 2})
    unfinished = official.nds_job(51, official.nds_resnet(800), [50.0], optim={"base_lr": 0.1, "max_ep": 2})
    again = official.nds_job(52, official.nds_resnet(16), [50.0, 33.0], rng_seed=2)
    path = tmp_path / "ResNet_lr-wd_in.json"
    path.write_text(json.dumps({"top": jobs[:5], "mid": [*jobs[5:], other, unfinished, again]}))
    one = made("nds", path, tmp_path)
    (column,) = one.header.columns
    assert (column.dataset, column.trainings, column.label, column.seeds) == ("imagenet", (1, 2), "mean", (1, 2))
    assert column.noise == pytest.approx(np.std([69.0, 67.0], ddof=1), abs=1e-6)
    assert _column(one, column.name)[:3] == ["70.0", "68.0", "68.0"]
    assert _column(one, f"{column.name}_n")[:3] == ["1", "2", "1"]
    assert [note.split(" trainings")[0] for note in one.header.notes[:2]] == ["1", "1"]
    assert "validation images of ImageNet, which the files call test" in one.header.provenance


def test_a_table_waits_for_a_release_that_builds_its_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    spaces = {"nb201": nb201.SPACE}
    for module in ("imported", "importers.importer"):
        monkeypatch.setattr(f"eznas.benchmarks.{module}.SPACES", {})
    path = tmp_path / "table.csv"
    rows = [f"{nb201.from_index(n).spec},{40 + n}" for n in range(12)]
    path.write_text("\n".join(["network,cifar10_valid", *rows]) + "\n")
    monkeypatch.setenv("EZNAS_DATA", str(tmp_path))
    assert main(["data", "import", "csv", str(path), "--space", "nb201"]) == 0
    assert "this release cannot build networks of the space 'nb201'" in capsys.readouterr().err
    with pytest.raises(BenchmarkError, match="12 networks of the space 'nb201', which this release cannot build"):
        load_benchmark("table")
    assert "cannot build" in source_named("table").good_for
    for module in ("imported", "importers.importer"):
        monkeypatch.setattr(f"eznas.benchmarks.{module}.SPACES", spaces)
    assert load_benchmark("table").architectures == CELLS[:12]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"net": None}, "a job with the record of its network"),
        ({"test_ep_top1": []}, "errors in percent after each epoch"),
        ({"test_ep_top1": [50.0, 101.0]}, "errors in percent .* the last is 101.0"),
        ({"test_ep_top1": [50.0, True]}, "errors in percent"),
        ({"job_id": "00000"}, "every job once, but job '00000' was there before"),
    ],
)
def test_a_job_that_is_none(job: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "ResNet.json"
    jobs = [official.nds_job(n, official.nds_resnet(8 * n + 8), [50.0, 30.0]) for n in range(2)]
    jobs[1] |= job
    path.write_text(json.dumps(jobs))
    with pytest.raises(BenchmarkError, match=f"ResNet.json, job 1 must hold {message}"):
        made("nds", path, tmp_path)


def test_a_file_says_by_its_name_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "networks.json"
    path.write_text("[]")
    with pytest.raises(BenchmarkError, match=r"networks of one of amoeba, darts.*; give it its official name"):
        made("nds", path, tmp_path)
    with pytest.raises(BenchmarkError, match=r"zc_nasbench101.*\(.json\), by its name"):
        made("suite-zero", path, tmp_path)


# NAS-Bench-Suite-Zero and plain tables --------------------------------------------------------------------------------


def test_scores_and_accuracies_of_suite_zero(tmp_path: Path) -> None:
    codes = [tuple((n + place) % 5 for place in range(6)) for n in range(5)]
    content = {
        dataset: {
            str(code): {"val_accuracy": 50.0 + n + shift, "synflow": {"score": 1.5 * n, "time": 0.1}, "id": n}
            for n, code in enumerate(codes)
        }
        for shift, dataset in enumerate(("cifar10", "ImageNet16-120"))
    }
    path = tmp_path / "zc_nasbench201.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    one = made("suite-zero", path, tmp_path)
    table = load_benchmark("suite-zero-nasbench201", tmp_path)
    assert table.architectures == tuple(arch for code in codes for arch in nb201.named(str(code)))
    assert set(table.tables) == {(dataset, VALIDATION, 200) for dataset in ("cifar10", "imagenet16")}
    assert table.tables["imagenet16", VALIDATION, 200] == pytest.approx([51.0, 52.0, 53.0, 54.0, 55.0])
    assert one.header.scores == ("score_cifar10_synflow", "score_imagenet16_synflow")
    assert _column(one, "score_cifar10_synflow") == ["0.0", "1.5", "3.0", "4.5", "6.0"]
    assert "of one training" in table.provenance


def test_predictions_of_a_surrogate_are_said_to_be_none_of_a_training(tmp_path: Path) -> None:
    code = "(((0,0),(1,0),(0,0),(2,4),(1,2),(3,6),(3,1),(4,5)),((1,2),(0,6),(1,1),(2,0),(3,1),(2,5),(1,3),(4,6)))"
    path = tmp_path / "zc_nasbench301.json"
    path.write_text(json.dumps({"cifar10": {code: {"val_accuracy": 92.0}}}))
    header = made("suite-zero", path, tmp_path).header
    assert {(column.label, column.epochs) for column in header.columns} == {("predicted", None)}
    assert header.predicted == {"cifar10"}
    assert source_named("suite-zero-nasbench301", tmp_path).seeds == "none, predicted"
    assert "predicted by the surrogate of NAS-Bench-301, not trained" in header.provenance


def test_tasks_without_accuracies_are_left_out(tmp_path: Path) -> None:
    row = {"val_accuracy": -0.6}
    path = tmp_path / "zc_transbench101_micro.json"
    path.write_text(json.dumps({"jigsaw": {"(1, 2)": {"val_accuracy": 95.0}}, "room_layout": {"(1, 2)": row}}))
    header = made("suite-zero", path, tmp_path).header
    assert [column.dataset for column in header.columns] == ["jigsaw"]
    assert header.notes == ("The figures of room_layout are no accuracies and are left out.",)


def test_a_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = [f"{arch.spec},{0.3 + n / 100},{60 - n}" for n, arch in enumerate(CELLS)]
    path.write_text("\n".join(["cell,cifar10_valid_200ep,svhn_error", *rows]) + "\n")
    header = made("csv", path, tmp_path, space="nb201").header
    table = load_benchmark("mine", tmp_path)
    assert table.tables["cifar10", VALIDATION, 200] == pytest.approx(30.0 + np.arange(N))
    assert table.tables["svhn", TEST, None] == pytest.approx(40.0 + np.arange(N))
    assert table.unstated_splits == {"svhn"}
    assert any("fractions" in note for note in header.notes)
    for space, message in (
        (None, "name it with --space, one of nb201"), ("nb210", "did you mean 'nb201'"), ("python", "need no import"),
        ("nb101", "mine.csv, line 2: Expected a NAS-Bench-101 cell"),
    ):  # fmt: skip
        with pytest.raises(BenchmarkError, match=message):
            made("csv", path, tmp_path, space=space, replace=True)


# The table ------------------------------------------------------------------------------------------------------------


def _column(one: Imported, name: str) -> list[str]:
    """The fields of a column, as any reader of gzip and CSV finds them."""
    with gzip.open(one.path, "rt", encoding="utf-8", newline="") as file:
        json.loads(file.readline())
        return [row[name] for row in csv.DictReader(file)]


def test_importing_again_changes_nothing_and_another_table_is_not_replaced(file: Path, tmp_path: Path) -> None:
    one = made("nats-tss", file, tmp_path)
    before = one.path.read_bytes()
    again = made("nats-tss", file, tmp_path)
    assert (one.was_there, again.was_there, again.path.read_bytes()) == (False, True, before)
    other = official.write_nats(tmp_path / "all.pickle.pbz2", {0: NETWORKS[0]})
    with pytest.raises(BenchmarkError, match=r"holds another table; .* --name, or replace that one with --replace"):
        made("nats-tss", other, tmp_path)
    assert one.path.read_bytes() == before
    assert made("nats-tss", other, tmp_path, replace=True).header.n_networks == 1
    one.path.write_bytes(before[:-20])  # damaged: there is nothing to lose
    assert made("nats-tss", other, tmp_path).header.n_networks == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_import_that_stops_leaves_what_was_there(
    stop: BaseException, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made("nats-tss", file, tmp_path).path.read_bytes()

    def fails(*_: object) -> None:
        raise stop

    monkeypatch.setattr("eznas.files.os.replace", fails)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        made("nats-tss", file, tmp_path)
    assert os.listdir(tmp_path) == ["nats-tss.table.gz"]
    assert table_file(tmp_path, "nats-tss").read_bytes() == before


def test_networks_that_lack_an_accuracy_are_left_out_and_counted(tmp_path: Path) -> None:
    networks = {**NETWORKS, 1: official.nats_network(CELLS[1], 1, {200: {777: 50.0}})}
    networks[2] = official.nats_network(CELLS[2], 2, {90: {777: 50.0}, **_lengths(2)})
    header = made("nats-tss", official.write_nats(tmp_path / "all.pickle.pbz2", networks), tmp_path).header
    assert header.n_networks == N - 1
    assert {column.epochs for column in header.columns} == {12, 200}
    assert f"The cifar10 validation accuracy (90 epochs) is recorded for 1 of {N} networks only, and is left out." in (
        header.notes
    )
    assert any(note.startswith(f"1 of {N} networks lack an accuracy and are left out") for note in header.notes)


def test_the_longest_training_is_never_left_out(tmp_path: Path) -> None:
    """Else the accuracies after 12 epochs would pass for those of the full training."""
    networks = {index: official.nats_network(CELLS[index], index, {12: {7: 40.0 + index}}) for index in range(5)}
    networks[0] = NETWORKS[0]
    path = official.write_nats(tmp_path / "all.pickle.pbz2", networks)
    with pytest.raises(BenchmarkError, match=r"a training of 200 epochs, the longest, .* but 1 of 5 have one on cifar"):
        made("nats-tss", path, tmp_path)


def test_a_file_with_an_odd_name(tmp_path: Path) -> None:
    path = tmp_path / "{odd} {0}\n.csv"
    path.write_text("\n".join(["cell,cifar10_valid", *(f"{arch.spec},{30 + n}" for n, arch in enumerate(CELLS))]))
    header = made("csv", path, tmp_path, space="nb201", name="odd").header
    assert header.provenance.startswith(f"Accuracies of {N} networks read from {{odd}} {{0}} .csv")


@pytest.mark.parametrize("name", ["nb201", "python", "../nats", "", "a b"])
def test_names_that_tables_cannot_have(name: str, tmp_path: Path) -> None:
    path = official.write_nats(tmp_path / "all.pickle.pbz2", {0: NETWORKS[0]})
    with pytest.raises(BenchmarkError, match="with --name"):
        made("nats-tss", path, tmp_path / "new", name=name)
    assert not (tmp_path / "new").exists()


def test_a_name_for_several_tables(tmp_path: Path) -> None:
    files = [tmp_path / "ResNet.json", tmp_path / "ResNet_reruns.json"]
    with pytest.raises(BenchmarkError, match="2 files of kind nds make a table each, and one name was given"):
        import_files("nds", files, tmp_path, name="both")
    with pytest.raises(BenchmarkError, match=r"Unknown kind of files 'nats_tss'; did you mean 'nats-tss'\?"):
        import_files("nats_tss", files, tmp_path)
    assert all(importer.kind == kind for kind, importer in IMPORTERS.items())


# Use ------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tss")
def test_a_run_learns_from_an_imported_table(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZNAS_DATA", str(file.parent))
    config = config_from(
        {"benchmark": {"name": "nats-tss", "n_evolve": 8, "n_select": 5, "n_report": 6}, "networks": {"channels": 4}}
    )
    assert config.networks.space == "nb201"
    problem = prepare(config)
    samples = {part: problem.samples(part)[0] for part in ("evolve", "report")}  # type: ignore[arg-type]
    assert (samples["evolve"].split, samples["report"].split) == (VALIDATION, TEST)
    assert samples["evolve"].stated_epochs == 200
    first = samples["evolve"].architectures[0]
    assert samples["evolve"].accuracies[0] == pytest.approx(62.0 + CELLS.index(first))
    with pytest.raises(ConfigError, match=r"Unknown benchmark 'nats-tsss'; did you mean 'nats-tss'\?"):
        config_from({"benchmark": {"name": "nats-tsss"}})


def test_the_command(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    path = tmp_path / "all.pickle.pbz2"
    path.write_bytes(file.read_bytes())
    monkeypatch.delenv("EZNAS_DATA", raising=False)
    line = complaint(capsys, 1, "data", "import", "nats-tss", str(path))
    assert "none is named; name one with -o or EZNAS_DATA" in line
    folder = tmp_path / "data"
    assert main(["data", "import", "nats-tss", str(path), "-o", str(folder), "--format", "json"]) == 0
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    assert (row["benchmark"], row["networks"], row["trainings"]) == ("nats-tss", N, "the mean of 3")
    assert "trained on half of the training images (cifar10-valid)" in shown.err
    assert read_header(Path(row["file"])).sources[0].name == path.name
    path.write_bytes(path.read_bytes()[:-30])
    line = complaint(capsys, 1, "data", "import", "nats-tss", str(path), "-o", str(folder))
    assert "all.pickle.pbz2 must hold" in line
