"""The running mean of a history against one that is taken step by step."""

import pytest
import torch

from recsys.models.layers.blocks import VanillaBlock
from recsys.models.layers.smoothing import Smoothing


@pytest.fixture
def smoothing():
    torch.manual_seed(0)
    found = Smoothing(4)
    with torch.no_grad():
        found.kept.normal_()
        found.difference.normal_()
    return found


def by_steps(smoothing, x):
    kept, total, weight, out = torch.sigmoid(smoothing.kept), torch.zeros(4), torch.zeros(4), []
    for event in x:
        total, weight = total * kept + event, weight * kept + 1
        mean = total / weight
        out.append(mean + smoothing.difference**2 * (event - mean))
    return torch.stack(out)


def test_it_is_a_mean_that_forgets(smoothing):
    x = torch.randn(3, 9, 4)
    expected = torch.stack([by_steps(smoothing, row) for row in x])
    torch.testing.assert_close(smoothing(x), expected)


@pytest.mark.parametrize("asked", [[[8], [0], [4]], [[1, 5], [0, 8], [7, 7]]])
def test_those_asked_are_those_of_all(smoothing, asked):
    x, ask = torch.randn(3, 9, 4), torch.tensor(asked)
    torch.testing.assert_close(smoothing(x, ask), smoothing(x)[torch.arange(3)[:, None], ask])


def test_a_block_mixes_it_with_attention_by_its_share():
    torch.manual_seed(0)
    x, attentive = torch.randn(2, 5, 8), []
    for share in (0.7, 1.0):
        block = VanillaBlock(8, smoothing=share, pre_norm=False).eval()
        before = block(x)
        with torch.no_grad():
            block.attention.out.weight.normal_()
        attentive.append(not torch.allclose(block(x), before))
    assert attentive == [True, False]


def test_a_block_smooths_where_it_normalises_after():
    assert VanillaBlock(8).smoothing_weight == 0.7
    assert VanillaBlock(8, pre_norm=True).smoothing is None
    with pytest.raises(ValueError, match="set pre_norm=false"):
        VanillaBlock(8, pre_norm=True, smoothing=0.5)
