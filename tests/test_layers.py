"""Imports go one way, files stay small, light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "recsys"
FILES = sorted(ROOT.rglob("*.py"))
LAYERS = ["errors", "extras", "pseudonyms", "document", "config", "run", "data", "models", "losses", "evaluation",
          "training", "serving", "export", "api", "apps", "cli"]  # fmt: skip
"""from the bottom up; a module imports only from its own layer and from those before it"""
SERVING = {"serving", "errors", "extras", "pseudonyms"}
"""what the server may import: neither the data nor the models"""


def layer(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recsys."):
            yield node.module.split(".")[1]
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("recsys."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below(path):
    if path == ROOT / "__init__.py":
        return
    if path == ROOT / "kinds.py":  # an old path of recsys.config.types
        return
    own = layer(path)
    below = LAYERS[: LAYERS.index(own) + 1]
    assert set(imported(path)) <= (SERVING if own == "serving" else set(below))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_250_lines(path):
    # the recommender has to be one file: it is copied beside a model
    assert len(path.read_text().splitlines()) <= (300 if path.name == "recommender.py" else 250)


@pytest.mark.parametrize("light", ["recsys", "recsys.cli.main", "recsys.config.settings"])
def test_light_modules_load_neither_torch_nor_pandas(light):
    code = f"import sys, {light}; print(*[m for m in ('torch', 'pandas', 'duckdb', 'scipy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


MIDDLEWARE = sorted(f"recsys.serving.middleware.{path.stem}" for path in (ROOT / "serving/middleware").glob("[!_]*.py"))


@pytest.mark.parametrize(
    "module", ["recsys.serving.recommender", "recsys.serving.app", "recsys.serving.serve", *MIDDLEWARE]
)
def test_serving_loads_neither_torch_nor_pandas_nor_hydra(module):
    heavy = ("torch", "pandas", "hydra", "omegaconf", "duckdb", "scipy", "onnx")
    code = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
