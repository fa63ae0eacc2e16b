"""Statistics of many networks on disk: captured once, opened by content, read without copying.

A store is a folder of safetensors files, one `Shard` each, and a ``manifest.json`` that is written last. The folder is
named by a hash of everything that determines the values (`StoreKey`), so equal questions find equal
folders. A shard file is named by the networks it holds and by the checksum of its bytes; it gets that name only when
it is complete. A capture that was killed therefore goes on from its finished shards, and nothing half-written can be
taken for a result.

A `ShardWriter` captures networks and writes their shards; it is plain data, so that workers can share the networks of
one store. A store has the same bytes whoever wrote its shards, in whatever order.

    <root>/<key>.lock                         held while capturing
    <root>/<key>/manifest.json
    <root>/<key>/000008-000016-<checksum>.safetensors
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import filelock
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eznas.conditions import Conditions, tensor_digest
from eznas.errors import CaptureError, StoreError, is_out_of_memory
from eznas.forms import json_of
from eznas.spaces import Architecture
from eznas.statistics.cache import MANIFEST, mark_used
from eznas.statistics.capture import ALL_STATISTICS, OF_LAYERS, NetworkStatistics, capture
from eznas.statistics.graph import GRAPH_LAYER_STATISTICS
from eznas.statistics.shard import Shard, columns, shard_of
from eznas.statistics.shard_file import (
    DIGEST_BYTES,
    SHARD_NAME,
    TEMPORARY,
    ShardFile,
    check_shard_file,
    damaged,
    file_checksum,
    publish,
    replacing,
    write_columns,
)
from eznas.statistics.tracing import LINEARISED, STATISTICS

FORMAT_VERSION = 5
METRICS_VERSION = 1
"""Of the scores of estimators in stores; raised when the definition of one changes a score."""
DEFAULT_MEMORY_BUDGET = 2**30
_ALWAYS_DOUBLE = {*GRAPH_LAYER_STATISTICS, *(name for name in ALL_STATISTICS if name.endswith(f".{LINEARISED}"))}
"""Statistics that have no place in a shorter type."""
_STORAGE = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKey:
    """Everything that determines the values of a store; it names the folder.

    Attributes:
        conditions: how networks are built and excited.
        architectures: in the order of the store; those of a user's own networks are known by content.
        statistics: names from ``ALL_STATISTICS``; None for the paper's 22.
        storage: type of the statistics on disk: ``"float32"``, ``"bfloat16"`` or ``"float16"``; those in double
            precision keep it.
        with_targets: whether the classes of the images are known, for labelled statistics and ``same_class``.
        metrics: names of statistics that are scores of published estimators, to be kept as well.
        device: where they are captured. A graphics processor gives other last bits than a processor, so that a store of
            one is never taken for that of the other.
    """

    conditions: Conditions
    architectures: tuple[Architecture, ...]
    statistics: tuple[str, ...] | None = None
    storage: str = "float32"
    with_targets: bool = False
    metrics: tuple[str, ...] = ()
    device: str = "cpu"

    def __str__(self) -> str:
        """The content address of a store: 32 hexadecimal digits.

        It covers the format of the store and the major and minor version of torch, whose kernels may differ in the last
        bit, and nothing that changes no value.
        """
        space = self.conditions.search_space
        content = {
            "format": FORMAT_VERSION,
            "torch": _torch_version(),
            "settings": self.as_dict(),
            "architectures": [space.digest(arch) for arch in self.architectures],
            "statistics": _canonical_statistics(self.statistics),
        }
        return _digest(_canonical_json(content))

    def as_dict(self) -> dict[str, Any]:
        """What is known of the conditions, as plain data, ready for JSON."""
        conditions = self.conditions
        inputs, targets = conditions.batch(conditions.batch_size)
        return {
            "space": conditions.settings.model_dump(mode="json"),
            "seed": conditions.network_seed,
            "images": conditions.images,
            "images_digest": tensor_digest(inputs),
            "targets_digest": tensor_digest(targets) if self.with_targets else "",
            "batch_size": len(inputs),
            "input_size": conditions.input_size,
            "units": conditions.units,
            "storage": self.storage,
            **({} if self.device == "cpu" else {"device": torch.device(self.device).type}),
            **self._of_metrics(),
        }

    def _of_metrics(self) -> dict[str, Any]:
        """What determines the scores of estimators beside; nothing in a store without them."""
        if not self.metrics:
            return {}
        inputs, targets = self.conditions.batch(self.conditions.estimator_batch_size)
        return {
            "metrics": list(self.metrics),
            "metrics_version": METRICS_VERSION,
            "metrics_images_digest": tensor_digest(inputs),
            "metrics_targets_digest": tensor_digest(targets),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsStore:
    """A finished folder of shards, open for reading.

    Attributes:
        folder: where the store is.
        networks: the spec of each architecture, in the order of capture.
        settings: what the networks were captured with, as plain data.
        statistics: names of the statistics, the same for every layer.
        nbytes: size of all shard files.
    """

    folder: Path
    networks: tuple[str, ...]
    settings: Mapping[str, Any]
    statistics: tuple[str, ...]
    nbytes: int
    _files: tuple[ShardFile, ...] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> StatisticsStore:
        """Opens a finished store.

        Args:
            folder: the folder that holds ``manifest.json``.
            verify: read every shard once and compare its checksum; otherwise only the sizes are compared.

        Raises:
            StoreError: if the manifest or a shard is missing, damaged or of another version.
        """
        manifest = _read_manifest(folder)
        files = _shard_files(folder, manifest)
        for file in files:
            check_shard_file(folder, file, verify=verify)
        return cls(
            folder=folder,
            networks=tuple(manifest["networks"]),
            settings=manifest["settings"],
            statistics=tuple(name for name in manifest["statistics"] if name in OF_LAYERS),
            nbytes=sum(file.n_bytes for file in files),
            _files=files,
        )

    @property
    def n_networks(self) -> int:
        return len(self.networks)

    @property
    def n_shards(self) -> int:
        return len(self._files)

    def shard_networks(self, index: int) -> range:
        """Positions in ``networks`` of the networks of shard `index`, in the order of the shard."""
        return range(self._files[index].start, self._files[index].stop)

    def shard_bytes(self, index: int) -> int:
        """Size of the file of shard `index`."""
        return self._files[index].n_bytes

    def shard(self, index: int, device: torch.device | str = "cpu") -> Shard:
        """Shard `index`, mapped into memory: on the CPU nothing is read before it is used, and nothing is copied.

        Raises:
            StoreError: if the file cannot be read.
        """
        path = self.folder / self._files[index].name
        n_networks = len(self.shard_networks(index))
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return shard_of(tensors, n_networks=n_networks, statistics=self.statistics)
        except (OSError, SafetensorError, KeyError) as error:
            raise damaged(path, "a readable shard", str(error)) from error


Measure = Callable[[Sequence[str], nn.Module, Conditions, str], Mapping[str, float]]
"""Scores of published estimators on one network, which is on that device, by the names of their statistics; NaN where
there is none. Estimators are above the statistics, so that they are handed down; it must travel to other processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWriter:
    """Captures networks of one store and writes their shards: the part of a capture that may happen on a worker.

    Attributes:
        folder: of the store.
        key: of the store: architectures, conditions, statistics.
        memory_budget: bytes to hold, as `ensure_store` explains.
        measure: computes the metrics of the key.
    """

    folder: Path
    key: StoreKey
    memory_budget: int
    measure: Measure | None = None

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """Of the whole store, in its order."""
        return self.key.architectures

    def write(self, start: int, stop: int, captured: Callable[[], None] = lambda: None) -> list[ShardFile]:
        """Captures the networks `start` to `stop` (exclusive) and writes them, into one shard if memory allows.

        Where a shard ends depends on nothing but its own networks and the budget: a capture that goes on after any of
        its shards makes the same ones.

        Args:
            start: position of the first network.
            stop: position after the last.
            captured: called after each network.

        Raises:
            CaptureError: if the statistics of an architecture cannot be captured; names the architecture.
            OSError: if a shard cannot be written; nothing of it stays.
        """
        files: list[ShardFile] = []
        while start < stop:
            files.append(self._save(start, self._capture(start, stop, captured)))
            start = files[-1].stop
        return files

    def _capture(self, start: int, stop: int, captured: Callable[[], None]) -> list[NetworkStatistics]:
        """Statistics of the networks from `start` on, up to `stop` or while half of the budget holds one more."""
        networks: list[NetworkStatistics] = []
        n_bytes = largest = 0
        for arch in self.architectures[start:stop]:
            networks.append(self._one(arch))
            n_bytes += networks[-1].nbytes
            largest = max(largest, networks[-1].nbytes)
            captured()
            if n_bytes + largest > self.memory_budget // 2:
                break
        return networks

    def _one(self, arch: Architecture) -> NetworkStatistics:
        conditions, device = self.key.conditions, self.key.device
        inputs, targets = conditions.batch(conditions.batch_size, device)
        network = conditions.network(arch, device)
        try:
            found = capture(
                network,
                inputs,
                seed=conditions.network_seed,
                statistics=_canonical_statistics(self.key.statistics),
                targets=targets if self.key.with_targets else None,
                units=conditions.units,
            )
        except CaptureError as error:
            is_large = is_out_of_memory(error.__cause__ or error)
            more = "; a smaller probe.batch_size or probe.input_size takes less" if is_large else ""
            raise CaptureError(f"Architecture {arch.spec!r} of {arch.space!r}: {error}{more}") from error
        layers = tuple({name: self._stored(name, of) for name, of in layer.items()} for layer in found.layers)
        quantities = found.quantities
        if self.measure is not None and self.key.metrics:
            quantities = {**quantities, **self.measure(self.key.metrics, network, conditions, device)}
        quantities = {name: q.cpu() if isinstance(q, Tensor) else q for name, q in quantities.items()}
        return replace(found, layers=layers, quantities=quantities)

    def _stored(self, name: str, tensor: Tensor) -> Tensor:
        """On the processor and in the type of the store, also of a network in double precision; what is double of every
        network stays so."""
        return (tensor if name in _ALWAYS_DOUBLE else tensor.to(_STORAGE[self.key.storage])).cpu()

    def _save(self, start: int, networks: Sequence[NetworkStatistics]) -> ShardFile:
        with replacing(self.folder) as temporary:
            checksum = write_columns(temporary, columns(networks))
            final = self.folder / f"{start:06d}-{start + len(networks):06d}-{checksum}.safetensors"
            publish(temporary, final)
        file = ShardFile.from_path(final)
        assert file is not None  # the name was made three lines above
        return file


Spread = Callable[[ShardWriter, Sequence[tuple[int, int]], Callable[[int], None]], Sequence[Sequence[ShardFile]]]
"""Calls ``writer.write(*span)`` for every span, in any order and anywhere, and gives the results in the order of the
spans; calls the function with the number of finished spans after each."""


def ensure_store(
    root: Path,
    key: StoreKey,
    *,
    networks_per_shard: int = 8,
    memory_budget: int = DEFAULT_MEMORY_BUDGET,
    progress: Callable[[int, int], None] | None = None,
    spread: Spread | None = None,
    measure: Measure | None = None,
    verify: bool = True,
) -> tuple[StatisticsStore, bool]:
    """Opens the store that holds these statistics, capturing first whatever is missing.

    One process captures at a time; another that asks for the same store waits and then opens it.

    Args:
        root: folder of all stores; created if need be.
        key: what the store holds.
        networks_per_shard: networks in one file; changes no value.
        memory_budget: bytes that statistics may take in each capturing process. A shard is closed early where one more
            network like its largest would exceed half of them; the other half is room to capture a network. One that
            needs more gets it. Changes no value.
        progress: called with (networks done, networks in all) after each network, or each shard if there is `spread`.
        spread: has the shards written by workers that see the same folder; by default this process writes them.
        measure: computes the metrics of the key, if it has any.
        verify: compare checksums when the store exists already.

    Returns:
        The open store, and whether any network was captured for it now.

    Raises:
        CaptureError: if the statistics of an architecture cannot be captured; names the architecture.
        StoreError: if the store is damaged, the key asks for what there is not, or the disk is full or read-only.
    """
    _require_sound_request(key, networks_per_shard)
    folder = root / str(key)
    if (folder / MANIFEST).exists():
        mark_used(folder)
        return StatisticsStore.open(folder, verify=verify), False
    if key.metrics and measure is None:
        raise StoreError(
            f"Cannot store {', '.join(key.metrics)}, which are scores of estimators, without what computes them; give "
            "ensure_store a measure."
        )
    writer = ShardWriter(folder=folder.absolute(), key=key, memory_budget=memory_budget, measure=measure)
    job = _Capture(writer, networks_per_shard, progress or (lambda n_done, n_all: None), spread)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{folder}.lock"):
            if (folder / MANIFEST).exists():  # another process finished it while this one waited
                return StatisticsStore.open(folder, verify=verify), False
            n_captured = job.run()
    except OSError as error:
        raise StoreError(
            f"Could not write the statistics store {folder}: {error}; free space (eznas data prune removes older "
            f"stores) or make the folder writable, and run again: finished shards are kept. A smaller probe.batch_size "
            f"takes less, probe.storage=float16 half."
        ) from error
    return StatisticsStore.open(folder, verify=False), n_captured > 0


@dataclass(frozen=True, slots=True)
class _Capture:
    """One capture under way: what is missing, who writes it, who is told, and the manifest at the end."""

    writer: ShardWriter
    networks_per_shard: int
    progress: Callable[[int, int], None]
    spread: Spread | None

    def run(self) -> int:
        """Captures what no finished shard holds, writes the manifest, and returns the number of captured networks."""
        finished = self._finished_shards()
        spans = _spans(finished, len(self.writer.architectures), self.networks_per_shard)
        n_missing = sum(stop - start for start, stop in spans)
        if finished:
            self._tell(n_missing)
        write = self._write_here if self.spread is None or not spans else self._write_on_workers
        files = [*finished, *itertools.chain.from_iterable(write(spans))]
        self._write_manifest(sorted(files, key=lambda file: file.start))
        return n_missing

    def _write_here(self, spans: Sequence[tuple[int, int]]) -> Sequence[Sequence[ShardFile]]:
        n_left = itertools.count(sum(stop - start for start, stop in spans) - 1, -1)
        return [self.writer.write(*span, lambda: self._tell(next(n_left))) for span in spans]

    def _write_on_workers(self, spans: Sequence[tuple[int, int]]) -> Sequence[Sequence[ShardFile]]:
        """Which spans are finished is not told, only how many: at least the smallest."""
        assert self.spread is not None
        sizes = sorted(stop - start for start, stop in spans)
        try:
            return self.spread(self.writer, spans, lambda n_finished: self._tell(sum(sizes[n_finished:])))
        except BaseException:
            for temporary in self.writer.folder.glob(f"*{TEMPORARY}"):  # of workers that are stopped as they write
                temporary.unlink(missing_ok=True)
            raise

    def _tell(self, n_left: int) -> None:
        self.progress(len(self.writer.architectures) - n_left, len(self.writer.architectures))

    def _finished_shards(self) -> list[ShardFile]:
        """Sound shards of an interrupted capture, in order; all other files of it are deleted."""
        finished: list[ShardFile] = []
        covered = 0
        for path in sorted(self.writer.folder.iterdir()):
            file = ShardFile.from_path(path)
            if file is not None and covered <= file.start < file.stop and file_checksum(path) == file.checksum:
                finished.append(file)
                covered = file.stop
            elif path.is_file():
                path.unlink()
        return finished

    def _write_manifest(self, files: Sequence[ShardFile]) -> None:
        content = {
            "format": FORMAT_VERSION,
            "torch": _torch_version(),
            "settings": self.writer.key.as_dict(),
            "statistics": _canonical_statistics(self.writer.key.statistics),
            "networks": [arch.spec for arch in self.writer.architectures],
            "shards": [asdict(file) for file in files],
        }
        document = {"checksum": _digest(_canonical_json(content)), **content}
        with replacing(self.writer.folder) as temporary:
            temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
            publish(temporary, self.writer.folder / MANIFEST)


def _spans(finished: Sequence[ShardFile], n_networks: int, per_shard: int) -> list[tuple[int, int]]:
    """The networks no finished shard holds, cut at multiples of `per_shard` as if nothing were finished."""
    edges = [0, *(edge for file in finished for edge in (file.start, file.stop)), n_networks]
    spans: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        first_cut = (start // per_shard + 1) * per_shard
        spans += itertools.pairwise([start, *range(first_cut, stop, per_shard), stop])
    return [(start, stop) for start, stop in spans if start < stop]


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of `folder`, known to be whole and of this version."""
    path = folder / MANIFEST
    try:
        document = json_of(path.read_text(encoding="utf-8"))
        version, checksum = document["format"], document.pop("checksum")
    except FileNotFoundError:
        raise StoreError(
            f"{folder} is not a finished statistics store: expected the file {MANIFEST}, found none; capture it first."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, "a complete JSON manifest", str(error)) from error
    if version != FORMAT_VERSION:
        raise StoreError(
            f"The statistics store {folder} has format version {version!r}, expected {FORMAT_VERSION}; delete the "
            f"folder, it will be captured again."
        )
    found = _digest(_canonical_json(document))
    if found != checksum:
        raise damaged(path, f"checksum {checksum}", found)
    manifest: dict[str, Any] = document
    return manifest


def _shard_files(folder: Path, manifest: Mapping[str, Any]) -> tuple[ShardFile, ...]:
    """The shards a manifest lists, known to be plain file names that cover all networks in order."""
    try:
        files = tuple(ShardFile(**entry) for entry in manifest["shards"])
        edges = [0, *(file.stop for file in files)]
        is_sound = all(SHARD_NAME.fullmatch(file.name) for file in files)
        is_sound &= edges == [*(file.start for file in files), len(manifest["networks"])]
    except (KeyError, TypeError) as error:
        raise damaged(folder / MANIFEST, "the fields of a manifest", str(error)) from error
    if not is_sound:
        raise damaged(folder / MANIFEST, "shards that cover all networks in order", f"{len(files)} that do not")
    return files


def _require_sound_request(key: StoreKey, networks_per_shard: int) -> None:
    if not key.architectures:
        raise StoreError("Cannot make a statistics store of 0 architectures; expected at least one.")
    if networks_per_shard < 1:
        raise StoreError(f"Expected networks_per_shard to be at least 1, but got {networks_per_shard}.")
    unknown = sorted(set(key.statistics or ()) - set(ALL_STATISTICS))
    if unknown:
        raise StoreError(f"Cannot capture unknown statistics {unknown}; known are {list(ALL_STATISTICS)}.")
    if key.storage not in _STORAGE:
        raise StoreError(f"Cannot store statistics as {key.storage!r}; expected one of {list(_STORAGE)}.")


def _canonical_statistics(statistics: Collection[str] | None) -> list[str]:
    return [name for name in ALL_STATISTICS if name in (STATISTICS if statistics is None else statistics)]


def _torch_version() -> str:
    return ".".join(torch.__version__.split(".")[:2])


def _canonical_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=DIGEST_BYTES).hexdigest()
