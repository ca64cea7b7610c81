"""CPU-seconds until RePlay 0.22's SASRec is good enough: python scripts/peers/replay_until.py events.parquet

The last event of each user is the target, ranked among all items; the others are trained on. Ranking time is not
counted. The same for recsys: recsys benchmark task=until.
"""

import json
import os
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from peer_tools import parse_settings

settings = parse_settings(value=0.15, every=2, epochs=60)

import lightning
import numpy as np
import pandas as pd
import torch
from replay_model import ReplaySasrec
from typing_extensions import override

torch.set_num_threads(settings.threads)
lightning.seed_everything(1)
events = pd.read_parquet(settings.events)
replay = ReplaySasrec(settings, int(events.item.max()), Path(mkdtemp()))
rows = events.assign(item=events.item - 1).groupby("user").item.agg(list)
target = rows.str[-1]
rows = rows.str[:-1].rename("item_id").rename_axis("user_id").reset_index()
longest = int(rows.item_id.str.len().max())


def compute_ndcg(state):
    module = replay.make_module()  # a new one, since a module has one trainer
    module.load_state_dict(state)
    lists = replay.recommend(module, rows, longest, "users.parquet", 256)
    lists = lists.sort_values(["user_id", "score"], ascending=[True, False], kind="stable")
    ranks = lists.groupby("user_id").cumcount() + 1
    hits = lists.item_id.astype(int) == lists.user_id.map(target)
    return float((1 / np.log2(ranks[hits] + 1)).sum() / len(rows))


class StopAtNdcg(lightning.Callback):
    """Ranks every few epochs, and stops training when NDCG@10 reaches the value."""

    spent = 0.0

    @override
    def on_train_epoch_start(self, trainer, pl_module):
        self.start = time.process_time()

    @override
    def on_train_epoch_end(self, trainer, pl_module):
        self.spent += time.process_time() - self.start
        epoch = trainer.current_epoch + 1
        if epoch % settings.every:
            return
        value = compute_ndcg(pl_module.state_dict())
        line = {"name": "RePlay", "epochs": epoch, "train_cpu_s": round(self.spent, 1), "ndcg@10": round(value, 4)}
        sys.stdout.write(json.dumps(line | {"load": os.getloadavg()[0]}) + "\n")
        sys.stdout.flush()
        trainer.should_stop = value >= settings.value


replay.fit(replay.make_module(), rows, max_epochs=settings.epochs, callbacks=[StopAtNdcg()])
