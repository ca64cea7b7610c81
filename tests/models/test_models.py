"""What single models are known for, on data with a known answer."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.config.build import build
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.batches.ranking import RankingBatches
from recsys.errors import TooLargeError
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import score_batch
from recsys.losses.softmax import Softmax
from recsys.models.base import DataSpec, ModelInputs
from recsys.models.baselines.ease import EASE
from recsys.models.baselines.item_knn import ItemKNN
from recsys.models.baselines.personal_frequency import PersonalFrequency
from recsys.models.baselines.training_events import EventArrays, count_interactions, read_events_before
from recsys.models.build import resolve_model_settings
from recsys.models.layers.attention_bias import compute_pause_buckets, compute_time_buckets
from recsys.models.layers.blocks import LigrBlock, VanillaBlock
from recsys.models.ncf import MAX_HIDDEN_UNITS, NCF
from recsys.models.sasrec import SASRec, count_positions_from_end
from recsys.training.module import TrainingModule
from tests.composed import composed
from tests.planted import prepared, successor

DAY = 86_400


def spec(n_items, has_time=True):
    return DataSpec(n_users=3, n_items=n_items, max_history=10, repeats=True, has_time=has_time)


@pytest.mark.parametrize(("short", "block", "dim"), [(True, VanillaBlock, 64), (False, LigrBlock, 128)])
def test_sasrec_suits_the_length_of_histories(short, block, dim):
    data = replace(spec(5), short_histories=short)
    model = build(resolve_model_settings(composed("model=sasrec").model, data), spec=data)
    assert {type(each) for each in model.blocks} == {block}
    assert model.item_vectors().shape == (6, dim)
    assert len(model.biases) == (0 if short else len(model.blocks))


def test_ease_solves_its_normal_equations(dataset):
    model = EASE(DataSpec.from_dataset(dataset, 10), regularisation=3.0)
    model.fit(dataset, "test")
    x = count_interactions(read_events_before(dataset, "test"), dataset.n_users, dataset.n_items)[:, 1:].toarray()
    weights = model.weights[1:, 1:].double().numpy()
    residual = x.T @ x + 3.0 * np.eye(x.shape[1])
    stationary = residual @ weights - x.T @ x  # the gradient is zero off the diagonal, where weights are free
    assert np.abs(weights.diagonal()).max() == 0
    assert np.abs(stationary - np.diag(stationary.diagonal())).max() < 1e-3


def test_ease_says_both_sizes_where_the_catalogue_is_too_large():
    with pytest.raises(TooLargeError, match="30,000 items > 20,000"):
        EASE(spec(30_000))


def test_item_knn_is_cosine_and_leaves_out_the_item_itself(dataset):
    model = ItemKNN(DataSpec.from_dataset(dataset, 10), neighbours=dataset.n_items, shrinkage=0.0)
    model.fit(dataset, "test")
    x = count_interactions(read_events_before(dataset, "test"), dataset.n_users, dataset.n_items).toarray()
    norms = np.linalg.norm(x, axis=0)
    cosine = x.T @ x / np.maximum(norms[:, None] * norms, 1e-9)
    np.fill_diagonal(cosine, 0)
    nothing = torch.zeros(1, dtype=torch.long)
    scores = model(ModelInputs({"id": nothing}, torch.tensor([[4, 0]]), {}, {}))
    np.testing.assert_allclose(scores[0, 1:], cosine[4, 1:], atol=1e-5)


def test_newer_items_vote_louder(dataset):
    model = ItemKNN(DataSpec.from_dataset(dataset, 10), half_life=1.0)
    loud = model._vote_weights(torch.tensor([[7, 8, 9, 0]]))
    assert loud.tolist() == [[0.25, 0.5, 1.0, 0.0]]


def test_personal_frequency_halves_with_age_and_tops_up_by_popularity():
    model = PersonalFrequency(spec(4), half_life=10)
    model.popularity.copy_(torch.tensor([0.0, 1e-4, 2e-4, 3e-4, 4e-4]))
    history = torch.tensor([[1, 2, 2]])
    events = {"timestamp": torch.tensor([[30, 10, 20]]) * DAY}
    request = {"timestamp": torch.tensor([[40]]) * DAY}
    scores = model(ModelInputs({}, history, events, request))[0]
    torch.testing.assert_close(scores[1:], torch.tensor([0.5001, 0.3752, 0.0003, 0.0004]))


def test_positions_count_back_from_the_newest_event():
    assert count_positions_from_end(torch.tensor([[5, 6, 7, 0], [5, 0, 0, 0]])).tolist() == [
        [3, 2, 1, 0, 0],
        [1, 0, 0, 0, 0],
    ]


def test_elapsed_time_falls_into_buckets_that_double():
    now, then = torch.tensor([[100, 1000]]), torch.tensor([[0, 100, 97, 1000]])
    assert compute_time_buckets(now, then).tolist() == [[[0, 0, 2, 0], [0, 9, 9, 0]]]


def test_pauses_end_with_the_next_event_or_with_the_request_asked_there():
    times, now = torch.tensor([[0, 100, 100, 400, 0]]), torch.tensor([[150, 4_496]])
    assert compute_pause_buckets(times, now, torch.tensor([[1, 3]])).tolist() == [[0, 5, 8, 12, 0]]


@pytest.mark.parametrize(("time_bias", "least"), [(True, 0.9), (False, None)])
def test_time_bias_learns_what_only_the_gap_tells(tmp_path, time_bias, least):
    """After a week away users come back to item 0, else they go on along the ring."""
    rng, rows = np.random.default_rng(0), []
    for user in range(80):
        item, moment = int(rng.integers(1, 25)), 1_700_000_000
        for _ in range(15):
            away = rng.random() < 0.4
            moment += (7 if away else 1) * DAY + int(rng.integers(3600))
            item = 0 if away else successor(item)
            rows.append((f"u{user}", f"i{item}", moment))
    data = prepared(tmp_path, pd.DataFrame(rows, columns=["user", "item", "timestamp"]), exclude_seen=False)
    torch.manual_seed(0)
    model = SASRec(
        DataSpec.from_dataset(data, 20), VanillaBlock, dim=32, dropout=0.0, repeat=False, time_bias=time_bias
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    module = TrainingModule(model, Softmax(), torch.optim.SGD, data, 1)
    batches = UserRowBatches(data, 80, 20, seed=0)
    for epoch in range(120):
        batches.set_epoch(epoch)
        for batch in batches:
            optimizer.zero_grad()
            (module.loss(module.make_loss_inputs(batch)) / batch.total_weight).backward()
            optimizer.step()
    found = evaluate_scorer(
        lambda batch: score_batch(model.eval(), batch), data, RankingBatches(data, "test", 80, 20), (1,)
    )
    assert found.metrics["hr@1"] >= least if least else found.metrics["hr@1"] < 0.75


def test_events_before_a_part_are_all_that_came_earlier(dataset):
    for part, column in (("validation", 0), ("test", 1)):
        found = read_events_before(dataset, part)
        assert isinstance(found, EventArrays)
        n = int((dataset.bounds[:, column] - dataset.offsets[:-1]).sum())
        assert n - 5 <= len(found.items) <= n
        assert found.age.min() == 0


@pytest.mark.parametrize("n_queries", [1, 7, 40])
def test_ncf_ranks_in_tiles_what_its_network_says_of_whole_pairs(n_queries, monkeypatch):
    torch.manual_seed(0)
    model = NCF(spec(700), dim=8, repeat=False).eval()
    queries = torch.randn(n_queries, 1 + 8 + 64)
    people, network = torch.randn(n_queries, 8), torch.randn(700, 8)
    joined = torch.cat([model.user_side.weight, model.item_side.weight], dim=1)  # one first layer over both
    queries[:, 9:] = model.user_side(people)
    items = torch.cat([torch.randn(700, 9), model.item_side(network)], dim=1)
    pairs = torch.cat([people[:, None].expand(-1, 700, -1), network.expand(n_queries, -1, -1)], dim=2)
    sizes, plain = [], model._score_pairs
    monkeypatch.setattr(model, "_score_pairs", lambda u, i: sizes.append(u.shape[-2] * i.shape[-2]) or plain(u, i))
    with torch.no_grad():
        expected = queries[:, :9] @ items[:, :9].T + model.network(pairs @ joined.T + model.user_side.bias)[..., 0]
        torch.testing.assert_close(model.score(queries, items), expected, rtol=1e-5, atol=1e-5)
    assert sum(sizes) == n_queries * 700
    assert max(sizes) * model.n_hidden_units <= MAX_HIDDEN_UNITS // 4
    whole = model.score(queries, items)
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-5)
