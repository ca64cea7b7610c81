"""The documents keep what they promise: complete lists, links that lead somewhere, code that runs."""

import json
import re
import sys
from pathlib import Path

import pytest

from recsys.cli.main import main
from recsys.config.settings import config_dir
from recsys.serving.recommender import Recommender
from tests.composed import LOSSES
from tests.contracts import test_models as contract
from tests.planted import planted_log

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = sorted(path.name for path in config_dir().iterdir() if path.is_dir())
PACKAGES = sorted({path.parent for path in (ROOT / "recsys").rglob("*.py")})


def row(first):
    """The names in backticks behind the first cell of a row of the reference."""
    found = re.search(rf"^\| `{re.escape(first)}` \|(.*)$", REFERENCE.partition("## Groups")[2], re.MULTILINE)
    assert found, f"docs/reference.md has no line for {first}"
    return set(re.findall(r"`([\w.]+)`", found[1]))


def test_every_command_has_its_line():
    section = REFERENCE.partition("## Groups")[0]
    listed = {name for line in section.splitlines() if line.startswith("| `") for name in cells(line)[0]}
    assert listed - {"recsys …"} == {path.stem.replace("_", " ") for path in config_dir().glob("*.yaml")}


def cells(line):
    """The names in backticks, cell by cell."""
    return [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_its_line_with_every_choice(group):
    assert {path.stem for path in (config_dir() / group).glob("*.yaml")} <= row(group)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_every_module_has_a_line_below_its_package_and_nothing_else_has(package):
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    section = re.search(rf"^### `{re.escape(str(package.relative_to(ROOT)))}`.*?(?=^### |\Z)", REFERENCE, re.M | re.S)
    lines = re.findall(r"^\| `(\w+)` \| (.+) \|$", section[0], re.MULTILINE) if section else []
    assert {name for name, _ in lines} == modules
    assert all(len(text.split()) >= 3 for _, text in lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_every_page_is_linked_from_another(page):
    others = [other.read_text(encoding="utf-8") for other in PAGES if other != page]
    assert any(f"{page.name})" in text for text in others)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """A folder with what docs/add_a_model.md says to write."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "my_shop").mkdir()
    (folder / "conf/model").mkdir(parents=True)
    (folder / "my_shop/__init__.py").touch()
    (folder / "my_shop/markov_chain.py").write_text(blocks("docs/add_a_model.md", "python")[0])
    (folder / "conf/model/markov_chain.yaml").write_text(blocks("docs/add_a_model.md", "yaml")[0])
    planted_log().to_csv(folder / "events.csv", index=False)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["dataset", "shop", "mixed"])
def test_the_model_of_the_tutorial_keeps_the_contract(tutorial, fixture, request, tmp_path):
    data, asked = request.getfixturevalue(fixture), ("markov_chain", f"hydra.searchpath=[{tutorial}/conf]")
    contract.test_scores_every_item_finitely_and_hides_padding(*asked, data)
    contract.test_padding_changes_nothing(*asked, data)
    contract.test_a_user_scores_the_same_alone_as_in_a_batch(*asked, data)
    contract.test_empty_history_and_unknown_user_are_answered(*asked, data)
    contract.test_unknown_users_with_other_histories_get_other_lists(*asked, data)
    contract.test_survives_saving(*asked, data, tmp_path)
    contract.test_a_query_never_sees_what_comes_after_it(*asked, data)
    for loss in LOSSES:
        contract.test_every_loss_reaches_every_parameter(*asked, loss, data)
    contract.test_the_loss_is_that_of_what_is_ranked(*asked, data)


@pytest.mark.slow
def test_the_commands_of_the_tutorial_train_and_export(tutorial, monkeypatch, capsys):
    monkeypatch.chdir(tutorial)
    commands = [line for line in blocks("docs/add_a_model.md", "bash")[0].splitlines() if line.startswith("recsys ")]
    cheaper = ["trainer.max_epochs=30", "optimizer.lr=0.01", "ks=[5,10]", "threads=1"]
    for command in commands:
        more = [word for word in cheaper if "hydra.run.dir" in command]
        monkeypatch.setattr(sys, "argv", [*command.split(), *more])
        main()
    assert "window: 3  # events looked back at" in capsys.readouterr().out
    metrics = json.loads((tutorial / "runs/chain/metrics.json").read_text())
    assert metrics["test"]["hr@5"] > 1.5 * metrics["baselines"]["popularity"]["test"]["hr@5"]
    answer = Recommender(tutorial / "runs/chain/model.onnx").recommend(["3"], k=5)
    assert len(answer.items) == 5
