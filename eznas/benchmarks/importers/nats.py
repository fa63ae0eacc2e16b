"""NATS-Bench: its two official forms, topology space (TSS, NAS-Bench-201) and size space (SSS).

Both are pickles compressed by bzip2: one file of all networks (``meta_archs``, ``arch2infos``: number,
hyper-parameters, results), or a folder with a file for each network (``000011.pickle.pbz2``) and one that lists them
all (``meta.pickle.pbz2``). The result of a training is reduced to its final accuracies as soon as it is read, so that
gigabytes take the memory of what is kept.

**What is taken, and what not.** Hyper-parameters ``200``, ``90``, ``12``, ``01`` are trainings of that many epochs:
each is a column of its own, and the longest is what a benchmark means by full training. CIFAR-10 validation is
``x-valid`` of ``cifar10-valid`` (trained on half of the images), CIFAR-10 test ``ori-test`` of ``cifar10``; the test
accuracy of the half-data networks is not taken. CIFAR-100 and ImageNet16-120 are ``x-valid`` and ``x-test``. Seconds
are all epochs and one evaluation of the validation images, of ``cifar10-valid`` for CIFAR-10.

Source: `Dong 2021 <https://arxiv.org/abs/2009.00437>`_ and the released files of August 2020.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from eznas.benchmarks.importers.gathering import Gathering, Split_, number_of
from eznas.benchmarks.importers.importer import Draft, Importer, Request
from eznas.benchmarks.importers.pickles import PickleError, read_pickle
from eznas.benchmarks.importers.streams import Stream, refuse
from eznas.errors import ArchitectureError
from eznas.names import shown
from eznas.spaces import Architecture, nb201, space_named, sss

MAX_BYTES: Final = 16 * 2**30
"""Of the one file of all networks, decompressed; TSS has about 5 GiB, SSS 3."""
MAX_NETWORK_BYTES: Final = 64 * 2**20
"""Of the file of one network, decompressed; the official ones have .1 to .4 MiB."""
_ONE: Final = re.compile(r"(\d{6})\.pickle(?:\.p?bz2)?")
_META: Final = re.compile(r"meta\.pickle(?:\.p?bz2)?")
_TAKEN: Final[dict[str, tuple[tuple[str, str, Split_], ...]]] = {
    "cifar10-valid": (("x-valid", "cifar10", "validation"),),
    "cifar10": (("ori-test", "cifar10", "test"),),
    "cifar100": (("x-valid", "cifar100", "validation"), ("x-test", "cifar100", "test")),
    "ImageNet16-120": (("x-valid", "imagenet16", "validation"), ("x-test", "imagenet16", "test")),
}
_KEYS: Final = frozenset(("name", "seed", "epochs", "params", "eval_acc1es", "eval_times", "train_times"))
_N_LEFT: Final = 6


def _condense(mapping: dict[Any, Any]) -> int:
    """The result of one training, reduced to what is taken of it; the number of entries that are gone."""
    if not mapping.keys() >= _KEYS:
        return 0
    accuracies, times, spent = (mapping[key] for key in ("eval_acc1es", "eval_times", "train_times"))
    epochs = mapping["epochs"]
    left: dict[str, Any] = {key: mapping[key] for key in ("name", "seed", "epochs", "params")}
    left["final"] = left["seconds"] = None
    if isinstance(epochs, int) and isinstance(accuracies, dict):
        last = f"@{epochs - 1}"
        found = ((name, accuracies.get(name + last)) for name in ("x-valid", "x-test", "ori-test"))
        left["final"] = {name: value for name, value in found if number_of(value) is not None}
        if isinstance(times, dict) and isinstance(spent, dict) and len(spent) == epochs:
            parts = [number_of(value) for value in (*spent.values(), times.get("x-valid" + last))]
            left["seconds"] = None if None in parts else sum(part for part in parts if part is not None)
    n_gone = len(mapping) - _N_LEFT
    for value in mapping.values():
        if isinstance(value, dict | list):
            n_gone += len(value)
            value.clear()
    mapping.clear()
    mapping.update(left)
    return max(0, n_gone)


def _read(
    space: str,
    from_index: Callable[[int], Architecture],
    name: str,
    title: str,
    files: Sequence[Path],
    request: Request,
) -> Draft:
    gathered = Gathering()
    for path in files:
        if _META.fullmatch(path.name):
            continue
        one = _ONE.fullmatch(path.name)
        with Stream(path, MAX_NETWORK_BYTES if one else MAX_BYTES) as stream:
            try:
                content = read_pickle(stream.read, _condense)
            except PickleError as error:
                raise refuse(stream.where, "a pickle of NATS-Bench", str(error)) from None
            infos = {int(one[1]): content} if one else content.get("arch2infos") if isinstance(content, dict) else None
            if not isinstance(infos, dict):
                got = "it holds something else"
                raise refuse(stream.where, "networks by number under 'arch2infos', or one network", got)
            for index, by_epochs in infos.items():
                where = f"{stream.where}, network {shown(index)}"
                try:
                    arch = from_index(index if isinstance(index, int) else -1)
                except ArchitectureError as error:
                    raise refuse(where, f"a number of {title}", str(error).rstrip(".")) from None
                _add_network(gathered, arch, by_epochs, where)
    if not len(gathered):
        got = "there is only the list of all networks, without a result"
        raise refuse(str(files[0]), "results of networks", got, "name the files of networks, or their folder")
    lengths = " and ".join(map(str, gathered.epochs))
    return Draft(
        name=name,
        space=space,
        is_read=True,
        provenance=(
            f"Accuracies of {{n}} networks of {title} from its official files, after {lengths} epochs, each the "
            f"{request.label} over all recorded seeds; CIFAR-10 validation is of networks trained on half of the "
            "training images (cifar10-valid), CIFAR-10 test of networks trained on all."
        ),
        gathered=gathered,
        max_trainings=20,
        label=request.label,
        notes=(
            "The test accuracy of the networks trained on half of CIFAR-10 is not taken, as it is not that of the "
            "networks that are reported.",
        ),
    )


def _add_network(gathered: Gathering, arch: Architecture, by_epochs: object, where: str) -> None:
    if not isinstance(by_epochs, dict) or not by_epochs:
        raise refuse(where, "results by hyper-parameters ('12', '200' and the like)", f"it holds {shown(by_epochs)}")
    is_counted = False
    number = gathered.network(arch.spec, where, is_new=True)
    for key, results in by_epochs.items():
        here = f"{where}, hyper-parameters {shown(key)}"
        trainings = results.get("all_results") if isinstance(results, dict) else None
        if not isinstance(trainings, dict) or not trainings:
            raise refuse(here, "results by data set and seed under 'all_results'", "it does not")
        text = results.get("arch_str")
        if text != arch.spec:
            raise refuse(here, f"results of {arch.spec}, the network of that number", f"they are of {shown(text)}")
        for at, training in trainings.items():
            dataset, seed = at if isinstance(at, tuple) and len(at) == 2 else (None, None)
            there = f"{here}, {shown(at)}"
            if dataset not in _TAKEN or not isinstance(seed, int) or not isinstance(training, dict):
                raise refuse(there, f"a training on one of {', '.join(_TAKEN)} with a seed", "it is none")
            epochs, final = training.get("epochs"), training.get("final")
            if training.get("name") != dataset or not isinstance(epochs, int) or str(key).lstrip("0") != str(epochs):
                got = f"it says {shown(training.get('name'))} and {shown(epochs)} epochs"
                raise refuse(there, f"a training on {dataset} of {shown(key)} epochs", got)
            for label, known, split in _TAKEN[dataset]:
                if not isinstance(final, dict) or label not in final:
                    raise refuse(there, f"the accuracy {label}@{epochs - 1}", "it does not")
                gathered.add(number, (known, split, epochs), final[label], there, seed=seed)
            if dataset != "cifar10":
                known = _TAKEN[dataset][0][1]
                gathered.add_seconds(number, known, epochs, training.get("seconds"), seed=seed)
            elif not is_counted:
                _check_params(gathered, arch, training.get("params"), there)
                is_counted = True


def _check_params(gathered: Gathering, arch: Architecture, millions: object, where: str) -> None:
    space = space_named(arch.space)
    value = number_of(millions)
    assert space.counts is not None
    expected = space.counts(arch, space.full or space.settings(), 32).parameters
    if value is None or abs(value * 1e6 - expected) > 0.5:
        got = f"it says {shown(millions)} million"
        raise refuse(where, f"a network of {expected:,} parameters, as {arch.spec} has", got)
    gathered.network(arch.spec, where, params=expected)


def _read_tss(files: Sequence[Path], request: Request) -> Draft:
    return _read(nb201.NAME, nb201.from_index, "nats-tss", "NATS-Bench TSS", files, request)


def _read_sss(files: Sequence[Path], request: Request) -> Draft:
    return _read(sss.NAME, sss.from_index, "nats-sss", "NATS-Bench SSS", files, request)


_SUFFIXES: Final = (".pickle.pbz2", ".pickle.bz2")
TSS: Final = Importer(
    kind="nats-tss",
    title="NATS-Bench TSS (NAS-Bench-201)",
    takes="NATS-tss-v1_0-3ffb9.pickle.pbz2, or the folder NATS-tss-v1_0-3ffb9-simple",
    read=_read_tss,
    is_one_table=True,
    suffixes=_SUFFIXES,
)
SSS: Final = Importer(
    kind="nats-sss",
    title="NATS-Bench SSS (size space)",
    takes="NATS-sss-v1_0-50262.pickle.pbz2, or the folder NATS-sss-v1_0-50262-simple",
    read=_read_sss,
    is_one_table=True,
    suffixes=_SUFFIXES,
)
