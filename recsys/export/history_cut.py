"""Histories inside the graph: known items are moved up and cut to the newest.

B users, L slots of the requested history, N slots of the cut history, W values per cell.
"""

import numpy as np
from onnx import TensorProto

from recsys.export.nodes import GraphBuilder


class HistoryCut:
    """The known items of a history, moved up to the left and cut to the newest, and the same for its columns.

    `history` (B L) is padding in its last slot; `max_history` None keeps all items.
    """

    def __init__(self, g: GraphBuilder, history: str, max_history: int | None) -> None:
        self.g = g
        zero, unit = g.constant(np.array(0, np.int64)), g.constant(np.array(1, np.int64))
        is_known = g.cast(g.op("Greater", history, g.ints(0)), TensorProto.INT64)
        self.known = g.op("ReduceSum", is_known, g.ints(1))  # (B 1)
        # the slot that each known item moves to
        target_slot = g.op("Sub", g.op("CumSum", is_known, unit), g.ints(1))
        is_kept, length = is_known, self.known
        if max_history is not None:
            length = g.op("Min", self.known, g.ints(max_history))
            target_slot = g.op("Sub", target_slot, g.op("Sub", self.known, length))
            is_newest = g.op("GreaterOrEqual", target_slot, g.ints(0))
            is_kept = g.op("Mul", is_known, g.cast(is_newest, TensorProto.INT64))
        # which slots of the cut history hold an item (B N)
        longest = g.op("ReduceMax", g.op("Concat", g.op("Reshape", length, g.ints(-1)), g.ints(1), axis=0))
        slots = g.op("Range", zero, g.op("Squeeze", longest), unit)
        is_filled = g.op("Less", slots, length)
        # the slot of the requested history that each of them comes from (B N); empty ones come from the last, padding
        width = g.op("Shape", history, start=1)
        source_slots = g.op("Range", zero, g.op("Squeeze", width), unit)
        zeros = g.op("Expand", g.ints(0), g.op("Shape", is_filled))
        target, source = g.op("Mul", target_slot, is_kept), g.op("Mul", source_slots, is_kept)
        scattered = g.op("ScatterElements", zeros, target, source, axis=1, reduction="add")
        self.source = g.op("Where", is_filled, scattered, g.op("Sub", width, g.ints(1)))
        self.items = self._gather(history)

    def take(self, column: str, several: bool) -> str:
        """A column (B L), or (B L W) with several values per cell, cut as the history is."""
        g = self.g
        padded = g.op("Pad", column, g.ints(0, 0, 0, 0, 1, 0) if several else g.ints(0, 0, 0, 1))
        if several:
            return g.op("GatherND", padded, g.op("Unsqueeze", self.source, g.ints(2)), batch_dims=1)
        return self._gather(padded)

    def _gather(self, column: str) -> str:
        return self.g.op("GatherElements", column, self.source, axis=1)
