"""SASRec of RecTools 0.19: python scripts/peers/rectools_sasrec.py events.parquet --steps 4"""

from peer_tools import QUIET, StepClock, StopTraining, count_tokens_per_step, parse_settings

settings = parse_settings()

import warnings

warnings.filterwarnings("ignore")

import pandas as pd
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

clock = StepClock(settings)
seed_everything(1)
events = pd.read_parquet(settings.events)


def make_dataset(frame):
    columns = {Columns.User: frame.user, Columns.Item: frame.item, Columns.Weight: 1.0}
    return Dataset.construct(pd.DataFrame(columns | {Columns.Datetime: pd.to_datetime(frame.time, unit="s")}))


loss = (
    {"loss": "softmax"}
    if settings.loss == "softmax"
    else {"loss": "sampled_softmax", "n_negatives": settings.negatives}
)
model = SASRecModel(
    n_factors=settings.dim, n_blocks=2, n_heads=2, dropout_rate=0.2, session_max_len=settings.length, lr=1e-3,
    batch_size=settings.batch, recommend_batch_size=256, dataloader_num_workers=0,
    get_trainer_func=lambda: Trainer(max_epochs=100, **QUIET), **loss,
)  # fmt: skip
full_dataset, users = make_dataset(events), events.user.unique()
try:
    model.fit(full_dataset)
except StopTraining:
    model.is_fitted = True
new_user = events[events.user == users[0]].assign(user=10**9)


def recommend(users, dataset):
    return model.recommend(users=users, dataset=dataset, k=10, filter_viewed=True)


clock.print_figures(
    "RecTools", count_tokens_per_step(events, settings), lambda: recommend(users, full_dataset), len(users),
    lambda: recommend([10**9], make_dataset(new_user)), settings.answers,
)  # fmt: skip
