"""What README and docs say exists: links, names, commands, settings, numbers; and what they promise runs."""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from experiments import blocks
from eznas.benchmarks import BENCHMARKS, shipped_names
from eznas.benchmarks.importers import IMPORTERS
from eznas.cli import app
from eznas.conditions import IMAGE_SETS
from eznas.errors import EznasError
from eznas.estimators import PUBLISHED
from eznas.fitness import OBJECTIVES
from eznas.oneshot import OneShotConfig, load_oneshot_config
from eznas.programs import parse
from eznas.proxies import KNOWN_PROGRAMS, RECIPES
from eznas.runs.config import RunConfig, config_from, load_config
from eznas.runs.front import load_front
from eznas.spaces import SPACES, networks_named

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README_BYTES = 14_500
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
IDS = [path.name for path in DOCUMENTS]


def fenced(path: Path, language: str) -> list[str]:
    return [found["text"] for found in FENCE.finditer(path.read_text()) if found["language"] == language]


def prose(path: Path) -> str:
    """A document without what is fenced."""
    return FENCE.sub("", path.read_text())


def spans(path: Path) -> list[str]:
    """What stands in backticks, in one line each."""
    return [" ".join(found.split()) for found in SPAN.findall(prose(path))]


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


# Files ----------------------------------------------------------------------------------------------------------------


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def broken_links(path: Path) -> list[str]:
    broken = []
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_a_link_to_nothing_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "# One page\n\n[a](#one-page) [b](#two) [c](page.md#one-page) [d](other.md) [e](https://a.org/#x)\n"
    )
    assert broken_links(path) == ["#two", "other.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_page_can_be_found_from_the_readme(path: Path) -> None:
    assert path.name == "README.md" or f"docs/{path.name}" in LINK.findall((ROOT / "README.md").read_text())


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_files_that_are_named_exist(path: Path) -> None:
    in_folder = re.compile(r"(?:eznas|experiments|docs|primitives|tests)/[\w./-]*")
    assert [span for span in spans(path) if in_folder.fullmatch(span) and not (ROOT / span).exists()] == []


# Python ---------------------------------------------------------------------------------------------------------------


def resolve(dotted: str) -> Any:
    """What a dotted name is, modules imported on the way.

    Raises:
        AttributeError: if there is no such thing.
    """
    name, *rest = dotted.split(".")
    found: Any = importlib.import_module(name)
    for part in rest:
        name = f"{name}.{part}"
        if not hasattr(found, part) and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
        found = getattr(found, part)
    return found


def names_of_ours(code: str) -> Iterator[str]:
    """Dotted names of the project that a piece of Python imports or uses."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if re.fullmatch(r"[\w.]+", dotted):
                yield dotted


def is_ours(dotted: str) -> bool:
    return dotted.partition(".")[0] in ("eznas", "primitives")


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_python_compiles_and_its_names_exist(path: Path) -> None:
    for code in fenced(path, "python"):
        for dotted in filter(is_ours, names_of_ours(code)):
            resolve(dotted)


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_names_in_sentences_exist(path: Path) -> None:
    for span in spans(path):
        found = re.match(r"((?:eznas|primitives)(?:\.\w+)+)(?:\(|$)", span)
        if found:
            resolve(found[1])


def test_a_name_that_is_gone_is_noticed() -> None:
    found = set(filter(is_ours, names_of_ours("import eznas, torch\neznas.proxies.score('naswot', n, x)")))
    assert found == {"eznas", "eznas.proxies", "eznas.proxies.score"}
    with pytest.raises(AttributeError):
        resolve("eznas.proxies.score")


KINDS = {
    "estimators.md": [*(row.name for row in PUBLISHED), *KNOWN_PROGRAMS],
    "aggregates.md": RECIPES,
    "search.md": OBJECTIVES,
    "families.md": shipped_names(),
    "data.md": [
        *(name for name in BENCHMARKS if name not in shipped_names()),
        *IMPORTERS,
        *(file for row in BENCHMARKS.values() for file in row.files),
        *(images.file for images in IMAGE_SETS.values() if images.file is not None),
    ],
}
"""Pages that name everything of a kind."""


@pytest.mark.parametrize("page", KINDS)
def test_pages_name_everything_of_their_kind(page: str) -> None:
    named = set(spans(ROOT / "docs" / page))
    assert [name for name in KINDS[page] if name not in named] == []


def test_correlations_are_of_estimators_that_exist() -> None:
    rows = re.findall(r"^\| ([a-z_0-9]+) \|", prose(ROOT / "docs" / "estimators.md"), re.M)[1:]
    assert len(rows) > 20
    assert set(rows) <= set(KINDS["estimators.md"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_networks_that_are_named_exist(path: Path) -> None:
    for span in spans(path):
        if re.match(rf"(?:{'|'.join(SPACES)}):[^.]", span) and "..." not in span and not span.startswith("python:"):
            assert networks_named(span)


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_formulas_can_be_read(path: Path) -> None:
    for line in re.findall(r"^    (\(.+\))$", prose(path), re.M):
        parse(line)


# Command line ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One ``eznas`` command of a console block."""

    path: Path
    arguments: tuple[str, ...]


def commands(path: Path) -> list[Line]:
    found = []
    for block in fenced(path, "console"):
        for line in block.splitlines():
            for command in re.split(r"&&|\| head", line.removeprefix("$ ")) if line.startswith("$ ") else ():
                words = shlex.split(command, comments=True)
                if words and words[0].rpartition("/")[2] == "eznas":
                    found.append(Line(path, tuple(words[1:])))
    return found


LINES = [line for path in DOCUMENTS for line in commands(path)]


def parsed(arguments: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of the command that these arguments call; nothing runs."""
    command, rest = command_named(arguments)
    return dict(command.make_context("eznas", list(rest)).params)


def command_named(words: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """The command that these words call, and those that follow its name."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name = words[0] if words else ""
        assert name in command.commands, f"No such command: {name!r}"
        command, words = command.commands[name], words[1:]
    return command, words


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.arguments))
def test_commands_are_understood(line: Line) -> None:
    load_config(None, parsed(line.arguments).get("overrides") or ())


def test_there_are_commands_of_every_kind() -> None:
    used = {line.arguments[0] for line in LINES}
    known: Any = typer.main.get_command(app)
    assert used >= set(known.commands) - {"estimators", "gallery"}


@pytest.mark.parametrize("arguments", ["evolve --generations 5", "train", "data prune --keep 1", "score naswot"])
def test_a_command_that_is_gone_is_noticed(arguments: str) -> None:
    with pytest.raises(Exception, match=r"No such|Missing"):
        parsed(tuple(arguments.split()))


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_commands_and_options_in_sentences_exist(path: Path) -> None:
    for span in spans(path):
        words = span.replace("`", "").split()
        if words[0] != "eznas" or len(words) < 2:
            continue
        command, rest = command_named(words[1:])
        assert {word for word in rest if word.startswith("--")} <= options_of(command), span


def every_option() -> set[str]:
    pending: list[Any] = [typer.main.get_command(app)]
    found: set[str] = set()
    while pending:
        command = pending.pop()
        found |= options_of(command)
        pending += getattr(command, "commands", {}).values()
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_options_that_stand_alone_exist(path: Path) -> None:
    alone = {span.split()[0] for span in spans(path) if re.match(r"--[a-z]", span)}
    assert alone <= every_option()


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_targets_of_make_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:`|^\$ )make ([a-z0-9-]+)", path.read_text(), re.M)
    assert set(named) <= targets


# Settings -------------------------------------------------------------------------------------------------------------

CONFIGS: dict[str, Any] = {"oneshot.md": OneShotConfig}
"""Pages about settings other than those of a run."""
SECTIONS = "|".join(
    name
    for config in (RunConfig, *CONFIGS.values())
    for name, field in config.model_fields.items()
    if hasattr(field.annotation, "model_fields")
)
FILES = (".html", ".py", ".toml")
"""Ends of names that look like a setting and are a file."""
SETTING = re.compile(rf"((?:{SECTIONS})\.\w+)(?: ?= ?(.+))?")


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_settings_in_sentences_exist(path: Path) -> None:
    for span in spans(path):
        found = SETTING.fullmatch(span)
        if found is None or Path(span).suffix in FILES:
            continue
        key, value = found.groups()
        config = CONFIGS.get(path.name, RunConfig)
        if value is not None:
            (load_config if config is RunConfig else load_oneshot_config)(None, [f"{key}={value}"])
        else:
            section, name = key.split(".")
            assert name in type(getattr(config(), section)).model_fields, span


def test_a_setting_that_is_gone_is_noticed() -> None:
    assert SETTING.fullmatch("evolution.early_decisions = true") is not None
    with pytest.raises(EznasError, match="early_decisions"):
        load_config(None, ["evolution.early_decisions = true"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_settings_in_files_are_accepted(path: Path) -> None:
    for text in fenced(path, "toml"):
        config_from(tomllib.loads(text), where=path.name)


def test_the_file_of_a_cluster_is_one_that_ray_reads() -> None:
    """By Ray's own check of what ``ray up`` is given."""
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    (text,) = fenced(ROOT / "docs" / "cluster.md", "yaml")
    described = prepare_config(yaml.safe_load(text))
    validate_config(described)
    assert described["provider"]["worker_ips"]
    with pytest.raises(Exception, match="provider"):
        validate_config({key: value for key, value in described.items() if key != "provider"})


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_blocks_of_numbers_are_those_of_the_results(path: Path) -> None:
    text = path.read_text()
    assert blocks.with_blocks(text, path.name) == text


def test_every_block_is_used() -> None:
    everything = "".join(path.read_text() for path in DOCUMENTS)
    assert [name for name in blocks.BLOCKS if f"<!-- block:{name} -->\n" not in everything] == []


def test_a_block_is_written_from_its_results(tmp_path: Path) -> None:
    result = json.loads((blocks.RESULTS / "quickstart.json").read_text())
    result["proxies"][0]["tau"]["value"] = 0.12345
    (tmp_path / "quickstart.json").write_text(json.dumps(result))
    text = "before\n<!-- block:quickstart -->\nold\n<!-- end -->\nafter\n"
    written = blocks.with_blocks(text, "page.md", tmp_path)
    assert written.startswith("before\n<!-- block:quickstart -->\n")
    assert written.endswith("<!-- end -->\nafter\n")
    assert "| .123 [" in written
    assert "old" not in written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- block:demmo -->\n<!-- end -->\n", "known are coverage"),
        ("<!-- block:demo -->\n<!-- end -->\n", "has no results demo.json"),
        ("<!-- block:demo -->\nand so on\n", "does not end"),
    ],
)
def test_a_block_that_cannot_be_written_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(blocks.BlockError, match=problem):
        blocks.with_blocks(text, "page.md", tmp_path)


# What is promised, run ------------------------------------------------------------------------------------------------

TINY = [
    "evolution.population_size=6", "evolution.initial_size=6", "evolution.n_generations=1",
    "probe.batch_size=2", "probe.input_size=8", "report.bootstrap=100", "report.simplify_seconds=1",
    "report.badge_networks=0",
    "report.front_size=2", 'report.baselines=["parameter_count"]',
]  # fmt: skip
DRIVER = """
import json, runpy, sys
import pytest
import eznas.study.run
from eznas.cli import main
from tests.eznas.tiny import leave_out_reports, simplify_nothing
commands, tiny = json.load(sys.stdin)
patch = pytest.MonkeyPatch()
patch.setattr("eznas.study.measure.simplify", simplify_nothing)
for arguments in commands:
    status = main(arguments)
    if status:
        sys.exit(status)
leave_out_reports(patch)  # of the second run, which has the same
defaults = eznas.study.run.load_config
patch.setattr(eznas.study.run, "load_config", lambda path=None: defaults(path, tiny))  # as printed, but small
sys.path.insert(0, "")
runpy.run_path("mine.py", run_name="__main__")
"""


def readme_command(*beginning: str) -> list[str]:
    """The one command of the README on networks of one's own that begins so."""
    (found,) = [
        line.arguments
        for line in LINES
        if line.path.name == "README.md" and line.arguments[: len(beginning)] == beginning and "python:zoo:networks" in
        line.arguments
    ]  # fmt: skip
    return list(found)


def file_of_readme(name: str) -> str:
    """The Python of the README that begins with this name as a comment."""
    (found,) = [code for code in fenced(ROOT / "README.md", "python") if code.startswith(f"# {name}\n")]
    return found


def test_the_first_example_of_the_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The narrowest and flattest of its networks scores lowest."""
    assert fenced(ROOT / "README.md", "python")[0] == file_of_readme("first.py")
    (tmp_path / "first.py").write_text(file_of_readme("first.py"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        runpy.run_path(str(tmp_path / "first.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    scores = [float(line.rpartition(") ")[2]) for line in lines]
    assert len(scores) == 3
    assert scores[0] < min(scores[1:])
    assert all(map(math.isfinite, scores))


def test_networks_of_your_own_from_the_readme(tmp_path: Path) -> None:
    for name in ("first.py", "zoo.py", "mine.py"):
        (tmp_path / name).write_text(file_of_readme(name))
    (table,) = fenced(ROOT / "README.md", "csv")
    (tmp_path / "zoo.csv").write_text(table)
    header, *rows = table.splitlines()
    assert header == "network,accuracy"
    assert len(rows) == 20

    evolve = readme_command("evolve")
    score = readme_command("score")
    folder = evolve[evolve.index("--run-dir") + 1]
    asked = [
        [*evolve, "--quiet", *(word for setting in TINY for word in ("--set", setting))],
        ["export", folder, "best", "-o", "proxy.py"],
        [*score, "--quiet", "--format", "csv"],
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EZNAS_CACHE": str(tmp_path / "cache"), "EZNAS_DATA": ""}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps([asked, TINY]), cwd=tmp_path, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    front = load_front(tmp_path / folder)
    assert front.run.n_folds == 5
    assert front.entry("best").report["own"].n == len(rows)
    assert any("cross-fitted" in note for note in front.run.notes)
    assert (tmp_path / "proxy.py").is_file()
    scores = [line for line in done.stdout.splitlines() if line.startswith("zoo:networks#") or "#w" in line]
    assert len(scores) == len(rows)
    assert math.isfinite(float(done.stdout.splitlines()[-1]))
    (by_python,) = (path for path in (tmp_path / "runs").iterdir() if path.name != "mine")
    assert load_front(by_python).run.n_folds == 5

    figures = blocks.quickstart_of_run(tmp_path / folder, "a machine")
    assert figures["id"] == (front.pick.id if front.pick else None)
    assert [row["name"] for row in figures["proxies"][1:]] == ["parameters"]
    assert any("a machine" in line for line in blocks.quickstart_lines(figures))
