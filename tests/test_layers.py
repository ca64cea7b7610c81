"""Imports go one way, names are unique and telling, files and functions stay small, light modules stay light."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
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


MAX_LINES = 40
MAX_PARAMETERS = 8
FILLER_WORDS = frozenset(
    [
        "found",
        "said",
        "own",
        "one",
        "each",
        "told",
        "asked",
        "given",
        "place",
        "kind",
        "share",
        "part",
        "rest",
        "made",
        "judged",
        "guarded",
        "answered",
        "accepted",
        "counted",
        "grown",
        "opened",
    ]
)
TREES = {path: ast.parse(path.read_text()) for path in FILES}
DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def yaml_targets():
    """The functions and classes that YAML files name, by their names."""
    texts = [path.read_text() for path in (ROOT.parent / "configs").rglob("*.yaml")]
    return {path.rpartition(".")[2] for text in texts for path in re.findall(r"_target_: (recsys\.[\w.]+)", text)}


def functions(tree):
    """Every function of a module, with the names of the classes and functions around it."""
    stack = [(tree, ())]
    while stack:
        node, outer = stack.pop()
        for child in ast.iter_child_nodes(node):
            name = getattr(child, "name", None) if isinstance(child, DEFINITION) else None
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield child, outer
            stack.append((child, (*outer, name) if name else outer))


def parameters_of(function):
    signature = function.args
    return [*signature.posonlyargs, *signature.args, *signature.kwonlyargs]


def test_public_names_are_unique():
    paths = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, DEFINITION) and not node.name.startswith("_"):
                paths[node.name].append(str(path.relative_to(ROOT)))
    # measure: the common entry point of the benchmark tasks
    assert {name: found for name, found in paths.items() if len(found) > 1 and name != "measure"} == {}


def forced_by_yaml(tree):
    """The parameters that YAML fills: of classes and functions that a `_target_` names."""
    targets = yaml_targets()
    for function, outer in functions(tree):
        if function.name in targets or (function.name == "__init__" and outer[-1] in targets):
            yield from parameters_of(function)


def bound_names(tree):
    exempt = set(map(id, forced_by_yaml(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg) and id(node) not in exempt:
            yield node.arg
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def test_fewer_than_one_name_in_a_hundred_is_a_filler_word():
    counts = Counter(name for tree in TREES.values() for name in bound_names(tree))
    fillers = {word: counts[word] for word in FILLER_WORDS if counts[word]}
    assert sum(fillers.values()) < 0.01 * counts.total(), fillers


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_has_at_most_40_lines_and_8_parameters(path):
    targets = yaml_targets() | {"serve"}  # which the command line fills from configs/serve.yaml
    for function, outer in functions(TREES[path]):
        assert function.end_lineno - function.body[0].lineno < MAX_LINES, function.name
        if function.name != "__init__" and function.name not in targets:
            own = parameters_of(function)[1:] if outer and outer[-1][0].isupper() else parameters_of(function)
            assert len(own) <= MAX_PARAMETERS, function.name


def lines_with(pattern, paths):
    return [
        f"{path.relative_to(ROOT.parent)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_unused_arguments_are_rare():
    assert len(lines_with(r"noqa: [^#]*\bARG", FILES)) < 10


def test_kinds_of_models_are_told_apart_in_models_alone():
    paths = [path for path in FILES if "models" not in path.relative_to(ROOT).parts]
    assert len(lines_with(r"isinstance\([^)]*\b(Trainable|ClosedForm)\b", paths)) < 8


def test_docs_import_nothing_from_tests():
    pages = [ROOT.parent / "README.md", *(ROOT.parent / "docs").rglob("*"), *(ROOT.parent / "notebooks").glob("*")]
    files = [path for path in pages if path.is_file() and "node_modules" not in path.parts]
    assert lines_with(r"\b(from|import) tests\b", [path for path in files if path.suffix in TEXT_FILES]) == []


TEXT_FILES = (".md", ".py", ".mjs", ".js", ".ipynb", ".yaml", ".html", ".sh")


def test_only_extras_says_what_to_install():
    others = [path for path in FILES if path != ROOT / "extras.py"]
    assert lines_with(r"pip install", others) == []


def test_documents_and_settings_name_the_distribution():
    pages = [ROOT.parent / "README.md", *(ROOT.parent / "docs").glob("*.md")]
    settings = (ROOT.parent / "configs").rglob("*.yaml")
    assert lines_with(r"(?<![\w-])recsys\[|pip install (-\S+ )*'?recsys(?!-onnx)", [*pages, *settings]) == []
