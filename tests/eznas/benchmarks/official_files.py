"""Tiny files in the official formats of benchmarks, written from what their documents say."""

from __future__ import annotations

import base64
import bz2
import json
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eznas.spaces import Architecture, nb101, nb201, sss

DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
EVALUATED = {"cifar10-valid": ("x-valid", "ori-test"), "cifar10": ("ori-test",)}


def nats_training(dataset: str, seed: int, epochs: int, millions: float, accuracy: float) -> dict[str, Any]:
    """The state of one training of NATS-Bench: the final accuracy on the first images, more on the others."""
    names = EVALUATED.get(dataset, ("ori-test", "x-valid", "x-test"))
    final = {f"{name}@{epochs - 1}": accuracy + place for place, name in enumerate(names)}
    early = {f"{name}@0": 1.0 for name in names} if epochs > 1 else {}  # the official files have every epoch
    return {
        "name": dataset, "train_acc1es": {0: 50.0, epochs - 1: 90.0}, "train_acc5es": None,
        "train_losses": {0: 0.5}, "train_times": OrderedDict.fromkeys(range(epochs), 2.0),
        "arch_config": {"class_num": 10}, "params": np.float64(millions), "flop": 7.0, "seed": f"{seed:04d}",
        "epochs": epochs, "latency": [np.float64(0.01)], "eval_names": list(names), "eval_acc1es": {**early, **final},
        "eval_losses": dict.fromkeys(final, 1.0), "eval_times": dict.fromkeys((*early, *final), 0.5),
        "net_state_dict": None,
    }  # fmt: skip


def nats_network(
    arch: Architecture, index: int, seeds: Mapping[int, Mapping[int, float]], *, millions: float | None = None
) -> OrderedDict[str, Any]:
    """A network of NATS-Bench; `seeds` has by epochs the accuracy of each seed, of all data sets."""
    space = nb201 if arch.space == nb201.NAME else sss
    counted = space.counts(arch, space.FULL, 32).parameters / 1e6  # type: ignore[arg-type]
    return OrderedDict(
        (f"{epochs:02d}", {
            "arch_index": index, "arch_str": arch.spec, "clear_net_done": True,
            "all_results": {
                (dataset, seed): nats_training(dataset, seed, epochs, millions or counted, accuracy)
                for dataset in DATASETS
                for seed, accuracy in accuracies.items()
            },
            "dataset_seed": {dataset: list(accuracies) for dataset in DATASETS},
        })
        for epochs, accuracies in seeds.items()
    )  # fmt: skip


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    """As NATS-Bench's own files are written."""
    with bz2.open(path, "wb", compresslevel=1) as file:
        pickle.dump(content, file, protocol=protocol)
    return path


def write_nats(path: Path, networks: Mapping[int, object], protocol: int = 4) -> Path:
    """The one file of all networks."""
    content = {
        "meta_archs": ["..."], "total_archs": len(networks), "arch2infos": dict(networks),
        "evaluated_indexes": set(networks),
    }  # fmt: skip
    return write_pickle(path, content, protocol)


# NAS-Bench-101 --------------------------------------------------------------------------------------------------------


def crc32c(content: bytes) -> int:
    """Bit by bit, by its definition."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content: bytes) -> bytes:
    """Checksum as TFRecord files have it."""
    crc = crc32c(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(records: Iterable[bytes]) -> bytes:
    """A TFRecord file."""
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, masked(length), record, masked(record)]
    return b"".join(parts)


def nb101_metrics(epochs: int, validation: float, test: float, seconds: float, params: int) -> str:
    """``ModelMetrics`` in base64: evaluations at the beginning, half-way and at the end."""
    content = b""
    for epoch, v, t in ((0.0, 0.1, 0.1), (epochs / 2, validation / 2, test / 2), (float(epochs), validation, test)):
        doubles = (epoch, seconds * epoch / epochs, 1.0, v, t)
        data = b"".join(bytes([field << 3 | 1]) + struct.pack("<d", x) for field, x in enumerate(doubles, start=1))
        data += bytes([6 << 3 | 2, 3]) + b"abc"  # where a checkpoint was
        content += bytes([1 << 3 | 2, len(data)]) + data
    varint = []
    while params > 0x7F:
        varint.append(params & 0x7F | 0x80)
        params >>= 7
    content += bytes([2 << 3, *varint, params]) + bytes([3 << 3 | 1]) + struct.pack("<d", seconds)
    return base64.b64encode(content).decode()


def nb101_record(arch: Architecture, epochs: int, validation: float, test: float, seconds: float = 100.0) -> list[Any]:
    """One training in ``nasbench_full.tfrecord``."""
    rows, _, names = arch.spec.partition(":")
    official = [f"{name}-bn-relu" if name.startswith("conv") else name for name in names.split(",") if name]
    params = nb101.parameter_count(arch)
    metrics = nb101_metrics(epochs, validation, test, seconds, params)
    return [nb101.function(arch), epochs, rows.replace(".", ""), ",".join(["input", *official, "output"]), metrics]


def write_nb101(path: Path, records: Sequence[list[Any]]) -> Path:
    """A TFRecord file of trainings."""
    path.write_bytes(framed(json.dumps(record).encode() for record in records))
    return path


# NDS ------------------------------------------------------------------------------------------------------------------


def nds_resnet(width: int) -> dict[str, Any]:
    """The record of a ResNet; its last stage has so many channels."""
    return {
        "block_type": "res_basic_block", "bot_muls": [], "ds": [1, 2, 3, 3], "num_gs": [], "ss": [1, 1, 2, 2],
        "ws": [16, 32, 128, width],
    }  # fmt: skip


def nds_job(number: int, net: Mapping[str, Any], errors: Sequence[float], **changes: Any) -> dict[str, Any]:
    """One training of NDS."""
    return {
        "job_id": f"{number:05d}", "rng_seed": 1, "net": dict(net), "params": 1_000_000, "flops": 10**8, "exp_mem": 1.0,
        "optim": {"base_lr": 0.1, "wd": 5e-4, "max_ep": len(errors)}, "min_test_top1": min(errors),
        "test_ep_top1": list(errors), "train_ep_top1": list(errors), "iter_time": 0.1, **changes,
    }  # fmt: skip
