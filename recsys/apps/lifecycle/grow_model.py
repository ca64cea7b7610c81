"""A champion's weights in a model of a larger catalogue: old rows as they were, new rows from the mean of the old.

I items with padding.
"""

import torch
from torch import Tensor, nn

from recsys.errors import ConfigError


def grow(old: dict[str, Tensor], model: nn.Module) -> None:
    """Give a freshly prepared model the parameters of `old`, whose items, users and values have the same numbers: rows
    that both have are byte-equal. Buffers, such as item features, stay those of the new data.

    A new row starts at the mean of the old ones, off by what the fresh model's own row is off from its mean: noise
    where tables start as noise, and the count of the item where popularity starts at counts. Raises ConfigError where
    the weights are those of another model.
    """
    for name, parameter in model.named_parameters():
        if name not in old or old[name].shape[1:] != parameter.shape[1:] or old[name].ndim != parameter.ndim:
            raise ConfigError(f"the champion has no weights '{name}' of this shape; train anew instead of a refresh")
        with torch.no_grad():
            parameter.copy_(_grown(old[name], parameter))


def _grown(old: Tensor, fresh: Tensor) -> Tensor:
    if old.shape == fresh.shape:
        return old
    n = len(old)
    if len(fresh) < n:
        raise ConfigError(f"a table of {n:,} rows cannot shrink to {len(fresh):,}; name the champion's vocabulary")
    real = slice(1, n) if n > 1 else slice(n)  # row 0 is padding
    return torch.cat([old, old[real].mean(dim=0) + fresh[n:] - fresh[real].mean(dim=0)])
