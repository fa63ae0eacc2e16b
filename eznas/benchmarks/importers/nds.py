"""NDS: the official JSON files, a list of jobs, or for sweeps on ImageNet two of them, ``{"top": [...], "mid":
[...]}``.

A job is one training of one network: ``net`` (its record), ``optim`` (its recipe), ``rng_seed``, ``params``, and
``test_ep_top1``, the **error** on the test images after each epoch. The accuracy is 100 minus the last of them; the
smallest (``min_test_top1``), which other readers take, is chosen on the test images and is not used. What the files
call test is CIFAR-10 test or, with ``_in`` in the name of the file, ImageNet validation.

Trainings of one network under one recipe with several seeds are averaged. Trainings of a network under another recipe
than its first are left out and counted.

Source: `Radosavovic 2019 <https://arxiv.org/abs/1905.13214>`_ and the released data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from eznas.benchmarks.importers.gathering import Gathering, Split_, number_of
from eznas.benchmarks.importers.importer import Draft, Importer, Request, text_of
from eznas.benchmarks.importers.streams import JsonStream, Stream, refuse
from eznas.names import nearest, one_line, shown

MAX_BYTES: Final = 8 * 2**30
_SPACES: Final = {
    "amoeba": "nds_amoeba", "darts": "nds_darts", "enas": "nds_enas", "nasnet": "nds_nasnet", "pnas": "nds_pnas",
    "resnet": "nds_resnet", "resnext-a": "nds_resnext_a", "resnext-b": "nds_resnext_b", "vanilla": "nds_vanilla",
}  # fmt: skip
_TEST: Final[Split_] = "test"
_TRAINED_WITH: Final = ("aux", "drop_prob")
"""Keys of a network's record that say how it was trained, not what it is."""


def _space(path: Path) -> str:
    """The space of a file, by its name, as ``DARTS_fix-w-d_in.json``."""
    family = path.name.lower().partition(".")[0].partition("_")[0]
    if family not in _SPACES:
        near = nearest(family, _SPACES)
        hint = f"did you mean {near}" if near else "give it its official name"
        expected = f"networks of one of {', '.join(_SPACES)}, by its name"
        raise refuse(str(path), expected, f"it is called {shown(path.name)}", hint)
    return _SPACES[family]


def _read(files: Sequence[Path], request: Request) -> Draft:
    (path,) = files
    space = _space(path)
    stem = path.name.partition(".")[0]
    dataset = "imagenet" if stem.lower().split("_")[-1] == "in" else "cifar10"
    reading = _Reading(space, dataset)
    with Stream(path, MAX_BYTES) as stream:
        content = JsonStream(stream)
        for at, job in content.items(1 if content.peek() == "[" else 2):
            reading.add(job, f"{stream.where}, job {'.'.join(map(str, at))}")
        content.end()
    images = "validation images of ImageNet, which the files call test" if dataset == "imagenet" else "CIFAR-10 test"
    return Draft(
        name=f"nds-{stem.lower()}",
        space=space,
        is_read=reading.is_read,
        provenance=(
            f"Accuracies of {{n}} networks of NDS from {one_line(path.name)}, 100 minus the error after the last epoch "
            f"on {images}, each the {request.label} over its seeds."
        ),
        gathered=reading.gathered,
        max_trainings=10_000,
        has_seeds=reading.has_seeds,
        label=request.label,
        notes=reading.notes(),
    )


class _Reading:
    """Jobs as they are read."""

    def __init__(self, space: str, dataset: str) -> None:
        self.gathered = Gathering()
        self.has_seeds = True
        self.is_read = True
        self._space, self._dataset = space, dataset
        self._jobs: set[str] = set()
        self._recipes: dict[int, str] = {}
        self._n_seeds: Counter[tuple[int, int]] = Counter()
        self._n_unfinished = self._n_other = 0

    def add(self, job: Any, where: str) -> None:
        """One training."""
        net = job.get("net") if isinstance(job, dict) else None
        if not isinstance(job, dict) or not isinstance(net, dict) or not net:
            raise refuse(where, "a job with the record of its network under 'net'", f"it holds {shown(job)}")
        name = str(job.get("job_id", where))[:200]
        if name in self._jobs:
            raise refuse(where, "every job once", f"job {shown(name)} was there before")
        self._jobs.add(name)
        errors = job.get("test_ep_top1")
        final = number_of(errors[-1]) if isinstance(errors, list) and errors else None
        if not isinstance(errors, list) or final is None or not 0.0 <= final <= 100.0:
            got = f"they are {shown(errors)}" if not isinstance(errors, list) else f"the last is {final}"
            raise refuse(where, "errors in percent after each epoch under 'test_ep_top1'", got)
        optim = job.get("optim")
        recipe: dict[str, Any] = optim if isinstance(optim, dict) else {}
        said = next((recipe[key] for key in ("max_ep", "max_epoch", "max_epochs") if key in recipe), len(errors))
        if said != len(errors):
            self._n_unfinished += 1
            return
        params = job.get("params")
        number = self.gathered.network(
            self._text(net, where), where, params=params if isinstance(params, int) else None
        )
        described = json.dumps(recipe, sort_keys=True)
        if self._recipes.setdefault(number, described) != described:
            self._n_other += 1
            return
        seed = job.get("rng_seed")
        seed = seed if isinstance(seed, int) and abs(seed) < 2**31 else 0
        self._n_seeds[number, seed] += 1
        again = self._n_seeds[number, seed] - 1
        self.has_seeds &= again == 0 and "rng_seed" in job
        column = (self._dataset, _TEST, len(errors))
        self.gathered.add(number, column, 100.0 - final, where, seed=seed + again * 2**32)

    def _text(self, net: dict[str, Any], where: str) -> str:
        record = {key: value for key, value in net.items() if key not in _TRAINED_WITH}
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
        found = text_of(self._space, text, where)
        self.is_read &= found != text
        return found

    def notes(self) -> tuple[str, ...]:
        """What was left out or must be known."""
        n_recipes = len(set(self._recipes.values()))
        notes = []
        if self._n_unfinished:
            notes.append(f"{self._n_unfinished} trainings that ended before their last epoch are left out.")
        if self._n_other:
            notes.append(
                f"{self._n_other} trainings of networks under another recipe than their first are left out, as they "
                "are no repeats."
            )
        if n_recipes > 1:
            notes.append(
                f"The networks were trained under {n_recipes} different recipes (learning rate, weight decay and the "
                "like), so their accuracies differ for that too."
            )
        return tuple(notes)


NDS: Final = Importer(
    kind="nds",
    title="NDS (network design spaces)",
    takes="DARTS.json, DARTS_in.json, ResNet.json and the like, each a table of its own",
    read=_read,
    is_one_table=False,
)
