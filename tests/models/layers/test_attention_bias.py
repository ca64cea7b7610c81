"""Attention of few positions, which makes no keys and values, against attention of all."""

import pytest
import torch
from torch import nn

from recsys.models.layers.blocks import Attention

N = 7


def causal(bias):
    return bias.masked_fill(torch.ones(N, N).triu(1).bool(), -torch.inf)


@pytest.fixture(params=["plain", "biased"])
def asked_and_expected(request):
    torch.manual_seed(0)
    attention = Attention(32, n_heads=2).double()
    nn.init.normal_(attention.key_value.bias)
    x = torch.randn(3, N, 32, dtype=torch.double)
    ask = torch.tensor([[6, 0], [3, 3], [1, 5]])
    row = torch.arange(3)[:, None]
    if request.param == "plain":
        return attention, (lambda: attention(x, ask)), (lambda: attention(x)[row, ask])
    bias = causal(torch.randn(3, 2, N, N, dtype=torch.double))
    of_few = bias[row, :, ask].transpose(1, 2)
    return attention, (lambda: attention(x, ask, of_few)), (lambda: attention(x, None, bias)[row, ask])


def test_few_are_answered_as_among_all(asked_and_expected):
    _, asked, expected = asked_and_expected
    torch.testing.assert_close(asked(), expected())


def test_few_teach_what_they_teach_among_all(asked_and_expected):
    attention, asked, expected = asked_and_expected
    weights = torch.randn(32, dtype=torch.double)
    gradients = [
        torch.autograd.grad((answers() @ weights).square().sum(), list(attention.parameters()))
        for answers in (asked, expected)
    ]
    torch.testing.assert_close(*gradients)


def test_few_ask_no_key_of_any_position(monkeypatch):
    attention = Attention(32, n_heads=2)
    monkeypatch.setattr(attention.key_value, "forward", lambda _: pytest.fail("made keys and values"))
    x = torch.randn(3, N, 32)
    attention(x, torch.full((3, 8), N - 1))
    with pytest.raises(pytest.fail.Exception):
        attention(x, torch.full((3, 9), N - 1))
