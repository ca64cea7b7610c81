"""Notebooks run from top to bottom, say nothing on stderr, and hold text and calls alone."""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    assert all(not cell.outputs and cell.execution_count is None for cell in code(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_defined(path):
    nodes = [node for cell in code(path) for node in ast.walk(ast.parse(cell.source))]
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
    assert any(isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recsys") for node in nodes)


def executed(path, folder):
    """The notebook with its outputs, run in an empty folder."""
    notebook = nbformat.read(path, 4)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(folder)}
    client = NotebookClient(
        notebook, timeout=1500, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return notebook


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's client, not of the notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_without_a_word_on_stderr(path, tmp_path):
    said = [output for cell in code_of(executed(path, tmp_path)) for output in cell.outputs]
    assert not [output.text for output in said if output.get("name") == "stderr"]


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
