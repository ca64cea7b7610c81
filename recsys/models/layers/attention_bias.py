"""Biases of attention: how many positions back an event is, and how long ago.

B users, N positions, Q query positions, H heads.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.errors import DataError
from recsys.models.base import DataSpec

N_BUCKETS = 32
"""buckets of elapsed seconds, each twice as wide as the one before; the last begins after 68 years"""


class AttentionBias(nn.Module):
    """A bias of the attention logits.

    Each head learns a number for each distance in positions (`relative_position`) and for each bucket of elapsed time
    (`time`). Shaw et al. (2018); time buckets as in HSTU (Zhai et al., 2024).
    """

    def __init__(self, n_heads: int, n_positions: int, relative_position: bool, time: bool) -> None:
        super().__init__()
        self.distance = nn.Parameter(torch.zeros(n_heads, n_positions)) if relative_position else None
        self.elapsed = nn.Parameter(torch.zeros(n_heads, N_BUCKETS)) if time else None

    def forward(
        self,
        positions: Int[Tensor, "#B Q"],
        query_times: Int[Tensor, "B Q"] | None,
        key_times: Int[Tensor, "B N"] | None,
        n_positions: int,
    ) -> Float[Tensor, "#B H Q N"]:
        """The bias from each query position to each of `n_positions` positions; −inf to later positions.

        Times are in seconds: `query_times` of the queries, `key_times` of the positions they attend to. A single row of
        `positions` is shared by all users.
        """
        keys = torch.arange(n_positions, device=positions.device)
        if self.distance is None or positions.shape[1] == 1 or positions.shape[0] == 1:
            bias = self._bias_by_distance(positions[:, :, None] - keys).transpose(0, 1)
        else:  # rows of a table of all distances: reading them, and their gradients, is much faster than single numbers
            table = self._bias_by_distance(keys[:, None] - keys).transpose(0, 1)
            bias = F.embedding(positions, table.flatten(1)).view(*positions.shape, -1, n_positions).transpose(1, 2)
        if self.elapsed is not None and query_times is not None and key_times is not None:
            bias = bias + self._bias_by_time(compute_time_buckets(query_times, key_times))
        return bias

    def _bias_by_time(self, buckets: Int[Tensor, "B Q N"]) -> Float[Tensor, "B H Q N"]:
        """The bias of each bucket, by `gather`: on a CPU the gradient of an embedding takes 20 times as long."""
        assert self.elapsed is not None
        flat = buckets.flatten().expand(self.elapsed.shape[0], -1)
        return self.elapsed.gather(1, flat).view(-1, *buckets.shape).transpose(0, 1)

    def _bias_by_distance(self, distances: Int[Tensor, "*N"]) -> Float[Tensor, "H *N"]:
        """The bias of each distance in positions; −inf for negative distances."""
        bias = torch.zeros(1, *distances.shape, device=distances.device)
        if self.distance is not None:
            bias = self.distance[:, distances.clamp(0, self.distance.shape[1] - 1)]
        return bias.masked_fill(distances < 0, -torch.inf)


def prepend_start(times: Int[Tensor, "B L"] | None) -> Int[Tensor, "B N"] | None:
    """The times of all positions: 0 for the start token, then those of the events."""
    return None if times is None else F.pad(times, (1, 0))


def check_time_bias(spec: DataSpec, time_bias: bool) -> None:
    """Raises DataError if `time_bias` is true and the data have no times."""
    if time_bias and not spec.has_time:
        raise DataError("model.time_bias=true needs times; name the column under data.columns.timestamp")


def compute_time_buckets(query_times: Int[Tensor, "B Q"], key_times: Int[Tensor, "B N"]) -> Int[Tensor, "B Q N"]:
    """The bucket of the time between each query and position: log2 of the seconds, 0 for the start token."""
    return _compute_buckets(query_times[:, :, None] - key_times[:, None])


def compute_pause_buckets(
    times: Int[Tensor, "B N"], request_times: Int[Tensor, "B Q"], positions: Int[Tensor, "B Q"]
) -> Int[Tensor, "B N"]:
    """The bucket of the time from each event to the next event, or to the request at that position.

    It is 0 for the start token. Every query that sees an event knows this time.
    """
    next_times = torch.cat([times[:, 1:], times[:, -1:]], dim=1).scatter(1, positions, request_times)
    return _compute_buckets(next_times - times)


def _compute_buckets(seconds: Int[Tensor, "*B N"]) -> Int[Tensor, "*B N"]:
    # + 1.5, not 1: keeps powers of two off the bucket edges, where another runtime's logarithm may round down
    buckets = (seconds.clamp(min=0).double() + 1.5).log2().long().clamp(max=N_BUCKETS - 1)
    return buckets * (torch.arange(seconds.shape[-1], device=seconds.device) > 0)
