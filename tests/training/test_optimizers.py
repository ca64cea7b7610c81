"""Tables that change only where they were read."""

from copy import deepcopy

import pytest
import torch

from recsys.training.optimizers import RowwiseAdagradW


def made(table_lr=0.1):
    torch.manual_seed(0)
    table, layer = torch.nn.Embedding(50, 4, sparse=True), torch.nn.Linear(4, 1)
    optimizer = RowwiseAdagradW([*table.parameters(), *layer.parameters()], lr=0.01, table_lr=table_lr)
    return table, layer, optimizer


def step(table, layer, optimizer, rows):
    optimizer.zero_grad()
    layer(table(torch.tensor(rows))).square().sum().backward()
    optimizer.step()


def test_only_rows_that_were_read_change_and_dense_layers_follow_adamw():
    table, layer, optimizer = made()
    before, twin = table.weight.detach().clone(), torch.nn.Linear(4, 1)
    twin.load_state_dict(layer.state_dict())
    reference = torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.999))
    layer_loss = twin(before[[3, 7, 7]]).square().sum()
    layer_loss.backward()
    reference.step()
    step(table, layer, optimizer, [3, 7, 7])
    changed = (table.weight != before).any(dim=1).nonzero().flatten().tolist()
    assert changed == [3, 7]
    torch.testing.assert_close(layer.weight, twin.weight)


def test_the_first_step_of_a_row_has_the_length_of_the_learning_rate():
    """g / √mean(g²) has root mean square 1."""
    table, layer, optimizer = made(table_lr=0.5)
    before = table.weight.detach().clone()
    step(table, layer, optimizer, [3, 9])
    moved = (table.weight - before)[[3, 9]].square().mean(dim=1).sqrt()
    torch.testing.assert_close(moved, torch.full((2,), 0.5), rtol=1e-4, atol=0)


def test_state_survives_saving():
    table, layer, optimizer = made()
    step(table, layer, optimizer, [1, 2])
    other_table, other_layer, other = made()
    other_table.load_state_dict(table.state_dict())
    other_layer.load_state_dict(layer.state_dict())
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for trio in ((table, layer, optimizer), (other_table, other_layer, other)):
        step(*trio, [2, 5])
    assert torch.equal(table.weight, other_table.weight)


def test_closures_are_called_and_their_value_returned():
    _, _, optimizer = made()
    assert optimizer.step(lambda: 3.5) == 3.5


@pytest.mark.parametrize("model", ["sasrec", "two_tower", "ncf"])
def test_models_read_only_what_a_sampled_loss_asks_for(model, dataset):
    from recsys.config.build import build
    from recsys.data.batches.one_row_per_user import UserRowBatches
    from recsys.models.base import DataSpec
    from recsys.training.module import TrainingModule
    from tests.composed import composed

    config = composed(f"model={model}", "model.sparse=true", "loss=sampled_softmax", "loss.n_negatives=3")
    made = build(config.model, spec=DataSpec.from_dataset(dataset, 20))
    module = TrainingModule(made, build(config.loss), torch.optim.SGD, dataset, 1)
    batch = next(iter(UserRowBatches(dataset, 2, 20, seed=0)))
    module.loss(module.make_loss_inputs(batch)).backward()
    tables = {name: p.grad for name, p in made.named_parameters() if p.grad.is_sparse}
    assert "item.weight" in tables
    rows = {f"{name}.weight": len(m.weight) for name, m in made.named_modules() if isinstance(m, torch.nn.Embedding)}
    assert set(tables) == {name for name, n in rows.items() if n > dataset.n_items}
    assert all(len(gradient.coalesce().indices()[0]) < dataset.n_items for gradient in tables.values())
