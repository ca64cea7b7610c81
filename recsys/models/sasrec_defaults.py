"""The two sets of values of the SASRec settings that are null in YAML, for short and for long histories.

Histories are short if users have at most 20 training events on average (`recsys.data.dataset.SHORT`).
"""

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object

SHORT_HISTORIES = {"dim": 64, "dropout": 0.5, "relative_position": False, "feedforward": 4, "pre_norm": False}
LONG_HISTORIES = {"dim": 128, "dropout": 0.3, "relative_position": True, "feedforward": 1, "pre_norm": True}
PRE_NORM = {"scale": True, "embedding_norm": False, "final_norm": True, "smoothing": 0.0}
POST_NORM = {"scale": False, "embedding_norm": True, "final_norm": False, "smoothing": 0.7}
VANILLA, LIGR = (f"recsys.models.layers.blocks.{name}" for name in ("VanillaBlock", "LigrBlock"))
DEFAULT_BLOCK = "recsys.models.layers.blocks.default_block"


def get_default_settings(short_histories: bool, pre_norm: bool) -> dict[str, Any]:
    """The default of each setting of the model and its blocks that may be null."""
    return {**(SHORT_HISTORIES if short_histories else LONG_HISTORIES), **(PRE_NORM if pre_norm else POST_NORM)}


def fill_nulls(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with each null replaced by its default; a null without a default stays."""
    return {name: defaults.get(name) if value is None else value for name, value in settings.items()}


def resolve_defaults(settings: Mapping[str, Any], short_histories: bool) -> dict[str, Any]:
    """The settings of the model and its block, with every null that depends on the length of histories replaced."""
    block = dict(settings["block"])
    if block["_target_"] == DEFAULT_BLOCK:
        options = {"n_heads": block["n_heads"], "dropout": block["dropout"], "feedforward": None}
        vanilla = {"_target_": VANILLA, "_partial_": True, **options, "pre_norm": None, "smoothing": None}
        block = vanilla if short_histories else {"_target_": LIGR, "_partial_": True, **options}
    defaults = get_default_settings(short_histories, pre_norm=True)
    if block.get("pre_norm", "") is None:
        block["pre_norm"] = defaults["pre_norm"]
    pre_norm = bool(block.get("pre_norm", getattr(get_object(block["_target_"]), "pre_norm", True)))
    defaults = get_default_settings(short_histories, pre_norm)
    return fill_nulls({**settings, "block": fill_nulls(block, defaults)}, defaults)
