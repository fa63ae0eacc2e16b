"""A file of scores grows network by network, survives what stops it, and never mixes what cannot be compared."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import pytest

from eznas.cli import main
from eznas.errors import ConfigError, OutputError
from eznas.study import Machine, Silent
from eznas.study.score import score_into_file
from tests.eznas.scoring.conftest import BASE, Zoo

pytestmark = pytest.mark.usefixtures("embedded_data")
COUNTED = "{'a': Net, 'b': lambda: Net(6), 'c': lambda: Net(8)}"
COUNT = """

def forward(self, x):
    with open("passes", "a") as file:
        file.write(f"{self.first.out_channels}\\n")
    return plain(self, x)
plain, Net.forward = Net.forward, forward
"""
"""Has every pass of a network leave a line with its width."""
FAST = ("probe.input_size=8", "probe.channels=3", "probe.batch_size=2", "report.baseline_batch_size=2")


def write(
    path: Path, spec: str, proxies: Sequence[str] = ("naswot",), overrides: Sequence[str] = FAST, **machine: Any
) -> int:
    return score_into_file(path, proxies, spec, overrides=overrides, machine=Machine(**machine), observer=Silent())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def passes() -> list[str]:
    """Widths of the networks that were run, since this was last asked."""
    path = Path("passes")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_a_row_for_each_network(zoo: Zoo) -> None:
    path = Path("new folder/scores.csv")
    spec = zoo("{'good': Net, 'tuple': Tuple, 'broken': broken, 'large': lambda: Net(8)}", "zoo_rows")
    assert write(path, spec, ["naswot", "parameter_count", "naswot_units"]) == 4
    found = rows(path)
    assert list(found[0]) == [
        "index", "network", "content", "naswot", "parameter_count", "naswot_units", "failed", "seconds",
    ]  # fmt: skip
    assert [row["network"] for row in found] == [f"zoo_rows:networks#{n}" for n in ("good", "tuple", "broken", "large")]
    assert [row["failed"] for row in found] == [
        "", "naswot: unfit;naswot_units: unfit",
        "naswot: network;parameter_count: network;naswot_units: network", "",
    ]  # fmt: skip
    good, tuple_, broken, large = found
    assert float(good["naswot"]) != float(large["naswot"])
    assert (tuple_["naswot"], tuple_["parameter_count"], broken["parameter_count"]) == ("", good["parameter_count"], "")
    assert [len(row["content"]) for row in found] == [32, 32, 0, 32]
    assert good["index"] == ""
    settings = json.loads(Path("new folder/scores.csv.settings.json").read_text())
    assert settings["format"] == "eznas-scores"
    assert list(settings["proxies"]) == ["naswot", "parameter_count", "naswot_units"]
    assert settings["conditions"]["input_size"] == 8


def test_official_indices_are_told(zoo: Zoo) -> None:
    assert write(Path("o.csv"), "nb201:11,284", ["parameter_count"], ()) == 2
    assert [row["index"] for row in rows(Path("o.csv"))] == ["11", "284"]


def test_members_that_fail_are_told(zoo: Zoo) -> None:
    spec = zoo("{'a': Net, 'b': lambda: Net(6), 'c': lambda: Net(8), 'tuple': Tuple}")
    sizes = ["--set", "probe.input_size=8", "--set", "probe.channels=3"]
    reference = ["--reference", f"{spec}#a;b;c", *sizes, "-o", "all.json", "-q"]
    assert main(["aggregate", "naswot+parameter_count", *reference]) == 0
    assert write(Path("o.csv"), spec, ["all.json"], ()) == 4
    found = rows(Path("o.csv"))
    assert [row["failed"] for row in found] == ["", "", "", "naswot+parameter_count[naswot]: unfit"]
    assert float(found[3]["naswot+parameter_count"]) < float(found[0]["naswot+parameter_count"])


def test_a_sum_without_a_reference_is_refused(zoo: Zoo) -> None:
    with pytest.raises(ConfigError, match=r"--output writes scores as they come, and naswot\+snip ranks among all"):
        write(Path("sum.csv"), "nb201:0,11", ["naswot+snip"], ())
    assert not Path("sum.csv").exists()


# Going on -------------------------------------------------------------------------------------------------------------


def test_the_same_command_goes_on(zoo: Zoo) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED + COUNT)
    assert write(path, spec) == 3
    whole = rows(path)
    assert {"4", "6", "8"} <= set(passes())
    before = path.read_bytes()
    assert write(path, spec) == 0
    assert path.read_bytes() == before
    path.write_bytes(b"".join(before.splitlines(keepends=True)[:2]))
    assert write(path, spec) == 2
    assert [row["naswot"] for row in rows(path)] == [row["naswot"] for row in whole]
    assert path.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("torn", [b"", b",zoo", b',"zoo:networks#c', b",x,y,1.5,,0.1"])
def test_a_torn_last_line_is_cut_off(zoo: Zoo, torn: bytes) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED)
    write(path, spec)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + torn)
    assert write(path, spec) == 1
    kept = [",".join(line.split(",")[:-1]) for line in path.read_text().splitlines()]
    assert kept == [",".join(line.split(",")[:-1]) for line in whole.decode().splitlines()]


def test_a_network_that_changed_is_scored_again(zoo: Zoo) -> None:
    """It has the same name, and another content."""
    path = Path("o.csv")
    zoo("{'a': Net, 'b': lambda: Net(6), 'c': broken, 'd': broken}", "zoo_changing")
    write(path, "python:zoo_changing:networks")
    before = {row["network"]: row for row in rows(path)}
    zoo("{'a': Net, 'b': lambda: Net(8), 'c': lambda: Net(10), 'd': broken}", "zoo_changing")
    told: list[str] = []
    observer = Silent()
    observer.note = told.append  # type: ignore[method-assign]
    n_scored = score_into_file(
        path, ["naswot"], "python:zoo_changing:networks", overrides=FAST, machine=Machine(), observer=observer
    )
    assert n_scored == 2
    assert told[-1] == "2 network(s) of o.csv have changed since and are scored again."
    after = {row["network"].partition("#")[2]: row for row in rows(path)}
    assert list(after) == ["a", "d", "b", "c"]
    assert after["a"] == before["zoo_changing:networks#a"]
    assert after["b"]["content"] != before["zoo_changing:networks#b"]["content"]
    assert after["b"]["naswot"] != before["zoo_changing:networks#b"]["naswot"]
    assert (before["zoo_changing:networks#c"]["failed"], after["c"]["failed"]) == ("naswot: network", "")


def test_other_networks_are_added_to_those_that_are_there(zoo: Zoo) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED)
    assert write(path, f"{spec}#b") == 1
    assert write(path, spec) == 2
    assert [row["network"].partition("#")[2] for row in rows(path)] == ["b", "a", "c"]


def test_what_was_scored_before_a_kill_is_in_the_file(tmp_path: Path) -> None:
    """Slow networks, killed after a few, stopped after a few more."""
    slow = "[(f'n{i}', Net(4 + i)) for i in range(12)]\n\nimport time\nplain = Net.forward\n"
    slow += "def forward(self, x):\n    time.sleep(.1)\n    return plain(self, x)\nNet.forward = forward\n"
    (tmp_path / "zoo_slow.py").write_text(f"{BASE}\ndef networks():\n    return {slow}")
    options = [word for setting in FAST for word in ("--set", setting)]
    start = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"  # ignored in the background
        "sys.path.insert(0, sys.argv.pop(1)); from eznas.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", start, str(Path(__file__).parents[3]), "score", "naswot", "--networks"]
    command += ["python:zoo_slow:networks", "-o", "o.csv", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    path = tmp_path / "o.csv"
    kept = b""
    for sign, status, n_lines in ((signal.SIGKILL, -signal.SIGKILL, 3), (signal.SIGINT, 130, 7)):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= n_lines):
                time.sleep(0.05)
            process.send_signal(sign)
            process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == status
        assert path.read_bytes().startswith(kept)
        kept = path.read_bytes()
        kept = kept[: kept.rfind(b"\n") + 1]
        assert n_lines <= kept.count(b"\n") < 13
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    n_kept = kept.count(b"\n") - 1
    assert f"Scoring {12 - n_kept} networks into o.csv" in done.stderr
    assert path.read_bytes().startswith(kept)
    assert [row["network"].partition("#")[2] for row in rows(path)] == [f"n{i}" for i in range(12)]
    assert all(row["naswot"] and not row["failed"] for row in rows(path))


# What cannot be mixed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "overrides", "what"),
    [
        (["snip"], FAST, "proxies"), (["naswot", "snip"], FAST, "proxies"),
        (["naswot"], (*FAST, "seed=1"), "settings"), (["naswot"], FAST[1:], "settings"),
    ],
)  # fmt: skip
def test_other_proxies_or_settings_are_refused(
    zoo: Zoo, proxies: list[str], overrides: tuple[str, ...], what: str
) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED)
    write(path, spec)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"^o.csv was begun with other {what} \(see o.csv.settings.json\); choose"):
        write(path, spec, proxies, overrides)
    assert path.read_bytes() == before


def test_a_proxy_is_known_by_its_definition(zoo: Zoo) -> None:
    """A formula of the same file name and another content is another proxy; versions count too."""
    path, spec = Path("o.csv"), zoo(COUNTED)
    Path("mine.txt").write_text("(sum_layers (mean_abs weight))")
    write(path, spec, ["mine.txt"])
    Path("mine.txt").write_text("(sum_layers\n  (mean_abs weight))")
    assert write(path, spec, ["mine.txt"]) == 0
    Path("mine.txt").write_text("(mean_layers (mean_abs weight))")
    with pytest.raises(ConfigError, match="begun with other proxies"):
        write(path, spec, ["mine.txt"])
    beside = Path("o.csv.settings.json")
    settings = json.loads(beside.read_text())
    settings["versions"]["torch"] = "1.0"
    beside.write_text(json.dumps(settings))
    Path("mine.txt").write_text("(sum_layers (mean_abs weight))")
    with pytest.raises(ConfigError, match="begun with other versions"):
        write(path, spec, ["mine.txt"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged: its rows do not have the columns index, network, content, naswot, failed, seconds"),
        (b"a,b\n1,2\n", "is damaged: its rows do not have the columns"),
        (b"index,network,content,naswot,failed,seconds\n1,2\n", "is damaged"),
        (b"\xff\xfe\n", "is not a file of scores"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_left_as_it_is(zoo: Zoo, content: bytes, message: str) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED)
    write(path, spec)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        write(path, spec)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"format": "eznas-scores", "version": 1}'])
def test_a_file_without_its_settings_is_refused(zoo: Zoo, content: bytes | None) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED)
    write(path, spec)
    beside = Path("o.csv.settings.json")
    beside.unlink() if content is None else beside.write_bytes(content)
    with pytest.raises(ConfigError, match=r"o.csv.settings.json"):
        write(path, spec)


def test_what_is_no_regular_file_is_refused(zoo: Zoo) -> None:
    os.mkfifo("pipe")
    with pytest.raises(OutputError, match=r"--output pipe is no regular file, .*leave out --output and redirect"):
        write(Path("pipe"), zoo(COUNTED))
    Path("file").write_text("")
    with pytest.raises(OutputError, match=r"file/o\.csv"):
        write(Path("file/o.csv"), zoo(COUNTED))


def test_a_second_writer_is_refused(zoo: Zoo) -> None:
    path, spec = Path("o.csv"), zoo(COUNTED)
    with filelock.FileLock(".o.csv.lock"):
        caught: list[BaseException] = []

        def second() -> None:
            try:
                write(path, spec)
            except OutputError as error:
                caught.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    (error,) = caught
    assert str(error) == "o.csv is being written by another process; wait for it to end, or choose another --output"
    assert not path.exists()
    assert write(path, spec) == 3
