"""What preparing a log costs with pandas alone: python scripts/peers/pandas_prepare.py log.parquet FOLDER

Writes the arrays of a prepared dataset from columns user, item and timestamp (seconds): rows with a missing value are
dropped, each user's events are ordered by time, items are numbered by their count in training, and the last two events
of each user are held out.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from peer_tools import print_preparation

log, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
events = pd.read_parquet(log)
events = events.dropna().sort_values(["user", "timestamp"], kind="stable")
users, raw_users = pd.factorize(events.user, sort=True)
codes, raw_items = pd.factorize(events.item, sort=True)
end = np.cumsum(np.bincount(users))
offsets = np.concatenate([[0], end])
few = np.diff(offsets) < 3
split = np.where(few[:, None], end[:, None], np.stack([end - 2, end - 1], axis=1))
training = np.arange(len(events)) < split[users, 0]
order = np.argsort(-np.bincount(codes[training], minlength=len(raw_items)), kind="stable")
number = np.empty(len(order), np.int32)
number[order] = np.arange(1, len(order) + 1)
items = number[codes]
arrays = {
    "items": items,
    "baskets": np.arange(len(items)),
    "offsets": offsets,
    "split": split,
    "timestamps": events.timestamp.to_numpy(),
    "item_counts": np.bincount(items[training], minlength=len(order) + 1),
}
for name, array in arrays.items():
    np.save(folder / f"{name}.npy", array)
pd.DataFrame({"user": raw_users, "n": np.diff(offsets)}).to_parquet(folder / "users.parquet")
pd.DataFrame({"item": raw_items[order], "n": arrays["item_counts"][1:]}).to_parquet(folder / "items.parquet")
digests = {name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for name, array in arrays.items()}
(folder / "metadata.json").write_text(json.dumps(digests))
print_preparation("pandas", len(events))
