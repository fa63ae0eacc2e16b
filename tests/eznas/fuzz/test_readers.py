"""Every reader gives a value or one sentence, whatever is wrong with what it reads; never another exception.

Damage is drawn by a seed: so many seeds for each reader as ``EZNAS_FUZZ`` says (`make fuzz`), a few without it, counted
from ``EZNAS_FUZZ_SEED``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from eznas.assessment.card import Card
from eznas.bank import Bank
from eznas.bank.block import NAME as BLOCK
from eznas.bank.block import Block, read_block, write_block
from eznas.benchmarks import load_accuracies, networks_of
from eznas.benchmarks.analog import read_table
from eznas.benchmarks.imported import load_table, read_header
from eznas.benchmarks.importers import Request, import_files
from eznas.benchmarks.trained import load_trained
from eznas.conditions.image_files import load_own_file
from eznas.conditions.own_images import load_folder
from eznas.errors import LONGEST, EznasError, ProgramError
from eznas.forms import read_form
from eznas.nas.scores import read_scores as read_nas_scores
from eznas.nas.scores import read_scoring_seconds
from eznas.oneshot import load_oneshot_config, read_checkpoint, read_state
from eznas.oneshot.checkpoint import WEIGHTS, TrainingState, write_checkpoint
from eznas.programs import parse
from eznas.programs.storage import directed_from_json
from eznas.proxies import load_proxy_file, proxy_named, proxy_to_json
from eznas.proxies.named import aggregate_named
from eznas.runs import RunFolder, load_front
from eznas.runs.checkpoint import Checkpoint
from eznas.runs.config import RunConfig, load_config, to_toml
from eznas.runs.history import read_failures, read_history, read_lineage, read_scores
from eznas.runs.manifest import Manifest
from eznas.scoring.given import read_given
from eznas.spaces import nb201, networks_named
from eznas.spaces.families.family import read_family
from eznas.statistics import StatisticsStore
from eznas.study.seeds import PLAN, SeedsPlan, read_plan
from tests.eznas.benchmarks.test_damaged_files import FILES
from tests.eznas.fuzz.mutations import damaged

N: Final = int(os.environ.get("EZNAS_FUZZ") or 8)
FIRST: Final = int(os.environ.get("EZNAS_FUZZ_SEED") or 0)
CELLS: Final = nb201.all_architectures()[:12]
PACKAGE: Final = Path(load_config.__code__.co_filename).parents[1]
Read = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def _alone(embedded_data: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few names may be imported while texts are read; nothing of what that says counts."""
    warnings.simplefilter("ignore")


def outcome(read: Callable[[], Any], said: str) -> str | None:
    """The sentence that a reader gave, None if it gave a value; fails for anything else."""
    try:
        read()
    except EznasError as error:
        message = str(error)
        assert message.isprintable(), said
        assert 0 < len(message) <= LONGEST, said
        assert "Traceback" not in message, said
        return message
    except Exception as error:
        raise AssertionError(f"{said}: {type(error).__name__}: {str(error)[:300]}") from error
    return None


def survive(path: Path, read: Read) -> None:
    """Damage a file in as many ways as are wanted, and read it each time."""
    content = path.read_bytes()
    n_refused = 0
    for seed in range(FIRST, FIRST + N):
        path.write_bytes(damaged(content, random.Random(f"{path.name} {seed}")))
        n_refused += outcome(lambda: read(path), f"{path.name}, seed {seed}") is not None
    path.write_bytes(content)
    assert outcome(lambda: read(path), f"{path.name} as it was") is None
    assert n_refused > N // 4, "hardly any damage was found"


# The files of a run ---------------------------------------------------------------------------------------------------


def _lines_of(folder: Path) -> None:
    read_history(folder)
    read_failures(folder)
    read_lineage(folder, next(iter(load_front(folder).discovered)).id)


OF_A_RUN: Final[Mapping[str, Read]] = {
    "front.json": lambda path: load_front(path.parent),
    "manifest.json": lambda path: Manifest.read(path.parent),
    "config.toml": load_config,
    "programs.jsonl": lambda path: _lines_of(path.parent),
    "events.jsonl": lambda path: _lines_of(path.parent),
    "report_scores.csv": lambda path: read_scores(path.parent),
}


@pytest.mark.parametrize("name", OF_A_RUN)
def test_files_of_a_run(name: str, tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    survive(run / name, OF_A_RUN[name])


def test_checkpoints_of_a_run(tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    survive(run / RunFolder(run).checkpoints()[0], Checkpoint.read)


def test_plans_of_seeds(tmp_path: Path) -> None:
    path = tmp_path / PLAN
    settings = RunConfig().model_dump(mode="json", exclude_none=True)
    path.write_text(SeedsPlan(n_seeds=3, settings=settings).model_dump_json())
    assert read_plan(tmp_path) == (RunConfig(), 3)
    survive(path, lambda path: read_plan(path.parent))


def test_failures_of_a_run(tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    record = {"id": parse("(sum_layers (mean weight))").digest, "program": "(sum_layers (mean weight))"}
    line = json.dumps({**record, "generation": 0, "kind": "non-finite", "reason": "it is not", "node": 0})
    (run / "failures.jsonl").write_text(f"{line}\n" * 3)
    survive(run / "failures.jsonl", lambda path: read_failures(path.parent))


# Proxies and scores ---------------------------------------------------------------------------------------------------


def test_proxy_files(tmp_path: Path) -> None:
    for source in sorted((PACKAGE / "gallery").glob("*.json"))[:2]:
        survive(Path(shutil.copy(source, tmp_path)), load_proxy_file)
    (tmp_path / "estimator.json").write_text(proxy_to_json(proxy_named("naswot").proxy))
    survive(tmp_path / "estimator.json", load_proxy_file)
    (tmp_path / "formula.txt").write_text("(sum_layers (mean (multiply weight weight_grad.noise)))")
    survive(tmp_path / "formula.txt", load_proxy_file)


def test_cards_of_the_gallery(tmp_path: Path) -> None:
    source = next((PACKAGE / "gallery" / "cards").glob("*.json"))
    survive(
        Path(shutil.copy(source, tmp_path)),
        lambda path: read_form(Card, path, error=ProgramError, remedy="make it anew"),
    )


def test_tables_of_scores(tmp_path: Path) -> None:
    rows = [f"{i},{arch.spec},{1.5 * i},,{-2 * i},0.25" for i, arch in enumerate(CELLS)]
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(["index,network,naswot,failed,mine,seconds", *rows, ""]))
    survive(path, lambda path: read_given(str(path), CELLS))
    survive(path, lambda path: (read_nas_scores(str(path), CELLS), read_scoring_seconds(path)))


# Benchmarks and images ------------------------------------------------------------------------------------------------


def test_accuracies_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    names = {f"net{i}": arch for i, arch in enumerate(CELLS)}
    path.write_text(
        "\n".join(["name,cifar10_valid,cifar10_test", *(f"{n},{50 + i}.5,{60 - i}" for i, n in enumerate(names))])
    )
    survive(path, lambda path: load_accuracies(path, names))


@pytest.mark.parametrize("kind", FILES)
def test_official_files(kind: str, tmp_path: Path) -> None:
    importer, name, content, packed = FILES[kind]
    path = tmp_path / name
    (tmp_path / "tables").mkdir()

    def read(path: Path) -> None:
        import_files(importer, [path], tmp_path / "tables", request=Request(space="nb201"), replace=True)

    path.write_bytes(packed(content))
    survive(path, read)


def test_imported_tables(tmp_path: Path) -> None:
    _, name, content, packed = FILES["csv"]
    (tmp_path / name).write_bytes(packed(content))
    (made,) = import_files("csv", [tmp_path / name], tmp_path, request=Request(space="nb201"))
    survive(made.path, load_table)
    survive(made.path, read_header)


def test_trainings(tmp_path: Path) -> None:
    name = sorted((PACKAGE / "benchmarks" / "shipped").glob("net_*.csv"))[0].stem
    for end in (".csv", ".json"):
        shutil.copy(PACKAGE / "benchmarks" / "shipped" / f"{name}{end}", tmp_path)
    for end in (".csv", ".json"):
        survive(tmp_path / f"{name}{end}", lambda path: load_trained(path.parent, name))


def test_the_embedded_table(tmp_path: Path) -> None:
    import pickle

    path = tmp_path / "table.anb"
    path.write_bytes(pickle.dumps({(0, 1, 2): 3.5, "a": [b"x", None]}))
    for seed in range(FIRST, FIRST + N):
        content = damaged(path.read_bytes(), random.Random(seed))
        (tmp_path / "damaged").write_bytes(content)
        with (tmp_path / "damaged").open("rb") as file:
            assert outcome(lambda: read_table(file, "the table"), f"table, seed {seed}") is not None


def test_image_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (6, 5, 5, 3), dtype=np.uint8), np.arange(6) % 3
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "images.npz", x=images, y=labels)
        survive(tmp_path / "images.npz", load_own_file)


def test_folders_of_images(tmp_path: Path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
    Image.new("RGB", (5, 4), (9, 8, 7)).save(tmp_path / "images" / "a" / "1.png")
    for end in ("png", "gif", "tif", "bmp", "ppm"):
        path = tmp_path / "images" / "b" / f"2.{end}"
        Image.new("L", (6, 5), 7).save(path)
        survive_quietly(path)
        path.unlink()


def survive_quietly(path: Path) -> None:
    """Of images, whose pixels may be anything."""
    content = path.read_bytes()
    for seed in range(FIRST, FIRST + N // 2):
        path.write_bytes(damaged(content, random.Random(f"{path.name} {seed}")))
        outcome(lambda: load_folder(path.parents[1]), f"{path.name}, seed {seed}")
    path.write_bytes(content)


# What is computed once ------------------------------------------------------------------------------------------------


def test_stores(tiny_run: Path, cache: Path, tmp_path: Path) -> None:
    (folder,) = [path for path in (cache / "statistics").iterdir() if (path / "manifest.json").is_file()][:1]
    store = Path(shutil.copytree(folder, tmp_path / folder.name))

    def read(path: Path) -> None:
        opened = StatisticsStore.open(store, verify=False)
        opened.shard(0)

    survive(store / "manifest.json", read)
    survive(min(store.glob("*.safetensors")), read)


def test_blocks_of_banks(tmp_path: Path) -> None:
    columns = tuple(f"{i:032x}" for i in range(3))
    block = Block(columns, np.arange(6.0).reshape(2, 3), np.zeros((2, 3), dtype=np.uint8))
    path = write_block(tmp_path, block)
    assert BLOCK.fullmatch(path.name)
    survive(path, lambda path: read_block(path, 2, verify=True))
    survive(path, lambda path: read_block(path, 2))


def test_banks(tmp_path: Path) -> None:
    from tests.eznas.bank.test_bank import CONDITIONS

    bank = Bank.open(tmp_path, CONDITIONS)
    block = Block((f"{1:032x}",), np.ones((1, 1)), np.zeros((1, 1), dtype=np.uint8))
    bank.add(["naswot"], block)
    for path in (bank.folder / "manifest.json", *bank.folder.glob("*/words.json")):
        survive(path, lambda _: (Bank.open(tmp_path, CONDITIONS), Bank.held(bank.folder)))


def test_checkpoints_of_supernets(tmp_path: Path) -> None:
    path = tmp_path / "latest.safetensors"
    weights = {"a": torch.ones(2, 3), "b": torch.zeros(4)}
    write_checkpoint(
        path,
        TrainingState(settings_digest="0" * 64, images_digest="1" * 64),
        {f"{WEIGHTS}{k}": v for k, v in weights.items()},
    )
    survive(path, lambda path: read_checkpoint(path, weights))
    survive(path, lambda path: read_state(path, verify=True))


# Texts and settings ---------------------------------------------------------------------------------------------------


TEXTS: Final[Mapping[str, tuple[Callable[[str], Any], tuple[str, ...]]]] = {
    "networks": (
        networks_of,
        (
            "nb201:0-3,7", CELLS[3].spec, "nb201:random:5:1", "nb101:011.001.000:conv3x3-bn-relu", "8:16:24:32:64",
            "nb201:(4, 0, 3, 1, 4, 3)", "net:residual:random:2", "nds_resnext_a:random:2",
            "darts:Genotype(normal=[('sep_conv_3x3', 0)], normal_concat=range(2, 6), reduce=[], reduce_concat=[2])",
        ),
    ),
    "one space": (networks_named, ("nb201:random:3", "sss:8:8:8:8:8", "darts:random:1")),
    "programs": (parse, ("(sum_layers (frobenius_norm (multiply weight weight_grad.noise)))", "(add 1.5 layer_count)")),
    "program files": (directed_from_json, ('{"format": "eznas-program", "version": 2, "root": {"leaf": "weight"}}',)),
    "proxies": (proxy_named, ("naswot", "(sum_layers (mean weight))", "gallery:general", "runs/x:best", "log(naswot)")),
    "sums": (aggregate_named, ("jacob_cov+parameter_count", "naswot+synflow")),
    "overrides": (lambda text: load_config(None, [text]), ("evolution.n_generations=5", "probe.seed=[1]", "seed=1e3")),
    "supernets": (lambda text: load_oneshot_config(None, [text]), ("training.epochs=5", "networks.channels=4")),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_texts(kind: str) -> None:
    read, texts = TEXTS[kind]
    for seed in range(FIRST, FIRST + N):
        rng = random.Random(f"{kind} {seed}")
        text = damaged(rng.choice(texts).encode(), rng).decode("utf-8", rng.choice(("replace", "surrogateescape")))
        if "python" not in text:  # which would import what the text names
            outcome(partial(read, text), f"{kind}, seed {seed}: {text[:200]!r}")


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(load_config(None, ["benchmark.datasets=['cifar10']"])))
    survive(path, load_config)
    path.write_text('[images]\nsource = "digits"\n[training]\nepochs = 4\nlearning_rate = 0.1\n')
    survive(path, load_oneshot_config)


def test_families(tmp_path: Path) -> None:
    source = sorted((PACKAGE / "spaces" / "families").glob("*.toml"))[0]
    survive(Path(shutil.copy(source, tmp_path)), read_family)
