"""Every setting in YAML is read by the class it names, and every composition holds."""

import pytest
import yaml
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from recsys.config.build import TRAINING_SETTINGS, build, parameters
from recsys.config.settings import check_required_settings, check_settings, config_dir
from recsys.errors import ConfigError, DataError
from tests.composed import EXPERIMENTS, MODELS, composed

COMMANDS = [path.stem for path in sorted(config_dir().glob("*.yaml")) if "\n_target_: " in "\n" + path.read_text()]
INJECTED = {"spec", "dataset", "split", "seed", "shard", "params"}
OWN = [path for path in sorted(config_dir().glob("*/*.yaml")) if "_target_: recsys." in path.read_text()]


def own_nodes(node):
    """Every node of ours below, with its target."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("recsys."):
            yield node
        for child in node.values():
            yield from own_nodes(child)


DATA = [
    (f"data={path.stem}", *(["data.path=FILE"] if "path:" in path.read_text() else []))
    for path in sorted((config_dir() / "data").glob("*.yaml"))
    if path.stem != "base"
]


@pytest.mark.parametrize(
    "words", [*DATA, *((f"model={name}",) for name in MODELS), *((f"experiment={name}",) for name in EXPERIMENTS)]
)
def test_yaml_lists_every_setting_and_no_other(words, monkeypatch):
    monkeypatch.setenv("RECSYS_DATA", "anywhere")
    config = OmegaConf.to_container(composed(*words), resolve=True)
    for node in own_nodes(config):
        settings = {key for key in node if not key.startswith("_")} - INJECTED - {"path"}
        expected = set(parameters(node["_target_"])) - INJECTED - {"path"}
        partial = {"dim"} if node.get("_partial_") else set()
        assert settings == expected - partial, node["_target_"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_lists_every_setting_of_its_function(name):
    check_settings(composed(name=name))
    config = composed(name=name)
    taken = set(parameters(config._target_))
    unused = TRAINING_SETTINGS - taken if "data" in config else set()
    assert {key for key in config if not key.startswith("_")} - unused == taken


@pytest.mark.parametrize("group", ["split", "batches", "loss", "optimizer", "trainer", "logger", "baselines"])
def test_every_choice_composes(group):
    for path in sorted((config_dir() / group).glob("*.yaml")):
        check_settings(composed(f"{group}={path.stem}"))


@pytest.mark.parametrize("words", DATA)
def test_every_data_set_composes(words):
    check_settings(composed(*words))


def test_a_setting_that_must_be_given_names_itself():
    with pytest.raises(ConfigError, match=r"data\.path is not set; write data\.path=VALUE"):
        check_required_settings(composed("data=csv"))
    with pytest.raises(ConfigError, match=r"data\.source.events is not set"):
        check_required_settings(composed("data=sql", "data.source.url=sqlite://"))
    check_required_settings(composed())


def test_build_raises_what_the_class_raises():
    with pytest.raises(DataError, match="'h' is unknown"):
        build(
            OmegaConf.create(
                {"clock": {"_target_": "recsys.data.schema.Clock", "unit": "h"}, "_target_": "builtins.dict"}
            )
        )


@pytest.mark.parametrize("path", OWN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_default_in_yaml_equals_default_in_code(path):
    node = yaml.safe_load(path.read_text())
    if "_target_" not in node or path.parent.name in ("experiment", "data"):
        return
    for name, parameter in parameters(node["_target_"]).items():
        if name in node and parameter.default is not parameter.empty:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            assert node[name] == default, f"{path.stem}.{name}"


def test_the_data_set_names_its_split_and_the_command_line_wins():
    assert composed("data=complete_journey").split._target_.endswith("GlobalTime")
    assert composed("data=movielens_1m").split._target_.endswith("LeaveOneOut")
    assert composed("data=complete_journey", "split=leave_one_out").split._target_.endswith("LeaveOneOut")


def test_unknown_setting_names_itself_and_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown setting 'model.droput' .* did you mean 'dropout'"):
        check_settings(composed("+model.droput=0.5"))


def test_unknown_key_and_choice_are_refused_by_hydra():
    with pytest.raises(ConfigCompositionException):
        composed("model.droput=0.5")
    with pytest.raises(ConfigCompositionException):
        composed("model=two_towers")


def test_build_gives_plain_lists_and_takes_facts():
    node = OmegaConf.create({"_target_": "builtins.dict", "widths": [1, 2]})
    assert build(node, fact=3) == {"widths": [1, 2], "fact": 3}
    assert type(build(node)["widths"]) is list


def test_no_value_shares_its_name_with_a_group():
    groups = {path.name for path in config_dir().iterdir() if path.is_dir()}
    values = {
        key for key, value in composed().items() if not isinstance(value, dict) and not OmegaConf.is_config(value)
    }
    assert not groups & values
