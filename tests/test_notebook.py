"""The notebook of first steps: kept without outputs, and executed as it stands, by a kernel of this interpreter."""

from __future__ import annotations

import ast
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from eznas.study import Study
from tests.test_documents import LINK, ROOT, is_ours, names_of_ours, resolve

NOTEBOOK = ROOT / "docs" / "first-steps.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_the_notebook_is_kept_without_outputs() -> None:
    """And without what a notebook notes of its machine and its last execution."""
    notebook = read()
    nbformat.validate(notebook)
    for cell in cells(notebook, "code"):
        assert (cell.outputs, cell.execution_count, cell.metadata) == ([], None, {}), cell.id
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert dict(notebook.metadata.language_info) == {"name": "python"}


def test_what_the_notebook_says_exists() -> None:
    said = "\n".join(cell.source for cell in cells(read(), "markdown"))
    targets = LINK.findall(said)
    assert len(targets) > 2
    assert "docs/first-steps.ipynb" in LINK.findall((ROOT / "README.md").read_text())
    assert [target for target in targets if not (NOTEBOOK.parent / target).is_file()] == []
    for code in re.findall(r"^```python\n(.*?)^```$", said, re.M | re.S):
        for dotted in filter(is_ours, names_of_ours(code)):
            resolve(dotted)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, in which the notebook is executed."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def executed(work: Path) -> dict[str, Any]:
    """What each cell of code shows at its end, by the cell's id and then by kind of content."""
    notebook = read()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "EZNAS_CACHE": str(work / "cache"), "EZNAS_DATA": "",
        "IPYTHONDIR": str(work / "ipython"),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as sockets:  # under a short path, as the address of a socket must be
        manager = KernelManager(
            kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), transport="ipc",
            ip=str(Path(sockets) / "kernel"), connection_file=str(Path(sockets) / "kernel.json"),
        )  # fmt: skip
        assert manager.kernel_spec is not None
        assert manager.kernel_spec.argv[0] == sys.executable
        client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(work)}})
        try:
            client.execute(env=environment)
        finally:
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)
    return {
        cell.id: output.data
        for cell in cells(notebook, "code")
        for output in cell.outputs
        if output.output_type == "execute_result"
    }


def test_the_notebook_runs_from_networks_to_a_scored_residual_network(executed: dict[str, Any], work: Path) -> None:
    (folder,) = (work / "runs").iterdir()
    study = Study(folder)
    assert study.is_complete
    assert study.result.run.n_folds == 5
    assert study.best.name[:8] in executed["evolve"]["text/html"]
    shown = ast.literal_eval(executed["front"]["text/plain"])
    assert shown == [(proxy.name[:8], proxy.program.text) for proxy in study.front]
    assert "parameter_count" in executed["measured"]["text/html"]
    assert study.best.latex in executed["latex"]["text/latex"]
    scores = ast.literal_eval(executed["scores"]["text/plain"])
    assert list(scores) == ["resnet8", "resnet14", "resnet20"]
    assert len(set(scores.values())) == 3
    assert all(map(math.isfinite, scores.values()))
