"""Imports flow one way, files stay small, and light things stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "recsys"
FILES = sorted(ROOT.rglob("*.py"))
TRAINED = {"export", "evaluation", "models", "data"}
ALLOWED = {
    "persons": {"persons", "config"},
    "data": {"data", "persons", "kinds"},
    "metrics": {"metrics"},
    "models": {"models", "data", "kinds"},
    "losses": {"losses", "data", "kinds"},
    "evaluation": {"evaluation", "data", "metrics"},
    "report": {"report", "evaluation", "metrics"},
    "kinds": {"kinds"},
    "config": {"config", "kinds"},
    "help": {"help", "config"},
    "api": {"api", "export", "training", "config", "run"},
    "stop": {"stop"},
    "run": {"run", "config"},
    "training": {"training", "data", "models", "losses", "metrics", "evaluation", "report", "config", "run"},
    "assistant": {"assistant", "serving", "config"},
    "abtest": {"abtest", "serving", "data", "config", "run"},
    "bulk": {"bulk", "serving", "export", "training", "config", "run"},
    "insights": {"insights", "training", "models", "data", "config", "run"},
    "forecast": {"forecast", "insights", "bulk", "config", "run"},
    "benchmark": {"benchmark", "assistant", "serving", "training", "config", "run"} | TRAINED,
    "serving": {"serving", "config", "persons"},
    "page": {"page"},
    "card": {"card", "page", "run", "config"},
    "leaderboard": {"leaderboard", "run", "config"},
    "looking": {"looking", "insights", "leaderboard", "page", "training", "evaluation", "metrics", "models", "data"}
    | {"run", "config"},
    "export": {"export", "card", "serving", "training", "models", "data", "evaluation", "config", "run"},
    "privacy": {"privacy", "persons", "serving", "training", "metrics", "config", "run"} | TRAINED,
    "lifecycle": {"lifecycle", "serving", "training", "metrics", "report", "config", "run"} | TRAINED,
    "sweep": {"sweep", "leaderboard", "export", "training", "models", "data", "report", "config", "run"},
    "cli": {"benchmark", "bulk", "sweep", "serving", "export", "config", "data", "training", "run", "help", "stop"},
}


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
    if path.name == "__init__.py":
        return
    assert set(imported(path)) <= ALLOWED[layer(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_250_lines(path):
    # the recommender has to be one file: it is copied beside a model
    assert len(path.read_text().splitlines()) <= (300 if path.name == "recommender.py" else 250)


@pytest.mark.parametrize("light", ["recsys", "recsys.cli.main", "recsys.config.build"])
def test_light_modules_load_neither_torch_nor_pandas(light):
    code = f"import sys, {light}; print(*[m for m in ('torch', 'pandas', 'duckdb', 'scipy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
