"""What the scripts of RePlay share: its SASRec over items 0..n_items-1, and lists of ten."""

import logging
import warnings

from peer_tools import QUIET

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

import lightning
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


class ReplaySasrec:
    def __init__(self, settings, n_items, folder):
        self.settings, self.n_items, self.folder = settings, n_items, folder
        feature = TensorFeatureInfo(
            name="item_id", is_seq=True, padding_value=n_items, cardinality=n_items, embedding_dim=settings.dim,
            feature_type=FeatureType.CATEGORICAL, feature_hint=FeatureHint.ITEM_ID,
        )  # fmt: skip
        self.schema = TensorSchema([feature])
        self.transforms = make_default_sasrec_transforms(self.schema)
        if settings.loss == "sampled":
            negatives = UniformNegativeSamplingTransform(cardinality=n_items, num_negative_samples=settings.negatives)
            self.transforms["train"].insert(0, negatives)

    def make_module(self):
        size = {"embedding_dim": self.settings.dim, "max_sequence_length": self.settings.length}
        net = SasRec.from_params(schema=self.schema, **size, num_heads=2, num_blocks=2, dropout=0.2)
        if self.settings.loss == "sampled":
            net = SasRec(body=net.body, loss=CESampled(ignore_index=self.n_items))
        return LightningModule(net, optimizer_factory=OptimizerFactory(learning_rate=1e-3))

    def fit(self, module, rows, max_epochs, **more):
        shape = {"train": {"item_id": {"shape": self.settings.length + 1, "padding": self.n_items}}}
        data = ParquetModule(
            train_path=self.write_parquet("train.parquet", rows),
            batch_size=self.settings.batch,
            transforms=self.transforms,
            metadata=shape,
        )
        trainer = lightning.Trainer(max_epochs=max_epochs, limit_val_batches=0, num_sanity_val_steps=0, **more, **QUIET)
        trainer.fit(module, datamodule=data)

    def recommend(self, module, rows, longest, name, batch):
        """Returns ten items for every row, without the items in it."""
        columns = {
            "user_id": {},
            "item_id": {"shape": self.settings.length, "padding": self.n_items},
            "seen_ids": {"shape": longest, "padding": -1},
        }
        path = self.write_parquet(name, rows.assign(seen_ids=rows.item_id))
        data = ParquetModule(
            predict_path=path, batch_size=batch, transforms=self.transforms, metadata={"predict": columns}
        )
        lists = PandasTopItemsCallback(
            top_k=10, query_column="user_id", item_column="item_id", rating_column="score",
            postprocessors=[SeenItemsFilter(item_count=self.n_items, seen_items_column="seen_ids")],
        )  # fmt: skip
        trainer = lightning.Trainer(callbacks=[lists], inference_mode=True, **QUIET)
        trainer.predict(module, datamodule=data, return_predictions=False)
        return lists.get_result()

    def write_parquet(self, name, frame):
        frame.to_parquet(self.folder / name)
        return str(self.folder / name)
