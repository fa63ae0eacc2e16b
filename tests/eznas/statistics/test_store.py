"""A store is captured once, survives what kills a capture, and never shows damaged values."""

from __future__ import annotations

import dataclasses
import errno
import json
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from eznas.conditions import Conditions, tensor_digest
from eznas.errors import CaptureError, StoreError
from eznas.spaces import Architecture, build_network, nb201
from eznas.spaces.own import space_of
from eznas.statistics import (
    Shard,
    ShardFile,
    ShardWriter,
    StatisticsStore,
    StoreKey,
    capture,
    ensure_store,
    pack,
    shard_file,
)
from eznas.statistics import store as store_module
from eznas.statistics.shard import columns

FULL_DISK_REMEDY = (
    r"; free space \(eznas data prune removes older stores\) or make the folder writable, and run again: "
    r"finished shards are kept\. A smaller probe\.batch_size takes less, probe\.storage=float16 half\."
)
NETWORKS = nb201.Settings(channels=4)
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ARCHITECTURES = tuple(nb201.from_index(index) for index in (11, 1651, 284, 0, 1462))
STATISTICS = ("weight", "weight_grad.noise", "activation_input.perturbed")
TARGETS = torch.tensor([4, 1])
CONDITIONS = Conditions(settings=NETWORKS, seed=3).given(IMAGES, TARGETS)
KEY = StoreKey(conditions=CONDITIONS, architectures=ARCHITECTURES, statistics=STATISTICS)
SEED = CONDITIONS.network_seed


class Builder:
    """Builds networks and remembers for which architectures; raises when it comes to `stop_at`."""

    def __init__(self, stop_at: Architecture | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.built: list[Architecture] = []
        self.stop_at, self.error = stop_at, error

    def __call__(self, arch: Architecture, settings: nb201.Settings) -> nn.Module:
        if arch == self.stop_at:
            raise self.error
        self.built.append(arch)
        return nb201.allocate(arch, settings)


def networks(arch: Architecture) -> nn.Module:
    """A network of the store."""
    return build_network(arch, NETWORKS, seed=SEED)


def key_of(build: Callable[..., nn.Module], **changed: Any) -> StoreKey:
    """The key of the store, with networks that are built so."""
    family = dataclasses.replace(nb201.SPACE, allocate=build)
    return dataclasses.replace(KEY, conditions=CONDITIONS.of_family(family), **changed)


def ensure(
    root: Path, builder: Builder | None = None, *, statistics: tuple[str, ...] = STATISTICS, **options: Any
) -> tuple[StatisticsStore, bool]:
    return ensure_store(
        root, key_of(builder or Builder(), statistics=statistics), **({"networks_per_shard": 2} | options)
    )


def sizes(names: Sequence[str], network: nn.Module, conditions: Conditions, device: str) -> dict[str, float]:
    """Stands for the estimators: the number of parameters and of images."""
    n_images = len(conditions.batch(conditions.estimator_batch_size)[0])
    values = (float("nan"), float(sum(p.numel() for p in network.parameters())), float(n_images))
    return dict(zip(names, values, strict=True))


def assert_same_shard(found: Shard, expected: Shard) -> None:
    assert found.n_networks == expected.n_networks
    assert torch.equal(found.layer_network, expected.layer_network)
    assert torch.equal(found.layer_depth, expected.layer_depth)
    assert found.quantities.keys() == expected.quantities.keys()
    assert all(torch.equal(found.quantities[name], tensor) for name, tensor in expected.quantities.items())
    for group, reference in zip(found.groups, expected.groups, strict=True):
        assert torch.equal(group.rows, reference.rows)
        assert list(group.tensors) == list(reference.tensors)
        assert all(torch.equal(group.tensors[name], tensor) for name, tensor in reference.tensors.items())


def values(store: StatisticsStore) -> dict[tuple[int, int, str], torch.Tensor]:
    """Every tensor of a store by network, depth and statistic."""
    found = {}
    for index in range(store.n_shards):
        shard, networks = store.shard(index), store.shard_networks(index)
        for group in shard.groups:
            for i, row in enumerate(group.rows.tolist()):
                at = networks[int(shard.layer_network[row])], int(shard.layer_depth[row])
                found |= {(*at, name): tensor[i] for name, tensor in group.tensors.items()}
    return found


def assert_same_values(found: StatisticsStore, expected: StatisticsStore) -> None:
    ours, theirs = values(found), values(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_what_is_read_is_what_was_captured(tmp_path: Path) -> None:
    store, captured = ensure(tmp_path)
    assert captured
    assert store.networks == tuple(arch.spec for arch in ARCHITECTURES)
    assert (store.n_networks, store.n_shards, store.statistics) == (5, 3, STATISTICS)
    assert [store.shard_networks(i) for i in range(3)] == [range(2), range(2, 4), range(4, 5)]
    assert store.nbytes == sum(path.stat().st_size for path in store.folder.glob("*.safetensors"))
    assert store.settings == KEY.as_dict()
    for index in range(store.n_shards):
        expected = pack(
            [
                capture(networks(ARCHITECTURES[n]), IMAGES, seed=SEED, statistics=STATISTICS)
                for n in store.shard_networks(index)
            ]
        )
        assert_same_shard(store.shard(index), expected)


def test_all_22_statistics_are_stored_by_default(tmp_path: Path) -> None:
    store, _ = ensure_store(tmp_path, key_of(Builder(), architectures=ARCHITECTURES[:1], statistics=None))
    assert_same_shard(store.shard(0), pack([capture(networks(ARCHITECTURES[0]), IMAGES, seed=SEED)]))


def test_the_second_time_nothing_is_captured(tmp_path: Path) -> None:
    first, _ = ensure(tmp_path)
    builder = Builder()
    second, captured = ensure(tmp_path, builder, networks_per_shard=3)
    assert not captured
    assert builder.built == []
    assert second == first


@pytest.mark.parametrize("options", [{"networks_per_shard": 1}, {"networks_per_shard": 9}, {"memory_budget": 1}])
def test_sizes_of_shards_change_no_value(tmp_path: Path, options: dict[str, int]) -> None:
    expected, _ = ensure(tmp_path / "expected")
    found, _ = ensure(tmp_path / "found", **options)
    assert found.n_shards == (1 if options == {"networks_per_shard": 9} else 5)
    assert_same_values(found, expected)


def test_a_shard_is_closed_early_where_one_more_network_may_exceed_half_of_the_budget(tmp_path: Path) -> None:
    sizes = [capture(networks(arch), IMAGES, seed=SEED, statistics=STATISTICS).nbytes for arch in ARCHITECTURES]
    assert sizes[0] > max(sizes[1:4])
    for budget, stops in {4 * sizes[0]: [2, 5], 4 * sizes[0] - 1: [1, 5]}.items():
        store, _ = ensure(tmp_path / str(budget), networks_per_shard=5, memory_budget=budget)
        assert [store.shard_networks(index).stop for index in range(store.n_shards)] == stops
        assert_same_values(store, ensure(tmp_path / "expected")[0])


def test_a_shard_file_is_one_the_library_reads(tmp_path: Path) -> None:
    store, _ = ensure(tmp_path, networks_per_shard=5)
    captured = [capture(networks(arch), IMAGES, seed=SEED, statistics=STATISTICS) for arch in ARCHITECTURES]
    expected = {name: column.joined() for name, column in columns(captured).items()}
    (written,) = store.folder.glob("*.safetensors")
    found = load_file(written)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
def test_a_shorter_type_rounds_what_is_stored(tmp_path: Path, storage: str) -> None:
    key = key_of(Builder(), storage=storage)
    assert str(key) != str(KEY)
    short, _ = ensure_store(tmp_path, key)
    full, _ = ensure(tmp_path, networks_per_shard=8)
    assert short.nbytes < 0.55 * full.nbytes
    dtype = getattr(torch, storage)
    for one, other in zip(short.shard(0).groups, full.shard(0).groups, strict=True):
        for name, tensor in other.tensors.items():
            assert one.tensors[name].dtype == dtype
            assert one.values(name, slice(None)).dtype == torch.float32
            assert torch.equal(one.values(name, slice(None)), tensor.to(dtype).float())
            assert other.values(name, slice(None)).data_ptr() == tensor.data_ptr()


def test_an_unknown_storage_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Cannot store statistics as 'float8'; expected one of .'float32'"):
        ensure_store(tmp_path, key_of(Builder(), storage="float8"))


def test_mapped_statistics_begin_at_lines_of_the_cache(tmp_path: Path) -> None:
    shard = ensure(tmp_path, networks_per_shard=5)[0].shard(0)
    tensors = [tensor for group in shard.groups for tensor in group.tensors.values()]
    whole = [tensor for tensor in tensors if tensor.nbytes % 64 == 0]
    assert len(whole) > len(tensors) / 2
    assert all(tensor.data_ptr() % 64 == 0 for tensor in whole)


class Workers:
    """A `Spread` without workers: the last span comes first, each on a copy of the writer that was on a journey.

    After `n_spans` spans it is interrupted, and leaves what workers leave that are stopped while they write.
    """

    def __init__(self, n_spans: int = 99) -> None:
        self.n_spans, self.spans = n_spans, list[tuple[int, int]]()

    def __call__(
        self, writer: ShardWriter, spans: Sequence[tuple[int, int]], done: Callable[[int], None]
    ) -> list[list[ShardFile]]:
        packed, written = pickle.dumps(writer), []
        for span in reversed(spans):
            if len(self.spans) == self.n_spans:
                (writer.folder / "4711.temporary").write_bytes(b"half a shard")
                raise KeyboardInterrupt
            written.append(pickle.loads(packed).write(*span))
            self.spans.append(span)
            done(len(written))
        return written[::-1]


def content(root: Path) -> dict[str, bytes]:
    """Every file of the store of `ensure`, by name."""
    folder = root / str(KEY)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


BUDGETS = {"all at once": 2**30, "a shard in parts": 480_000}


@pytest.mark.parametrize("memory_budget", BUDGETS.values(), ids=BUDGETS)
def test_workers_write_the_same_bytes(tmp_path: Path, memory_budget: int) -> None:
    options = {"networks_per_shard": 3, "memory_budget": memory_budget}
    here, _ = ensure(tmp_path / "here", **options)
    workers, progress = Workers(), []
    there, captured = ensure(
        tmp_path / "there", spread=workers, progress=lambda *done: progress.append(done), **options
    )
    assert captured
    assert workers.spans == [(3, 5), (0, 3)]
    assert here.n_shards == (2 if memory_budget == 2**30 else 3)
    assert progress == [(2, 5), (5, 5)]
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert there.networks == here.networks


@pytest.mark.parametrize("memory_budget", BUDGETS.values(), ids=BUDGETS)
@pytest.mark.parametrize("killed_at", ["workers", "one process"])
def test_a_killed_capture_ends_in_the_same_bytes_with_other_workers(
    tmp_path: Path, killed_at: str, memory_budget: int
) -> None:
    """Killed in one process with the first shard or the first part written, or on workers with the last alone."""
    options = {"networks_per_shard": 3, "memory_budget": memory_budget}
    ensure(tmp_path / "whole", **options)
    whole, root = content(tmp_path / "whole"), tmp_path / "killed"
    if killed_at == "workers":
        with pytest.raises(KeyboardInterrupt):
            ensure(root, spread=Workers(n_spans=1), **options)
    else:
        with pytest.raises(KeyboardInterrupt):
            ensure(root, Builder(stop_at=ARCHITECTURES[4 if memory_budget == 2**30 else 2]), **options)
    kept = content(root)
    assert kept
    assert kept.items() < whole.items(), "finished shards and nothing else"
    builder = Builder()
    ensure(root, builder, spread=None if killed_at == "workers" else Workers(), **options)
    assert content(root) == whole
    if killed_at == "workers":
        assert builder.built == list(ARCHITECTURES[:3])


def test_an_error_on_a_worker_names_the_architecture_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"Architecture '\|.*' of 'nb201': Could not capture"):
        ensure_store(tmp_path, key_of(no_network), spread=Workers())
    assert content(tmp_path) == {}


def no_network(arch: Architecture, settings: nb201.Settings) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(5, 2))


MEMORY = """
import re, sys
from pathlib import Path
import torch
from eznas.conditions import Conditions
from eznas.spaces import nb201
from eznas.statistics import StoreKey, capture, ensure_store

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
conditions = Conditions(settings=nb201.Settings()).given(images, torch.arange(8))
cells = tuple(nb201.from_index(index) for index in range(0, 15625, 850))
idle = peak()
key = StoreKey(conditions=conditions, architectures=cells)
store, _ = ensure_store(Path(sys.argv[1]), key, memory_budget=int(sys.argv[2]))
print(peak() - idle, store.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process its peak")
def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    """What the process takes beyond its imports, for a store four times the budget. (The peak that ``getrusage`` tells
    is no less than that of the process which started this one.)"""
    budget = 64 * 2**20
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(budget)]
    shown = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, timeout=120, check=True).stdout
    n_bytes, stored = map(int, shown.split())
    assert stored > 4 * budget
    assert n_bytes <= 1.25 * budget


@pytest.mark.parametrize("networks_per_shard", [1, 2, 3])
def test_an_interrupted_capture_continues(tmp_path: Path, networks_per_shard: int) -> None:
    expected, _ = ensure(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path, Builder(stop_at=ARCHITECTURES[3]))
    folder = tmp_path / str(KEY)
    assert sorted(path.name[:13] for path in folder.iterdir()) == ["000000-000002"]
    (folder / "4711.temporary").write_bytes(b"half a shard")  # left by a process that was killed while writing
    with pytest.raises(StoreError, match=r"is not a finished statistics store: expected the file manifest.json"):
        StatisticsStore.open(folder)
    builder, progress = Builder(), []
    store, captured = ensure(
        tmp_path, builder, networks_per_shard=networks_per_shard, progress=lambda *done: progress.append(done)
    )
    assert captured
    assert builder.built == list(ARCHITECTURES[2:])
    assert progress == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert_same_values(store, expected)
    assert not list(folder.glob("*.temporary"))


def test_a_damaged_shard_of_an_interrupted_capture_is_captured_again(tmp_path: Path) -> None:
    expected, _ = ensure(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        ensure(tmp_path, Builder(stop_at=ARCHITECTURES[4]))
    first = min((tmp_path / str(KEY)).glob("000000*.safetensors"))
    flip_a_byte(first)
    builder = Builder()
    store, _ = ensure(tmp_path, builder, networks_per_shard=8)
    assert builder.built == [*ARCHITECTURES[:2], ARCHITECTURES[4]]  # the sound shard in between is kept
    assert_same_values(store, expected)
    assert StatisticsStore.open(store.folder) == store


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def rewrite_manifest(folder: Path, **fields: object) -> None:
    """Changes fields of a manifest and gives it the checksum that fits."""
    document = json.loads((folder / "manifest.json").read_text())
    del document["checksum"]
    document |= fields
    checksum = store_module._digest(store_module._canonical_json(document))
    (folder / "manifest.json").write_text(json.dumps({"checksum": checksum, **document}))


def test_damage_is_one_sentence_with_a_remedy(tmp_path: Path) -> None:
    remedy = r"; delete the folder, it will be captured again\.$"
    folder = ensure(tmp_path)[0].folder
    shard, manifest = max(folder.glob("*.safetensors")), folder / "manifest.json"
    sound_shard, sound_manifest = shard.read_bytes(), manifest.read_bytes()

    flip_a_byte(shard)
    with pytest.raises(StoreError, match=rf"{shard.name} .* is damaged: expected checksum \w+, found \w+{remedy}"):
        ensure(tmp_path)
    assert StatisticsStore.open(folder, verify=False).n_networks == 5  # sizes agree

    shard.write_bytes(sound_shard[:-7])
    with pytest.raises(StoreError, match=rf"expected {len(sound_shard)} bytes, found {len(sound_shard) - 7}{remedy}"):
        StatisticsStore.open(folder, verify=False)

    shard.unlink()
    with pytest.raises(StoreError, match=rf"expected a readable shard, found .*No such file{'.*'}{remedy}"):
        StatisticsStore.open(folder, verify=False)
    shard.write_bytes(sound_shard)

    for content in (sound_manifest[:-9], b"", b"[]", b"{}", b"\xff"):
        manifest.write_bytes(content)
        with pytest.raises(StoreError, match=rf"manifest.json .* expected a complete JSON manifest, .*{remedy}"):
            StatisticsStore.open(folder)

    manifest.write_bytes(sound_manifest.replace(f'"seed": {SEED}'.encode(), b'"seed": 4'))
    with pytest.raises(StoreError, match=rf"manifest.json .* expected checksum .*{remedy}"):
        StatisticsStore.open(folder)

    manifest.write_bytes(sound_manifest)
    rewrite_manifest(folder, format=99)
    with pytest.raises(StoreError, match=rf"has format version 99, expected {store_module.FORMAT_VERSION}{remedy}"):
        StatisticsStore.open(folder)

    manifest.write_bytes(sound_manifest)
    assert StatisticsStore.open(folder).n_networks == 5


def test_a_manifest_cannot_point_outside_its_folder_or_leave_networks_out(tmp_path: Path) -> None:
    folder = ensure(tmp_path)[0].folder
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    for wrong in (shards[:-1], [shards[0] | {"name": "../../secret"}, *shards[1:]]):
        rewrite_manifest(folder, shards=wrong)
        with pytest.raises(StoreError, match="expected shards that cover all networks in order"):
            StatisticsStore.open(folder)
    rewrite_manifest(folder, shards=[{"path": "x"}])
    with pytest.raises(StoreError, match="expected the fields of a manifest"):
        StatisticsStore.open(folder)


def test_a_shard_that_is_no_safetensors_file_is_a_store_error(tmp_path: Path) -> None:
    store, _ = ensure(tmp_path)
    path = min(store.folder.glob("*.safetensors"))
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(StoreError, match=rf"{path.name} .* is damaged: expected a readable shard"):
        store.shard(0)


def test_changing_a_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    store, _ = ensure(tmp_path)
    tensor = store.shard(0).groups[0].tensors["weight"]
    expected = tensor.clone()
    tensor.zero_()
    assert torch.equal(store.shard(0).groups[0].tensors["weight"], expected)
    assert StatisticsStore.open(store.folder) == store


def test_a_shard_is_one_mapping_of_its_file(tmp_path: Path) -> None:
    """Every tensor lies where the file has it: nothing was copied."""
    store, _ = ensure(tmp_path)
    content = min(store.folder.glob("*.safetensors")).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    starts = {
        tensor.data_ptr() - header[f"groups/{index}/tensors/{name}"]["data_offsets"][0]
        for index, group in enumerate(store.shard(0).groups)
        for name, tensor in group.tensors.items()
    }
    assert len(starts) == 1


@contextmanager
def disk_of(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond `n_bytes`: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    expected, _ = ensure(tmp_path / "whole")
    with (
        disk_of(5_000),
        pytest.raises(StoreError, match=f"Could not write the statistics store .*{FULL_DISK_REMEDY}"),
    ):
        ensure(tmp_path)
    assert list((tmp_path / str(KEY)).iterdir()) == []
    store, _ = ensure(tmp_path)
    assert_same_values(store, expected)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_shard_that_cannot_be_published_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shard_file.os, step, full)
    with pytest.raises(StoreError, match=f"left on device{FULL_DISK_REMEDY}"):
        ensure(tmp_path)
    assert list((tmp_path / str(KEY)).iterdir()) == []


def test_an_unusable_folder_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Could not write the statistics store"):
        ensure(tmp_path / "file")


def test_two_who_ask_at_once_capture_once(tmp_path: Path) -> None:
    builders = [Builder(), Builder()]
    results: list[tuple[StatisticsStore, bool]] = []
    threads = [threading.Thread(target=lambda b=b: results.append(ensure(tmp_path, b))) for b in builders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(captured for _, captured in results) == [False, True]
    assert sorted(len(builder.built) for builder in builders) == [0, 5]
    assert results[0][0] == results[1][0]


CHANGES: dict[str, StoreKey] = {
    "seed": dataclasses.replace(KEY, conditions=CONDITIONS.model_copy(update={"seed": 4})),
    "scheme": dataclasses.replace(
        KEY, conditions=CONDITIONS.model_copy(update={"settings": nb201.Settings(channels=4, scheme="default")})
    ),
    "channels": dataclasses.replace(KEY, conditions=CONDITIONS.model_copy(update={"settings": nb201.Settings()})),
    "images": dataclasses.replace(KEY, conditions=CONDITIONS.given(IMAGES + 1, TARGETS)),
    "number of images": dataclasses.replace(KEY, conditions=CONDITIONS.given(IMAGES[:1], TARGETS[:1])),
    "size of images": dataclasses.replace(KEY, conditions=CONDITIONS.given(IMAGES[..., :7, :7], TARGETS)),
    "units": dataclasses.replace(KEY, conditions=CONDITIONS.model_copy(update={"units": "all"})),
    "storage": dataclasses.replace(KEY, storage="float16"),
    "with targets": dataclasses.replace(KEY, with_targets=True),
    "order": dataclasses.replace(KEY, architectures=ARCHITECTURES[::-1]),
    "architectures": dataclasses.replace(KEY, architectures=ARCHITECTURES[1:]),
    "statistics": dataclasses.replace(KEY, statistics=None),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_the_key_depends_on_all_that_determines_a_value(changed: StoreKey) -> None:
    assert str(changed) != str(KEY)
    assert len(str(changed)) == len(str(KEY)) == 32


def test_the_key_depends_on_the_classes_where_they_are_known_alone() -> None:
    others = dataclasses.replace(KEY, conditions=CONDITIONS.given(IMAGES, TARGETS + 1))
    assert str(others) == str(KEY)
    known, unlike = (dataclasses.replace(key, with_targets=True) for key in (KEY, others))
    assert str(known) != str(unlike)


def test_the_key_depends_on_torch_and_not_on_the_order_of_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    key = str(KEY)
    assert str(dataclasses.replace(KEY, statistics=STATISTICS[::-1])) == key
    monkeypatch.setattr(torch, "__version__", "2.13.1+other")
    same_minor = str(KEY)
    monkeypatch.setattr(torch, "__version__", "1.0.0")
    assert str(KEY) not in {key, same_minor}


def own(n_channels: int) -> nn.Module:
    """A network of one's own."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(3, n_channels, 3), nn.BatchNorm2d(n_channels), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_networks_of_ones_own_that_changed_have_another_store(tmp_path: Path) -> None:
    """They are known by content: the same name finds what is in the store only if it is the same network."""

    def found(n_channels: int) -> tuple[StatisticsStore, bool]:
        family = space_of({"mine": own(n_channels)})
        conditions = Conditions(settings=family.settings(), seed=3).given(IMAGES, TARGETS).of_family(family)
        key = StoreKey(conditions=conditions, architectures=family.named("all"), statistics=STATISTICS)
        return ensure_store(tmp_path, key)

    (first, captured), (again, captured_again), (changed, captured_changed) = found(4), found(4), found(5)
    assert (captured, captured_again, captured_changed) == (True, False, True)
    assert first == again
    assert first.folder != changed.folder
    assert first.networks == changed.networks == ("mine",)
    assert changed.shard(0).groups[0].tensors["weight"].shape[1] == 5


def test_a_network_in_double_precision_is_stored_beside_others(tmp_path: Path) -> None:
    """In the type of the store, where layers of its shapes are."""
    double = own(4).double()
    double.forward = lambda x, plain=double.forward: plain(x.double())  # type: ignore[method-assign]
    family = space_of({"single": own(4), "double": double})
    conditions = Conditions(settings=family.settings(), seed=3).given(IMAGES, TARGETS).of_family(family)
    key = StoreKey(conditions=conditions, architectures=family.named("all"), statistics=STATISTICS)
    store, _ = ensure_store(tmp_path, key)
    (group,) = [group for group in store.shard(0).groups if group.tensors["weight"].shape[1] == 4]
    weights = group.tensors["weight"]
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights[0], own(4)[1].weight.detach(), rtol=0, atol=0)
    torch.testing.assert_close(weights[1], double[1].weight.detach().float(), rtol=0, atol=0)


def test_the_digest_of_a_tensor_covers_type_shape_and_values() -> None:
    tensor = torch.arange(6.0)
    others = (tensor.double(), tensor.reshape(2, 3), tensor.flip(0), tensor.view(torch.int32))
    assert tensor_digest(tensor) == tensor_digest(torch.arange(12.0)[:6])
    assert tensor_digest(tensor.reshape(2, 3).T) == tensor_digest(tensor.reshape(2, 3).T.contiguous())
    assert len({tensor_digest(tensor), *map(tensor_digest, others)}) == 5


def test_an_architecture_that_cannot_be_captured_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"Architecture '\|nor_conv_3x3~0.*' of 'nb201': Could not capture"):
        ensure_store(tmp_path, key_of(no_network))


def test_requests_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="store of 0 architectures"):
        ensure_store(tmp_path, key_of(Builder(), architectures=()))
    with pytest.raises(StoreError, match="networks_per_shard to be at least 1, but got 0"):
        ensure(tmp_path, networks_per_shard=0)
    with pytest.raises(StoreError, match=r"unknown statistics \['height'\]"):
        ensure(tmp_path, statistics=("height",))
    assert list(tmp_path.iterdir()) == []


# --- scores of estimators -----------------------------------------------------------------------------------------

METRICS = ("metric.naswot", "metric.snip", "metric.zen")


def test_scores_of_estimators_are_kept_where_there_are_some(tmp_path: Path) -> None:
    key = dataclasses.replace(KEY, metrics=METRICS, statistics=())
    store, is_new = ensure_store(tmp_path, key, networks_per_shard=2, measure=sizes)
    assert is_new
    again, is_new = ensure_store(tmp_path, key)  # what is there needs nobody to compute it
    assert not is_new
    assert again.folder == store.folder
    assert store.statistics == ()
    found = [store.shard(index).quantities for index in range(store.n_shards)]
    n_parameters = [float(sum(p.numel() for p in networks(arch).parameters())) for arch in ARCHITECTURES]
    assert torch.cat([shard["metric.naswot"] for shard in found]).isnan().all()
    assert torch.cat([shard["metric.snip"] for shard in found]).tolist() == n_parameters
    assert torch.cat([shard["metric.zen"] for shard in found]).tolist() == [2.0] * len(ARCHITECTURES)


def test_a_store_is_named_by_what_its_metrics_depend_on_if_it_has_any() -> None:
    metrics = dataclasses.replace(KEY, metrics=METRICS)
    more = CONDITIONS.given(torch.randn(3, 3, 8, 8), torch.tensor([0, 1, 2]))
    both = CONDITIONS.model_copy(update={"estimator_batch_size": 3})
    both._batches = {**CONDITIONS._batches, **more._batches}
    keys = {
        "plain": KEY,
        "metrics": metrics,
        "fewer": dataclasses.replace(KEY, metrics=METRICS[:2]),
        "other images": dataclasses.replace(metrics, conditions=both),
    }
    assert len({str(key) for key in keys.values()}) == len(keys)
    assert str(dataclasses.replace(KEY, conditions=both)) == str(KEY)


def test_a_store_of_a_graphics_processor_is_another() -> None:
    assert str(dataclasses.replace(KEY, device="cpu")) == str(KEY)
    cuda = str(dataclasses.replace(KEY, device="cuda"))
    assert cuda == str(dataclasses.replace(KEY, device="cuda:1")) != str(KEY)


def test_a_new_definition_of_an_estimator_makes_a_new_store(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = dataclasses.replace(KEY, metrics=METRICS)
    before, plain = str(metrics), str(KEY)
    monkeypatch.setattr(store_module, "METRICS_VERSION", store_module.METRICS_VERSION + 1)
    assert str(metrics) != before
    assert str(KEY) == plain


def test_metrics_without_what_computes_them_are_refused(tmp_path: Path) -> None:
    key = dataclasses.replace(KEY, metrics=METRICS[:2])
    message = (
        r"^Cannot store metric\.naswot, metric\.snip, which are scores of estimators, without what computes them; give "
        r"ensure_store a measure\.$"
    )
    with pytest.raises(StoreError, match=message):
        ensure_store(tmp_path, key)
