"""Training a supernet: it learns, goes on after a stop to the same weights, and scores cells by name."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from eznas.cli import main
from eznas.errors import ConfigError, RunError
from eznas.oneshot import (
    EpochRecord,
    Evaluator,
    OneShotConfig,
    OneShotFolder,
    Supernet,
    group_of,
    load_oneshot_config,
    oneshot_proxy,
    read_checkpoint,
    read_state,
    to_toml,
    train_supernet,
)
from eznas.oneshot.checkpoint import KEY, MOMENTUM, WEIGHTS, averaged
from eznas.oneshot.train import _Training
from eznas.proxies import Proxy, proxy_named
from eznas.spaces import nb101, nb201

TINY = [
    "seed=3", "networks.channels=4", "images.source=digits", "images.input_size=8", "images.n_train=320",
    "training.epochs=4", "training.batch_size=32", "training.learning_rate=0.2", "training.shift=1",
    "training.flip=false", "training.dropout=0.1", "sampling.method=fair", "sampling.per_step=5", "checkpoints.every=2",
    "evaluation.n_images=300", "evaluation.recalibration=100", "evaluation.ensemble=2", "evaluation.members=3",
]  # fmt: skip
ONE_CONVOLUTION = ("nor_conv_3x3", *("skip_connect",) * 5)


def config(*more: str) -> OneShotConfig:
    return load_oneshot_config(None, [*TINY, *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> OneShotFolder:
    """A trained supernet; to be read only."""
    return train_supernet(config(), tmp_path_factory.mktemp("oneshot") / "run")


class Stopped(Exception):
    """In place of a kill."""


def stop_after(epoch: int, folder: Path, wanted: OneShotConfig) -> None:
    def told(record: EpochRecord, left: float) -> None:
        assert left >= 0
        if record.epoch == epoch:
            raise Stopped

    with pytest.raises(Stopped):
        train_supernet(wanted, folder, told=told)


def weights(folder: OneShotFolder) -> str:
    """Digest of the weights and momenta at the end."""
    return read_state(folder.latest).digest


def test_it_learns_and_keeps_checkpoints(run: OneShotFolder) -> None:
    assert run.epochs == (2, 4)
    losses = [record.loss for record in read_state(run.latest).records]
    assert len(losses) == 4
    assert losses[-1] < losses[0] < 2.5
    evaluator = Evaluator.of_run(run, [4])
    easy, empty = (evaluator.estimate(cell) for cell in (ONE_CONVOLUTION, ("none",) * 6))
    assert easy.accuracy > 18
    assert easy.loss < empty.loss - 0.05
    assert empty.accuracy < 15


def test_a_stopped_training_goes_on_to_the_same_weights(run: OneShotFolder, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    stop_after(1, folder, config())
    stop_after(3, folder, config())
    assert OneShotFolder(folder).status()["epoch"] == 3
    again = train_supernet(config(), folder)
    assert weights(again) == weights(run)
    assert [r.loss for r in read_state(again.latest).records] == [r.loss for r in read_state(run.latest).records]
    other = train_supernet(config("seed=4"), tmp_path / "other")
    assert weights(other) != weights(run)


def test_a_stop_inside_an_epoch_costs_that_epoch(
    run: OneShotFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, n_steps = _Training._step, 0

    def killed(*arguments: object) -> float:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 27:  # the seventh step of the third epoch
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_Training, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_supernet(config(), tmp_path / "run")
    monkeypatch.undo()
    assert OneShotFolder(tmp_path / "run").status()["epoch"] == 2
    assert weights(train_supernet(config(), tmp_path / "run")) == weights(run)


@pytest.mark.parametrize(
    "more",
    [
        ["sampling.method=uniform", "sampling.per_step=2", "training.affine=true"],
        ["sampling.method=isomorphic", "sampling.per_step=1", "training.schedule=plateau", "training.patience=1"],
    ],
    ids=["uniform", "isomorphic"],
)
def test_every_sampling_trains_and_goes_on(more: Sequence[str], tmp_path: Path) -> None:
    wanted = config("training.epochs=2", "training.learning_rate=0.02", *more)
    stop_after(1, tmp_path / "stopped", wanted)
    assert weights(train_supernet(wanted, tmp_path / "stopped")) == weights(train_supernet(wanted, tmp_path / "whole"))


def test_a_plateau_lowers_the_rate(tmp_path: Path) -> None:
    wanted = config("training.schedule=plateau", "training.patience=1", "training.factor=0.1")
    training = _Training(wanted, _images(wanted), OneShotFolder(tmp_path), "cpu")
    rates = []
    for epoch, loss in enumerate((2.0, 1.0, 1.5, 1.2, 1.1, 1.1, 0.9), start=1):
        training._step_of_schedule(EpochRecord(epoch=epoch, loss=loss, learning_rate=0.0, seconds=0.0))
        rates.append(training._rate(0.5) / wanted.training.learning_rate)
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def _images(wanted: OneShotConfig):  # type: ignore[no-untyped-def]
    from eznas.conditions import training_images

    return training_images("digits", input_size=8, n_train=wanted.images.n_train)


# Estimates ------------------------------------------------------------------------------------------------------------


def test_proxies_by_name_are_what_the_evaluator_finds(run: OneShotFolder) -> None:
    arch = nb201.architecture(("skip_connect", "none", "nor_conv_1x1", "nor_conv_3x3", "skip_connect", "none"))
    network = nb201.SPACE.build(arch, nb201.Settings(), 0)
    found = Evaluator.of_run(run, [4]).estimate(network.operations)
    ensemble = Evaluator.of_run(run, [2, 4]).estimate(network.operations)
    name, images = f"oneshot:{run.path}", torch.zeros(2, 3, 8, 8)
    accuracy, loss, mean, both = (
        proxy_named(f"{name}{kind}").proxy for kind in ("", ":loss", ":ensemble", ":ensemble-loss")
    )
    assert isinstance(accuracy, Proxy)
    assert (accuracy.direction, loss.direction) == (1, -1)
    assert accuracy.score(network, images) == found.accuracy
    assert loss.score(network, images) == -found.loss
    assert mean.score(network, images) == ensemble.accuracy != found.accuracy
    assert both.score(network, images) == -ensemble.loss
    assert {found.loss, ensemble.loss} != {found.loss}
    other = nb101.SPACE.build(nb101.SPACE.named("random:1:0")[0], nb101.Settings(channels=4), 0)
    outcome = accuracy.outcome(other, images)
    assert "knows the cells of NAS-Bench-201" in outcome.detail  # type: ignore[union-attr]


def test_estimates_of_a_function_are_means_over_its_cells(run: OneShotFolder) -> None:
    evaluator, cell = Evaluator.of_run(run, [4]), ("none", "nor_conv_3x3", "none", "none", "none", "skip_connect")
    members = group_of(cell)[:3]
    assert len(members) == 3
    found = evaluator.of_group(cell)
    assert found.loss == pytest.approx(np.mean([evaluator.estimate(member).loss for member in members]))
    assert evaluator.of_group(group_of(cell)[-1]) == found


def test_images_that_were_trained_on_can_be_evaluated_on(run: OneShotFolder) -> None:
    fitted = Evaluator.of_run(run, [4], on_training=True)
    share = fitted.estimate(ONE_CONVOLUTION).accuracy / 100 * (320 - 100)  # all but those of recalibration
    assert share == pytest.approx(round(share))
    assert fitted.estimate(ONE_CONVOLUTION) != Evaluator.of_run(run, [4]).estimate(ONE_CONVOLUTION)


def test_an_ensemble_is_the_mean_of_weights_and_the_largest_count() -> None:
    values = (([1.0, 3.0], 4), ([3.0, 5.0], 9))
    found = averaged([{"w": torch.tensor(weight), "n": torch.tensor(count)} for weight, count in values])
    assert torch.equal(found["w"], torch.tensor([2.0, 4.0]))
    assert found["n"] == 9


# Through the command line ---------------------------------------------------------------------------------------------


def test_train_status_and_score_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings, folder = tmp_path / "tiny.toml", tmp_path / "run"
    settings.write_text(to_toml(config("training.epochs=1")))
    assert main(["oneshot", "train", str(settings), "--run-dir", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(folder)
    assert "epoch    1/1  loss" in captured.err
    assert "0 s left" in captured.err
    assert main(["oneshot", "status", str(folder), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["epoch"], row["epochs"], row["checkpoints"], row["minutes left"]) == (1, 1, 1, 0)
    asked = f"oneshot:{folder},oneshot:{folder}:loss"
    assert main(["score", asked, "--networks", "nb201:random:3", "--format", "json", "--quiet"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    assert all(0 <= row[f"oneshot:{folder}"] <= 100 and row[f"oneshot:{folder}:loss"] < 0 for row in rows)
    assert main(["oneshot", "train", "--set", "seed=9", "--run-dir", str(folder)]) == 2
    assert "was begun with other settings (seed was 3 and is 9 now" in capsys.readouterr().err


def test_evaluation_may_be_changed_after_training_and_is_another_proxy(run: OneShotFolder, tmp_path: Path) -> None:
    folder = copied(run, tmp_path)
    network = nb201.SPACE.build(nb201.architecture(ONE_CONVOLUTION), nb201.Settings(), 0)
    before, unused = (oneshot_proxy(f"oneshot:{folder.path}{kind}") for kind in (":loss", ":ensemble"))
    scored = before.score(network)
    train_supernet(config("evaluation.n_images=50"), folder.path)
    after = oneshot_proxy(f"oneshot:{folder.path}:loss")
    assert after.name == before.name
    assert after != before
    assert after.score(network) != scored == before.score(network)
    with pytest.raises(RunError, match=r"has changed since a proxy of it was named"):
        unused.score(network)


# Bad input ------------------------------------------------------------------------------------------------------------


def copied(run: OneShotFolder, tmp_path: Path) -> OneShotFolder:
    shutil.copytree(run.path, tmp_path / "run")
    return OneShotFolder(tmp_path / "run")


@pytest.mark.parametrize("harm", ["truncated", "flipped", "pickle", "long head", "empty"])
def test_a_damaged_checkpoint_is_one_sentence(
    harm: str, run: OneShotFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(run, tmp_path)
    for path in (folder.kept(4), folder.latest):
        content = path.read_bytes()
        if harm == "pickle":
            torch.save({"weights": torch.zeros(2)}, path)
        else:
            path.write_bytes({
                "truncated": content[: len(content) // 2],
                "flipped": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
                "long head": struct.pack("<Q", 2**40) + content[8:],
                "empty": b"",
            }[harm])  # fmt: skip
    evaluator = f"oneshot:{folder.path}:isomorphic"
    status = main(["score", evaluator, "--networks", "nb201:random:1", "--quiet"])
    said = capsys.readouterr().err
    assert "damaged" in said
    assert "Traceback" not in said
    assert status == 1
    with pytest.raises(RunError, match=r"(damaged|no checkpoint).*; delete it, and train again"):
        train_supernet(config("training.epochs=4"), folder.path)


def test_a_checkpoint_of_another_supernet_is_refused(run: OneShotFolder, tmp_path: Path) -> None:
    tensors = Supernet(nb201.Settings(channels=4), affine=False, seed=0).state_dict()
    path, state = tmp_path / "other.safetensors", read_state(run.kept(4))
    with pytest.raises(RunError, match=r"another supernet: it needs a tensor '.*' of \(8, 3, 3, 3\) and holds one of"):
        read_checkpoint(run.kept(4), Supernet(nb201.Settings(channels=8), affine=False, seed=0).state_dict())
    stored = {f"{WEIGHTS}{name}": value for name, value in tensors.items()}
    for more in ({f"{WEIGHTS}more": torch.zeros(1)}, {f"{MOMENTUM}frame.stem.0.weight": torch.zeros(1)}):
        path.write_bytes(save({**stored, **more}, metadata={KEY: state.model_dump_json()}))
        with pytest.raises(RunError, match="it holds 1 tensors that this has not"):
            read_checkpoint(path, tensors)
    path.write_bytes(save({"w": torch.zeros(1)}))
    with pytest.raises(RunError, match="no checkpoint of a supernet"):
        read_state(path)


def test_wrong_settings_and_names_are_one_sentence(
    run: OneShotFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="a multiple of 5, got 3; use 5"):
        config("sampling.per_step=3")
    with pytest.raises(ConfigError, match=r"Unknown key 'training.epoch' .* did you mean 'training.epochs'"):
        config("training.epoch=3")
    with pytest.raises(ConfigError, match="digits has 10 classes, but the networks have 5 logits"):
        train_supernet(config("networks.n_classes=5"), tmp_path / "run")
    with pytest.raises(ConfigError, match="Unknown estimate of a supernet 'los'; did you mean 'loss'"):
        oneshot_proxy(f"oneshot:{run.path}:los")
    with pytest.raises(ConfigError, match="accuracy and loss in one"):
        oneshot_proxy(f"oneshot:{run.path}:accuracy-loss")
    with pytest.raises(RunError, match="is no run of a supernet"):
        oneshot_proxy(f"oneshot:{tmp_path}")
    monkeypatch.setattr(_Training, "_step", lambda *_: float("nan"))
    with pytest.raises(RunError, match=r"epoch 1 of .* is not finite after 0 steps.* smaller training\.learning_rate"):
        train_supernet(config(), tmp_path / "diverging")


def test_an_unfinished_run_without_checkpoint_says_when_one_comes(tmp_path: Path) -> None:
    stop_after(1, tmp_path / "run", config())
    with pytest.raises(RunError, match="has no checkpoint yet; the first comes after epoch 2"):
        oneshot_proxy(f"oneshot:{tmp_path / 'run'}")


def test_one_shot_estimates_are_judged_and_searched_with_like_others(
    run: OneShotFolder, embedded_data: None, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"oneshot:{run.path},oneshot:{run.path}:loss"
    assert main(["assess", names, "--benchmark", "nb201", "--n", "6", "--quiet", "--format", "json"]) == 0
    accuracy, loss, *_ = json.loads(capsys.readouterr().out)["proxies"]
    assert loss["measurement"]["n_failed"] == 0
    assert [len(one["bias"]["by_size"]) > 0 for one in (accuracy, loss) if one["measurement"]["tau"]]
    search = ["nas", "score", "--networks", "6", "--n", "4", "--repeats", "5", "--quiet", "--format", "json"]
    assert main([*search, "--proxy", names]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["proxy"] for row in rows] == [f"oneshot:{run.path}", f"oneshot:{run.path}:loss", "params"]
    assert main([*search, "--proxy", names, "--benchmark", "net_residual"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "failed on all 6 networks" in line
