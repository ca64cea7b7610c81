"""Histories inside the graph: known items moved up and cut to the newest.

B users, L slots as asked, N slots of the cut history, W values a cell.
"""

import numpy as np
from onnx import TensorProto

from recsys.export.nodes import GraphBuilder


class HistoryCut:
    """Known items of a history, whose last slot is padding, moved up to the left and cut to the newest, and the
    same for columns beside them.
    """

    def __init__(self, g: GraphBuilder, history: str, max_history: int | None) -> None:
        self.g = g
        zero, one = g.constant(np.array(0, np.int64)), g.constant(np.array(1, np.int64))
        real = g.cast(g.op("Greater", history, g.ints(0)), TensorProto.INT64)
        self.known = g.op("ReduceSum", real, g.ints(1))  # (B 1)
        place = g.op("Sub", g.op("CumSum", real, one), g.ints(1))
        kept, length = real, self.known
        if max_history is not None:
            length = g.op("Min", self.known, g.ints(max_history))
            place = g.op("Sub", place, g.op("Sub", self.known, length))
            newest = g.op("GreaterOrEqual", place, g.ints(0))
            kept = g.op("Mul", real, g.cast(newest, TensorProto.INT64))
        longest = g.op("ReduceMax", g.op("Concat", g.op("Reshape", length, g.ints(-1)), g.ints(1), axis=0))
        slots = g.op("Range", zero, g.op("Squeeze", longest), one)
        filled = g.op("Less", slots, length)  # (B N)
        width = g.op("Shape", history, start=1)
        slot_of = g.op("Range", zero, g.op("Squeeze", width), one)
        nothing = g.op("Expand", g.ints(0), g.op("Shape", filled))
        to, of = g.op("Mul", place, kept), g.op("Mul", slot_of, kept)
        source = g.op("ScatterElements", nothing, to, of, axis=1, reduction="add")
        self.source = g.op("Where", filled, source, g.op("Sub", width, g.ints(1)))  # the last slot is padding
        self.items = self._gather(history)

    def take(self, column: str, several: bool) -> str:
        """A column (B L) or, with several values a cell, (B L W) beside the cut history."""
        g = self.g
        padded = g.op("Pad", column, g.ints(0, 0, 0, 0, 1, 0) if several else g.ints(0, 0, 0, 1))
        if several:
            return g.op("GatherND", padded, g.op("Unsqueeze", self.source, g.ints(2)), batch_dims=1)
        return self._gather(padded)

    def _gather(self, column: str) -> str:
        return self.g.op("GatherElements", column, self.source, axis=1)
