"""CPU-seconds until RePlay 0.22's SASRec is good enough: python scripts/peers/replay_until.py events.parquet

The last event of each user is what is to be found among all items, the rest is trained on; ranking is not counted.
Ours: recsys benchmark task=until.
"""

import json
import os
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from measured import QUIET, settings

chosen = settings(value=0.15, every=2, epochs=60)

import logging
import warnings

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

import lightning
import numpy as np
import pandas as pd
import torch
from replay.data import FeatureHint, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import PandasTopItemsCallback
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms

torch.set_num_threads(chosen.threads)
lightning.seed_everything(1)
events = pd.read_parquet(chosen.events)
n_items, folder = int(events.item.max()), Path(mkdtemp())
rows = events.assign(item=events.item - 1).groupby("user").item.agg(list)
target = rows.str[-1]
rows = rows.str[:-1].rename("item_id").rename_axis("user_id").reset_index()
longest = int(rows.item_id.str.len().max())
rows.to_parquet(folder / "train.parquet")
rows.assign(seen_ids=rows.item_id).to_parquet(folder / "asked.parquet")
feature = TensorFeatureInfo(
    name="item_id", is_seq=True, padding_value=n_items, cardinality=n_items, embedding_dim=chosen.dim,
    feature_type=FeatureType.CATEGORICAL, feature_hint=FeatureHint.ITEM_ID,
)  # fmt: skip
schema = TensorSchema([feature])
transforms = make_default_sasrec_transforms(schema)


def sasrec():
    net = SasRec.from_params(
        schema=schema,
        embedding_dim=chosen.dim,
        max_sequence_length=chosen.length,
        num_heads=2,
        num_blocks=2,
        dropout=0.2,
    )
    return LightningModule(net, optimizer_factory=OptimizerFactory(learning_rate=1e-3))


def ndcg(state):
    asker = sasrec()  # another one, for a module knows one trainer
    asker.load_state_dict(state)
    columns = {
        "user_id": {},
        "item_id": {"shape": chosen.length, "padding": n_items},
        "seen_ids": {"shape": longest, "padding": -1},
    }
    asked = ParquetModule(
        predict_path=str(folder / "asked.parquet"), batch_size=256, transforms=transforms, metadata={"predict": columns}
    )
    lists = PandasTopItemsCallback(
        top_k=10, query_column="user_id", item_column="item_id", rating_column="score",
        postprocessors=[SeenItemsFilter(item_count=n_items, seen_items_column="seen_ids")],
    )  # fmt: skip
    trainer = lightning.Trainer(callbacks=[lists], inference_mode=True, **QUIET)
    trainer.predict(asker, datamodule=asked, return_predictions=False)
    found = lists.get_result().sort_values(["user_id", "score"], ascending=[True, False], kind="stable")
    place = found.groupby("user_id").cumcount() + 1
    hit = found.item_id.astype(int) == found.user_id.map(target)
    return float((1 / np.log2(place[hit] + 1)).sum() / len(rows))


class Watch(lightning.Callback):
    """Ranks every few epochs, and stops when that is good enough."""

    spent = 0.0

    def on_train_epoch_start(self, trainer, module):  # noqa: ARG002
        self.start = time.process_time()

    def on_train_epoch_end(self, trainer, module):
        self.spent += time.process_time() - self.start
        epoch = trainer.current_epoch + 1
        if epoch % chosen.every:
            return
        value = ndcg(module.state_dict())
        line = {"name": "RePlay", "epochs": epoch, "train_cpu_s": round(self.spent, 1), "ndcg@10": round(value, 4)}
        sys.stdout.write(json.dumps(line | {"load": os.getloadavg()[0]}) + "\n")
        sys.stdout.flush()
        trainer.should_stop = value >= chosen.value


shape = {"train": {"item_id": {"shape": chosen.length + 1, "padding": n_items}}}
data = ParquetModule(
    train_path=str(folder / "train.parquet"), batch_size=chosen.batch, transforms=transforms, metadata=shape
)
lightning.Trainer(
    max_epochs=chosen.epochs, limit_val_batches=0, num_sanity_val_steps=0, callbacks=[Watch()], **QUIET
).fit(sasrec(), datamodule=data)
