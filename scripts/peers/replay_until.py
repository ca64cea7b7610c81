"""CPU-seconds until RePlay 0.22's SASRec is good enough: python scripts/peers/replay_until.py events.parquet

The last event of each user is the target among all items, the others are for training; time for ranking does not count.
Ours: recsys benchmark task=until.
"""

import json
import os
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from measured import settings

chosen = settings(value=0.15, every=2, epochs=60)

import lightning
import numpy as np
import pandas as pd
import torch
from replay_parts import Parts

torch.set_num_threads(chosen.threads)
lightning.seed_everything(1)
events = pd.read_parquet(chosen.events)
parts = Parts(chosen, int(events.item.max()), Path(mkdtemp()))
rows = events.assign(item=events.item - 1).groupby("user").item.agg(list)
target = rows.str[-1]
rows = rows.str[:-1].rename("item_id").rename_axis("user_id").reset_index()
longest = int(rows.item_id.str.len().max())


def ndcg(state):
    module = parts.sasrec()  # a new one, because a module belongs to one trainer
    module.load_state_dict(state)
    lists = parts.recommend(module, rows, longest, "queries.parquet", 256)
    lists = lists.sort_values(["user_id", "score"], ascending=[True, False], kind="stable")
    rank = lists.groupby("user_id").cumcount() + 1
    hit = lists.item_id.astype(int) == lists.user_id.map(target)
    return float((1 / np.log2(rank[hit] + 1)).sum() / len(rows))


class Watch(lightning.Callback):
    """Ranks every few epochs, and stops when NDCG is good enough."""

    spent = 0.0

    def on_train_epoch_start(self, *_):
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


parts.fit(parts.sasrec(), rows, max_epochs=chosen.epochs, callbacks=[Watch()])
