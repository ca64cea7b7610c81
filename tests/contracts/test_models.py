"""What every model promises; a new config in configs/model is found by itself."""

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities import move_data_to_device

from recsys.config.build import build
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.batches.ranking import RankingBatches
from recsys.evaluation.scoring import make_scorer, score_batch
from recsys.models.base import DataSpec, Trainable
from recsys.models.build import make_model, resolve_model_settings
from recsys.training.module import TrainingModule
from tests.composed import LOSSES, MODELS, TRAINABLE, composed

BIASED = "model.relative_position=true model.time_bias=true"
WORDS = {
    "sasrec": ["block@model.block=vanilla", "block@model.block=ligr", BIASED],
    "two_tower": ["model.user_id=true", "model.attention=true", "model.recency=[]", "model.time_bias=true"],
    "ncf": ["model.user_id=true", "model.user_id=false"],
}
VARIANTS = [(name, word) for name in MODELS for word in WORDS.get(name, ["seed=1"])]
TRAINED = [(name, word) for name, word in VARIANTS if name in TRAINABLE]


def made(name, data, *words, max_history=20):
    torch.manual_seed(0)
    spec = DataSpec.from_dataset(data, max_history)  # not by make_model, which refuses data without an order
    settings = composed(f"model={name}", *" ".join(words).split()).model
    model = build(resolve_model_settings(settings, spec), spec=spec)
    model.fit(data, "test")
    if isinstance(model, Trainable):
        model.max_history = max_history
        model.prepare(data)
        perturb(model)
    return model.eval()


def perturb(model):
    """Weights far from their start, so that nothing holds by being zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def batch_of(data, size=8):
    return next(iter(RankingBatches(data, "test", size, 20)))


@pytest.fixture(params=["dataset", "shop", "mixed"])
def data(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("name", "word"), VARIANTS)
def test_scores_every_item_finitely_and_hides_padding(name, word, data):
    scores = score_batch(made(name, data, word), batch_of(data))
    assert scores.shape == (8, data.n_items + 1)
    assert scores[:, 0].isneginf().all()
    assert scores[:, 1:].isfinite().all()


@pytest.mark.parametrize(("name", "word"), TRAINED)
def test_vectors_of_items_are_computed_once_for_all_batches(name, word, data, monkeypatch):
    model, batch, asked = made(name, data, word), batch_of(data), []
    plain = model.item_vectors
    monkeypatch.setattr(model, "item_vectors", lambda items=None: asked.append(items) or plain(items))
    scored = make_scorer(model)
    with torch.no_grad():
        several = [scored(batch) for _ in range(3)]
        whole = model(batch.inputs)
    assert sum(items is None for items in asked) == 2  # `scorer` and `forward`
    assert all(torch.equal(scores, whole) for scores in several)


@pytest.mark.parametrize(("name", "word"), VARIANTS)
def test_padding_changes_nothing(name, word, data):
    model, batch = made(name, data, word), batch_of(data)
    trimmed = score_batch(model, batch)
    batch.history = torch.nn.functional.pad(batch.history, (0, 7))
    batch.events = {
        name: torch.cat([column, column.new_zeros(len(column), 7, *column.shape[2:])], dim=1)
        for name, column in batch.events.items()
    }
    torch.testing.assert_close(score_batch(model, batch), trimmed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "word"), VARIANTS)
def test_a_user_scores_the_same_alone_as_in_a_batch(name, word, data):
    model = made(name, data, word)
    batches = RankingBatches(data, "test", 5, 20)
    together = score_batch(model, batches.gather(batches.rows[:5]))
    alone = torch.cat([score_batch(model, batches.gather(batches.rows[n : n + 1])) for n in range(5)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "word"), VARIANTS)
def test_empty_history_and_unknown_user_are_answered(name, word, data):
    model, batch = made(name, data, word), batch_of(data, 3)
    batch.history, batch.positions = batch.history * 0, batch.positions * 0
    batch.user["id"] = batch.user["id"] * 0
    scores = score_batch(model, batch)
    assert scores[:, 1:].isfinite().all()


@pytest.mark.parametrize(("name", "word"), [v for v in VARIANTS if "popularity" not in v[0]])
def test_unknown_users_with_other_histories_get_other_lists(name, word, data):
    model, batch = made(name, data, word), batch_of(data, 2)
    batch.user["id"] = batch.user["id"] * 0
    batch.history = torch.zeros_like(batch.history)
    batch.history[0, 0], batch.history[1, 0] = 2, 5
    if data.event is not None:
        batch.events["event"][:, 0] = 1 + data.event.values.index("purchase")
    scores = score_batch(model, batch)
    assert not torch.equal(scores[0], scores[1])


@pytest.mark.parametrize(("name", "word"), VARIANTS)
def test_survives_saving(name, word, data, tmp_path):
    model, batch = made(name, data, word), batch_of(data)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = make_model(composed(f"model={name}", *word.split()).model, data, 20).eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(score_batch(other, batch), score_batch(model, batch))


@pytest.mark.parametrize(("name", "word"), TRAINED)
def test_a_query_never_sees_what_comes_after_it(name, word, data):
    """Events and requests from query q on are changed: query q stays bit-equal."""
    model = made(name, data, word)
    batches = UserRowBatches(data, 6, 20, seed=0)
    batch = next(iter(batches))
    vectors, extra = asked(model, batch)
    rng = torch.Generator().manual_seed(1)
    for row in range(len(batch.positions)):
        for q in range(batch.positions.shape[1]):
            slot = int(batch.positions[row, q])
            changed = tampered(batch, slot, q, data.n_items, rng)
            new_vectors, new_extra = asked(model, changed)
            assert torch.equal(new_vectors[row, q], vectors[row, q])
            if extra is not None:
                assert torch.equal(new_extra[row, q, :slot], extra[row, q, :slot])
                assert (new_extra[row, q, slot:] == 0).all()
        if row == 1:
            break


def asked(model, batch):
    vectors = model.encode(batch.inputs)
    return vectors, model.slot_scores(vectors, batch.inputs)


def tampered(batch, slot, query, n_items, rng):
    """The batch with other events from `slot` on and other requests after `query`; lengths stay."""
    history = batch.history.clone()
    noise = torch.randint(1, n_items + 1, history.shape, generator=rng)
    history[:, slot:] = torch.where(history[:, slot:] > 0, noise[:, slot:], 0)
    events = {name: column.clone() for name, column in batch.events.items()}
    request = {name: column.clone() for name, column in batch.request.items()}
    for column in events.values():
        column[:, slot:] = column[:, slot:] % 2 + 1
    for column in request.values():
        column[:, query + 1 :] = column[:, query + 1 :] % 2 + 1
    return type(batch)(**{**vars(batch), "history": history, "events": events, "request": request})


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("name", "word"), TRAINED)
def test_every_loss_reaches_every_parameter(name, word, loss, data):
    config = composed(f"model={name}", f"loss={loss}", *word.split())
    module = TrainingModule(made(name, data, word), build(config.loss), torch.optim.SGD, data, 1)
    value = 0.0
    for batch in UserRowBatches(data, 16, 20, seed=0):
        value = value + module.loss(module.make_loss_inputs(batch)) / batch.total_weight
    value.backward()
    assert value.isfinite()
    silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("name", "word"), TRAINED)
def test_a_step_never_asks_the_device(name, word, loss, shop, monkeypatch):
    """Tensors without contents cannot say a number or how many of them are not zero: whatever waits for one, fails."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # which knows no such device
    config = composed(f"model={name}", f"loss={loss}", *word.split())
    module = TrainingModule(made(name, shop, word), build(config.loss), torch.optim.SGD, shop, 1).train().to("meta")
    batch = move_data_to_device(next(iter(UserRowBatches(shop, 16, 20, seed=0))), torch.device("meta"))
    module.loss(module.make_loss_inputs(batch)).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(("name", "word"), TRAINED)
def test_the_loss_is_that_of_what_is_ranked(name, word, data):
    """−log softmax of `forward`'s scores equals the loss of the same query."""
    model = made(name, data, word)
    batch = batch_of(data, 6)
    keep = batch.targets <= data.n_items
    batch.targets, batch.target_query = batch.targets[keep], batch.target_query[keep]
    module = TrainingModule(model, build(composed("loss.bfloat16=false").loss), torch.optim.SGD, data, 1)
    expected = -score_batch(model, batch).log_softmax(dim=1)[batch.target_query, batch.targets].sum()
    torch.testing.assert_close(module.loss(module.make_loss_inputs(batch)), expected, rtol=1e-4, atol=1e-4)


def test_sasrec_refuses_a_split_without_order(dataset, monkeypatch):
    from recsys.errors import ConfigError

    monkeypatch.setattr(dataset, "ordered", False)
    with pytest.raises(ConfigError, match="learns from order"):
        make_model(composed("model=sasrec").model, dataset, 20)


def test_popularity_counts(dataset):
    scores = score_batch(made("popularity", dataset), batch_of(dataset))
    before = np.arange(len(dataset.items)) < np.repeat(dataset.bounds[:, 1], np.diff(dataset.offsets))
    counts = np.bincount(dataset.items[before], minlength=dataset.n_items + 1)[: dataset.n_items + 1]
    assert scores[0, 1:].tolist() == counts[1:].tolist()
