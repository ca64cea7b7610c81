"""SASRec of RePlay 0.22: python scripts/peers/replay_sasrec.py events.parquet --steps 4"""

from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from measured import QUIET, Clock, Enough, settings, tokens_a_step

chosen = settings()

import logging
import warnings

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

import lightning
import pandas as pd
from replay.data import FeatureHint, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import PandasTopItemsCallback
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.loss import CESampled
from replay.nn.sequential import SasRec
from replay.nn.transform import UniformNegativeSamplingTransform
from replay.nn.transform.template import make_default_sasrec_transforms

clock = Clock(chosen)
lightning.seed_everything(1)
events = pd.read_parquet(chosen.events)
n_items, folder = int(events.item.max()), Path(mkdtemp())
rows = events.assign(item=events.item - 1).groupby("user").item.agg(list)
rows = rows.rename("item_id").rename_axis("user_id").reset_index()
longest = int(rows.item_id.str.len().max())


def written(name, frame):
    frame.to_parquet(folder / name)
    return str(folder / name)


feature = TensorFeatureInfo(
    name="item_id", is_seq=True, padding_value=n_items, cardinality=n_items, embedding_dim=chosen.dim,
    feature_type=FeatureType.CATEGORICAL, feature_hint=FeatureHint.ITEM_ID,
)  # fmt: skip
schema = TensorSchema([feature])
transforms = make_default_sasrec_transforms(schema)
if chosen.loss == "sampled":
    negatives = UniformNegativeSamplingTransform(cardinality=n_items, num_negative_samples=chosen.negatives)
    transforms["train"].insert(0, negatives)
net = SasRec.from_params(
    schema=schema, embedding_dim=chosen.dim, max_sequence_length=chosen.length, num_heads=2, num_blocks=2, dropout=0.2
)
if chosen.loss == "sampled":
    net = SasRec(body=net.body, loss=CESampled(ignore_index=n_items))
module = LightningModule(net, optimizer_factory=OptimizerFactory(learning_rate=1e-3))
shape = {"train": {"item_id": {"shape": chosen.length + 1, "padding": n_items}}}
data = ParquetModule(
    train_path=written("train.parquet", rows), batch_size=chosen.batch, transforms=transforms, metadata=shape
)
with suppress(Enough):
    lightning.Trainer(max_epochs=100, limit_val_batches=0, num_sanity_val_steps=0, **QUIET).fit(module, datamodule=data)


def recommend(frame, name, batch):
    columns = {
        "user_id": {},
        "item_id": {"shape": chosen.length, "padding": n_items},
        "seen_ids": {"shape": longest, "padding": -1},
    }
    path = written(name, frame.assign(seen_ids=frame.item_id))
    asked = ParquetModule(predict_path=path, batch_size=batch, transforms=transforms, metadata={"predict": columns})
    lists = PandasTopItemsCallback(
        top_k=10, query_column="user_id", item_column="item_id", rating_column="score",
        postprocessors=[SeenItemsFilter(item_count=n_items, seen_items_column="seen_ids")],
    )  # fmt: skip
    trainer = lightning.Trainer(callbacks=[lists], inference_mode=True, **QUIET)
    trainer.predict(module, datamodule=asked, return_predictions=False)
    return lists.get_result()


clock.line(
    "RePlay", tokens_a_step(events, chosen), lambda: recommend(rows, "all.parquet", 256), len(rows),
    lambda: recommend(rows[:1].assign(user_id=10**9), "new.parquet", 1), chosen.answers,
)  # fmt: skip
