"""NAS-Bench-Suite-Zero: ``zc_nasbench201.json`` and the like, scores of published estimators beside one accuracy.

The file is ``{data set: {network: {"val_accuracy": percent, estimator: {"score": number, "time": seconds}, ...}}}``,
each network written as NASLib does. The accuracy is the one that NASLib gives, of a single training (of NAS-Bench-301
the prediction of a surrogate), so it differs from a mean over seeds.

Source: `Krishnakumar 2022 <https://arxiv.org/abs/2210.03230>`_.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from eznas.benchmarks.importers.gathering import Gathering, number_of
from eznas.benchmarks.importers.importer import Draft, Importer, Request, text_of
from eznas.benchmarks.importers.streams import JsonStream, Stream, refuse
from eznas.names import one_line, shown
from eznas.spaces import SPACES

MAX_BYTES: Final = 2 * 2**30
MAX_ESTIMATORS: Final = 50
_SPACES: Final = {
    "nasbench101": ("nb101", 108, "of one of three trainings"),
    "nasbench201": ("nb201", 200, "of one training"),
    "nasbench301": ("darts", None, "predicted by the surrogate of NAS-Bench-301, not trained"),
    "transbench101_micro": ("transnas_micro", None, "of one training"),
    "transbench101_macro": ("transnas_macro", None, "of one training"),
}
_DATASETS: Final = {"imagenet16-120": "imagenet16", "cifar10": "cifar10", "cifar100": "cifar100"}
_NO_ACCURACY: Final = ("room_layout", "autoencoder", "normal")
"""Tasks of TransNAS-Bench-101 whose figure is a loss or a similarity of images."""


def _read(files: Sequence[Path], request: Request) -> Draft:
    (path,) = files
    stem = path.name.partition(".")[0].lower().removeprefix("zc_")
    if stem not in _SPACES:
        expected = f"zc_{', zc_'.join(_SPACES)} (.json), by its name"
        raise refuse(str(path), expected, f"it is called {shown(path.name)}", "give it its official name")
    space, epochs, how = _SPACES[stem]
    gathered = Gathering()
    left_out: dict[str, None] = {}
    seen: dict[tuple[int, str], int] = {}  # a network may stand there in several notations, each a training
    with Stream(path, MAX_BYTES) as stream:
        content = JsonStream(stream)
        for (task, text, *_), row in content.items(2):
            where = f"{stream.where}, {shown(str(task), 30)}, network {shown(text, 40)}"
            if task in _NO_ACCURACY:
                left_out[str(task)] = None
                continue
            if not isinstance(text, str) or not isinstance(row, dict) or "val_accuracy" not in row:
                raise refuse(where, "a network with its val_accuracy and scores", f"it holds {shown(row)}")
            dataset = _DATASETS.get(str(task).lower(), str(task))
            number = gathered.network(text_of(space, text, where), where)
            again = seen[number, dataset] = seen.get((number, dataset), -1) + 1
            gathered.add(number, (dataset, "validation", epochs), row["val_accuracy"], where, seed=again)
            _add_scores(gathered, number, dataset, row, where)
        content.end()
    notes = [f"The figures of {', '.join(left_out)} are no accuracies and are left out."] if left_out else []
    return Draft(
        name=f"suite-zero-{stem.replace('_', '-')}",
        space=space,
        is_read=space in SPACES,
        provenance=(
            f"Validation accuracies of {{n}} networks from {one_line(path.name)} (NAS-Bench-Suite-Zero), {how}; there "
            "are no test accuracies, so what is reported is on validation accuracies of networks that the search did "
            "not see."
        ),
        gathered=gathered,
        max_trainings=100,
        label=request.label,
        is_predicted=stem == "nasbench301",
        has_seeds=False,
        notes=tuple(notes),
    )


def _add_scores(gathered: Gathering, number: int, dataset: str, row: dict[str, Any], where: str) -> None:
    for estimator, value in row.items():
        score = number_of(value.get("score")) if isinstance(value, dict) else None
        if score is None:
            continue
        name = f"score_{dataset}_{estimator[:60]}"
        if name not in gathered.scores and len(gathered.scores) >= MAX_ESTIMATORS * 20:
            raise refuse(where, f"scores of at most {MAX_ESTIMATORS} estimators", "there are more")
        gathered.scores.setdefault(name, {})[number] = repr(score)


SUITE_ZERO: Final = Importer(
    kind="suite-zero",
    title="NAS-Bench-Suite-Zero",
    takes="zc_nasbench101.json, zc_nasbench201.json, zc_nasbench301.json and the like, each a table of its own",
    read=_read,
    is_one_table=False,
)
