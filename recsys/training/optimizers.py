"""An optimizer whose step costs time for the rows that were read, not for the whole catalogue."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import AdamW
from typing_extensions import override


class RowwiseAdagradW(AdamW):
    """AdamW for dense gradients, and Adagrad with one accumulator per row for sparse ones, as in DLRM (Naumov et al.,
    2019). Tables have no weight decay: a step does not touch rows that were not read.

    `table_lr` is the learning rate of the tables.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.01,
        table_lr: float = 0.02,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
        for group in self.param_groups:
            group["table_lr"] = table_lr

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @override
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    self._step_table(table, group["table_lr"], group["eps"])
                    table.grad = None  # so that AdamW leaves it alone
        super().step()
        return loss

    @torch.no_grad()
    def _step_table(self, table: Tensor, lr: float, eps: float) -> None:
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows, values = gradient.indices()[0], gradient.values()
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())  # AdamW expects it when it loads a state
            state["squares"] = table.new_zeros(len(table))
        squares = state["squares"].index_add_(0, rows, values.square().mean(dim=1))
        table.index_add_(0, rows, values / (squares[rows, None].sqrt() + eps), alpha=-lr)
