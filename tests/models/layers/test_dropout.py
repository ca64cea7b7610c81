import pytest
import torch

from recsys.models.layers.dropout import Dropout, draw_bytes


def test_shares_are_dropped_and_the_rest_scaled_up():
    torch.manual_seed(0)
    for share, dtype in ((0.2, torch.float32), (0.5, torch.bfloat16), (0.5, torch.float64)):
        x = torch.ones(300, 1001, dtype=dtype, requires_grad=True)
        out = Dropout(share)(x)
        kept = out != 0
        assert abs(kept.float().mean().item() - (1 - share)) < 0.005
        assert abs(out.float().mean().item() - 1) < 0.005
        assert len(out[kept].unique()) == 1
        out.sum().backward()
        torch.testing.assert_close(x.grad, out.detach())


def test_what_is_dropped_depends_neither_on_place_nor_on_neighbours():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(4096, 64)) != 0).float()
    assert (kept.mean(dim=0) - 0.5).abs().max() < 0.05
    correlation = torch.corrcoef(kept.T) - torch.eye(64)
    assert correlation.abs().max() < 0.08


def test_bytes_are_even():
    torch.manual_seed(0)
    counts = torch.bincount(draw_bytes(torch.empty(256, 1003)).flatten().long(), minlength=256)
    assert counts.shape == (256,)
    assert ((counts - 1003).abs() < 5 * 1003**0.5).all()


def test_seeds_repeat_and_calls_differ():
    drop, x = Dropout(0.3), torch.ones(100, 10)
    torch.manual_seed(4)
    first, second = drop(x), drop(x)
    torch.manual_seed(4)
    assert torch.equal(drop(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_outside_training_or_without_a_share():
    x = torch.randn(5, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert (Dropout(0.001)(torch.ones(100, 1000)) == 0).any()  # too small a share for bytes


@pytest.mark.parametrize("share", [-0.1, 1.0, 2])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match=f"dropout={share} is invalid: expected a number ≥ 0 and < 1"):
        Dropout(share)
