"""Models from settings: what an old one is told, old import paths, and what a run's settings resolve to."""

import importlib
import sys

import pytest
import torch
from omegaconf import OmegaConf

from recsys.errors import ConfigError
from recsys.models.build import make_model, make_seeded_model
from recsys.training.train import resolve_run_settings
from tests.composed import composed

OLD_MODEL = '''\
import torch
from torch import Tensor, nn

from recsys.data.dataset import Dataset
from recsys.models.base import Columns, Facts, Trainable
from recsys.models.embedding import Rows, initialised, log_popularity, vectors


class MarkovChain(Trainable):
    """An item's score is its popularity and how often it follows each of the last `window` events, factorised."""

    order_aware = True  # so that splits which shuffle histories are refused
    repeat = None  # no bonus for items that the user already had; `recsys.models.repeat.Repeat` gives one

    def __init__(self, facts: Facts, dim: int = 64, window: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        self.left = initialised(facts.n_items + 1, dim)  # of an item that was had
        self.entered: nn.Embedding | Rows = initialised(facts.n_items + 1, dim)  # of an item that may follow
        self.popularity: nn.Embedding | Rows = initialised(facts.n_items + 1, 1)
        self.weight = nn.Parameter(1 / torch.arange(1.0, window + 1))  # of the newest event first
        self.start = nn.Parameter(torch.zeros(dim))  # what an empty history is
        self.dropout = nn.Dropout(dropout)

    def prepare(self, dataset: Dataset) -> None:
        """Start popularity at the log of the counts."""
        with torch.no_grad():
            self.popularity.weight.copy_(log_popularity(dataset))

    def encode(self, user: Columns, history: Tensor, events: Columns, request: Columns, ask: Tensor) -> Tensor:
        """(B Q D + 1) the query vectors: moment q sees the first `ask[b, q]` events and nothing after."""
        back = torch.arange(len(self.weight), device=ask.device)
        slot = ask[:, :, None] - 1 - back  # (B Q W), below 0 where the history is shorter
        items = history[:, None].expand(-1, ask.shape[1], -1).gather(2, slot.clamp(min=0))
        weight = self.weight * ((slot >= 0) & (items > 0))
        query = self.start + (self.left(items) * weight[..., None]).sum(dim=2)
        return torch.cat([self.dropout(query), torch.ones_like(query[..., :1])], dim=-1)

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """(… D + 1) the vectors of some items or of all, popularity as last column."""
        return torch.cat([vectors(self.entered, items), vectors(self.popularity, items)], dim=-1)

    def fold(self, matrix: Tensor) -> None:
        """Read item vectors from `matrix`, as the exported file stores them."""
        self.entered, self.popularity = Rows(matrix, 0, -1), Rows(matrix, -1)
'''
"""The tutorial's model as it was written for version 0.1."""

OLD_IMPORTS = [
    ("recsys.kinds", "Positive"),
    ("recsys.models.embedding", "Rows"),
    ("recsys.models.embedding", "initialised"),
    ("recsys.models.embedding", "log_popularity"),
    ("recsys.models.embedding", "vectors"),
    ("recsys.models.base", "Facts"),
    ("recsys.models.base", "Columns"),
    ("recsys.config", "ConfigError"),
]
SHIMS = ("recsys.kinds", "recsys.models.embedding")
"""modules that warn when they are imported, hence only once"""


@pytest.fixture
def fresh(monkeypatch):
    """Modules that warn on import are imported again."""
    for name in SHIMS:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_the_old_signature_is_refused_with_the_new_one(dataset, tmp_path, monkeypatch, fresh):
    (tmp_path / "old_markov.py").write_text(OLD_MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    settings = OmegaConf.create({"_target_": "old_markov.MarkovChain", "dim": 8})
    with pytest.raises(ConfigError) as error:
        make_model(settings, dataset, 20)
    assert str(error.value) == (
        "old_markov.MarkovChain has the signature of an earlier version; write encode(self, inputs: ModelInputs), "
        "__init__(self, spec: DataSpec, …) (import both types from recsys.models.base): "
        "docs/add_a_model.md has an example"
    )


@pytest.mark.parametrize(("module", "name"), OLD_IMPORTS)
def test_old_imports_work_and_warn(module, name, fresh):
    with pytest.warns(DeprecationWarning, match=module.replace(".", r"\.")):
        assert getattr(importlib.import_module(module), name) is not None


def load_settings(*words):
    """The settings of a run, as its config.yaml holds them."""
    return OmegaConf.create(OmegaConf.to_container(composed(*words), resolve=True))


@pytest.mark.parametrize("short", [True, False], ids=["short", "long"])
@pytest.mark.parametrize("block", ["usual", "vanilla", "ligr"])
def test_resolved_settings_have_no_null_and_rebuild_the_model(dataset, monkeypatch, short, block):
    monkeypatch.setattr(type(dataset), "has_short_histories", short)
    config = load_settings("model=sasrec", f"block@model.block={block}", "seed=3")
    resolved = resolve_run_settings(config, dataset)
    undecided = {name for name, value in resolved.model.items() if value is None}
    assert undecided == {"repeat"}  # decided by whether the data rank repeats
    assert None not in resolved.model.block.values()
    expected, model = (make_seeded_model(each, dataset).state_dict() for each in (config, resolved))
    assert {name: value.shape for name, value in model.items()} == {
        name: value.shape for name, value in expected.items()
    }
    assert all(torch.equal(value, expected[name]) for name, value in model.items())


def test_resolving_twice_changes_nothing(dataset):
    resolved = resolve_run_settings(load_settings("model=sasrec"), dataset)
    assert resolve_run_settings(resolved, dataset) == resolved
