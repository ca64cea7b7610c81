"""Search spaces in Hydra's words."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys.config.settings import config_dir
from recsys.errors import ConfigError

optuna = pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import FixedTrial  # noqa: E402

from recsys.apps.sweep.search_space import parse_search_space  # noqa: E402

SWEEPS = sorted(path.stem for path in (config_dir() / "sweep").glob("*.yaml"))


def space(**said):
    return parse_search_space(OmegaConf.create(said))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("interval(0.1, 2)", FloatDistribution(0.1, 2.0)),
        ("tag(log, interval(0.001, 0.1))", FloatDistribution(0.001, 0.1, log=True)),
        ("int(interval(1, 4))", IntDistribution(1, 4)),
        ("tag(log, int(interval(10, 1000)))", IntDistribution(10, 1000, log=True)),
        ("range(10,50,10)", IntDistribution(10, 40, step=10)),
        ("choice(32,64)", CategoricalDistribution(["32", "64"])),
        ("choice([128],[128,64])", CategoricalDistribution(["[128]", "[128,64]"])),
        ("null,7", CategoricalDistribution(["null", "7"])),
    ],
)
def test_hydras_words_are_read(said, expected):
    (setting,) = space(a={"b": said})
    assert (setting.key, setting.distribution) == ("a.b", expected)


@pytest.mark.parametrize(
    "said", ["7", "interval(1", "interval(1)", "uniform(0,1)", "tag(log, interval(0, 1))", "range(3,1)"]
)
def test_what_cannot_be_read_names_itself_and_shows_what_can(said):
    with pytest.raises(ConfigError, match=r"space\.model\.dim='.*' cannot be read .*choice\(32,64\)"):
        space(model={"dim": said})


def test_an_empty_space_is_refused():
    with pytest.raises(ConfigError, match="space is empty"):
        space()


@pytest.mark.parametrize(
    ("said", "value", "word"),
    [
        ("choice([128],[128,64])", "[128,64]", "a=[128,64]"),
        ("int(interval(1, 4))", 3, "a=3"),
        ("interval(0, 1)", 1 / 3, f"a={1 / 3!r}"),
    ],
)
def test_what_was_drawn_becomes_a_word(said, value, word):
    (setting,) = space(a=said)
    assert setting.suggest(FixedTrial({"a": value})) == word


@pytest.mark.parametrize(
    ("value", "said", "found"),
    [([128, 64], "choice([128],[128,64])", "[128,64]"), (None, "null,7", "null"), (True, "choice(false,true)", "True"),
     (2, "interval(1, 4)", 2)],
)  # fmt: skip
def test_what_stands_is_found_in_the_space(value, said, found):
    (setting,) = space(a=said)
    assert setting.find_default(OmegaConf.create({"a": value}), {}) == found


def test_what_stands_may_be_a_choice_of_a_group():
    (setting,) = space(loss="choice(softmax,gbce)")
    assert setting.find_default(OmegaConf.create({"loss": {"chunk": 1}}), {"loss": "gbce"}) == "gbce"


def test_a_space_without_what_stands_is_refused():
    (setting,) = space(a="interval(1, 4)")
    with pytest.raises(ConfigError, match=r"a=9 lies outside the sweep's interval\(1, 4\)"):
        setting.find_default(OmegaConf.create({"a": 9}), {})
    with pytest.raises(ConfigError, match="the configuration has no 'a'"):
        setting.find_default(OmegaConf.create({"b": 9}), {})


@pytest.mark.parametrize("data", ["complete_journey", "amazon_beauty", "csv"])
@pytest.mark.parametrize("name", SWEEPS)
def test_the_defaults_lie_in_every_space(name, data, monkeypatch):
    monkeypatch.setenv("RECSYS_DATA", "anywhere")
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("sweep", [f"sweep={name}", f"data={data}"], return_hydra_config=True)
    for setting in parse_search_space(config.space):
        setting.find_default(config, config.hydra.runtime.choices)
