"""A champion's weights in a model of a larger catalogue: old rows unchanged, new rows near the mean of the old ones."""

import torch
from torch import Tensor, nn

from recsys.errors import ConfigError


def grow_weights(old: dict[str, Tensor], model: nn.Module) -> None:
    """Copies the parameters `old` into a freshly prepared model whose items, users and values have the same numbers.

    Rows that both have are byte-equal. Buffers, such as item features, stay those of the new data. A new row is the
    mean of the old rows plus the difference of the fresh row from the mean of the fresh ones: noise where a table
    starts as noise, the item's count where popularity starts at counts. Raises ConfigError if the weights belong to
    another model.
    """
    for name, parameter in model.named_parameters():
        if name not in old or old[name].shape[1:] != parameter.shape[1:] or old[name].ndim != parameter.ndim:
            raise ConfigError(
                f"the champion has no weights '{name}' of this shape; train a new model instead of a refresh"
            )
        with torch.no_grad():
            parameter.copy_(_grow_table(old[name], parameter))


def _grow_table(old: Tensor, fresh: Tensor) -> Tensor:
    if old.shape == fresh.shape:
        return old
    n = len(old)
    if len(fresh) < n:
        raise ConfigError(f"a table of {n:,} rows cannot shrink to {len(fresh):,}; use the champion's vocabulary")
    real = slice(1, n) if n > 1 else slice(n)  # row 0 is padding
    return torch.cat([old, old[real].mean(dim=0) + fresh[n:] - fresh[real].mean(dim=0)])
