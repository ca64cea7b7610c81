"""SASRec of RecTools 0.19: python scripts/peers/rectools_sasrec.py events.parquet --steps 4"""

from measured import QUIET, Clock, Enough, settings, tokens_a_step

chosen = settings()

import warnings

warnings.filterwarnings("ignore")

import pandas as pd
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

clock = Clock(chosen)
seed_everything(1)
events = pd.read_parquet(chosen.events)


def dataset(frame):
    columns = {Columns.User: frame.user, Columns.Item: frame.item, Columns.Weight: 1.0}
    return Dataset.construct(pd.DataFrame(columns | {Columns.Datetime: pd.to_datetime(frame.time, unit="s")}))


loss = {"loss": "softmax"} if chosen.loss == "softmax" else {"loss": "sampled_softmax", "n_negatives": chosen.negatives}
model = SASRecModel(
    n_factors=chosen.dim, n_blocks=2, n_heads=2, dropout_rate=0.2, session_max_len=chosen.length, lr=1e-3,
    batch_size=chosen.batch, recommend_batch_size=256, dataloader_num_workers=0,
    get_trainer_func=lambda: Trainer(max_epochs=100, **QUIET), **loss,
)  # fmt: skip
everybody, users = dataset(events), events.user.unique()
try:
    model.fit(everybody)
except Enough:
    model.is_fitted = True
new_user = events[events.user == users[0]].assign(user=10**9)


def recommend(user_ids, data):
    return model.recommend(users=user_ids, dataset=data, k=10, filter_viewed=True)


clock.line(
    "RecTools", tokens_a_step(events, chosen), lambda: recommend(users, everybody), len(users),
    lambda: recommend([10**9], dataset(new_user)), chosen.answers,
)  # fmt: skip
