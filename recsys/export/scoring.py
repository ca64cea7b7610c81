"""Scores inside the graph: of all items or of the allowed ones only, and the best of them.

B users, N slots of the history, S slots to hide, I items with padding, E dimensions, C candidates, m allowed items.
"""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from recsys.export.nodes import MICROSOFT_DOMAIN, GraphBuilder
from recsys.export.precision import find_outlier_columns, quantize_rows

CHUNK = 256
"""items that a network scores at a time, so that their hidden units stay in the cache"""
CANDIDATES = 200
"""number of items beyond k that are scored again exactly after int8"""
BLOCK = 64
"""dimensions of a query that share a scale in int8"""
MINUS_INFINITY = np.array(-np.inf, np.float32)


@dataclass(frozen=True)
class RankingInputs:
    """Names of the values that a ranking needs besides scores."""

    n: int
    """I"""
    k: str
    """(1,) maximal length of a list"""
    hide: str
    """(B S) items to leave out, always with 0 among them"""
    allow: str
    """(m,) items to choose from; all if it is empty"""
    history: str
    """(B N) items of the cut history"""
    extra: str | None = None
    """(B N) amounts added to the scores of these items"""


@dataclass(frozen=True)
class DotProductScorer:
    """Scores are the product of query vectors and the item matrix."""

    matrix: str

    def score_all(self, g: GraphBuilder, query: str) -> str:
        """(B I) scores of all items."""
        return g.op("Gemm", query, self.matrix, transB=1)

    def score(self, g: GraphBuilder, query: str, items: str) -> str:
        """(B m) scores of some items."""
        return g.op("Gemm", query, g.op("Gather", self.matrix, items), transB=1)


@dataclass(frozen=True)
class NetworkScorer:
    """Scores are computed by a network from each pair of a query and an item."""

    matrix: str
    padded_matrix: str
    """the matrix, padded to whole chunks"""
    network: GraphProto
    n: int
    """I"""

    def score_all(self, g: GraphBuilder, query: str) -> str:
        """(B I) scores of all items, computed chunk by chunk."""
        starts = g.constant(np.arange(0, self.n, CHUNK, dtype=np.int64)[:, None])
        body = GraphBuilder(g)
        start = body.new_name("start")
        end = body.op("Add", start, g.ints(CHUNK))
        rows = body.op("Slice", self.padded_matrix, start, end, g.ints(0))
        scores = body.insert(self.network, {"query": query, "items": rows})
        start_info = helper.make_tensor_value_info(start, TensorProto.INT64, [1])
        loop = body.make_body(scores, (TensorProto.FLOAT,), [start_info])
        chunks = g.op("Scan", starts, body=loop, num_scan_inputs=1)  # (chunks B CHUNK)
        flat = g.op("Reshape", g.op("Transpose", chunks, perm=[1, 0, 2]), g.ints(0, -1))
        return g.op("Slice", flat, g.ints(0), g.ints(self.n), g.ints(1))

    def score(self, g: GraphBuilder, query: str, items: str) -> str:
        """(B m) scores of some items."""
        return g.insert(self.network, {"query": query, "items": g.op("Gather", self.matrix, items)})[0]


def rank_queries(
    g: GraphBuilder,
    scorer: DotProductScorer | NetworkScorer,
    query: str,
    inputs: RankingInputs,
    int8: np.ndarray | None,
) -> tuple[str, str]:
    """(B k) scores and items, best first, for query vectors (B E).

    With the item matrix `int8` (I E), candidates are chosen by scores in 8 bits and then scored exactly.
    """
    unrestricted = GraphBuilder(g)
    if int8 is None:
        best = take_top_k(unrestricted, scorer.score_all(unrestricted, query), inputs)
    else:
        best = _rank_candidates(unrestricted, scorer.matrix, query, inputs, int8)
    restricted = GraphBuilder(g)
    # the scores of the allowed items (B m), written into (B I) of minus infinity
    scores = scorer.score(restricted, query, inputs.allow)
    shape = restricted.op("Concat", restricted.op("Shape", query, start=0, end=1), g.ints(inputs.n), axis=0)
    index = restricted.op("Expand", restricted.op("Unsqueeze", inputs.allow, g.ints(0)), restricted.op("Shape", scores))
    hidden = restricted.op("Expand", g.constant(MINUS_INFINITY), shape)
    scattered = restricted.op("ScatterElements", hidden, index, scores, axis=1)
    # k = 0 asks for the query vector alone, so that scoring all items would be in vain
    is_unrestricted = g.op("And", _is_zero(g, g.op("Size", inputs.allow)), g.op("Greater", inputs.k, g.ints(0)))
    return _choose(g, is_unrestricted, (unrestricted, best), (restricted, take_top_k(restricted, scattered, inputs)))


def rank_scores(g: GraphBuilder, scores: str, inputs: RankingInputs) -> tuple[str, str]:
    """(B k) scores and items, best first, from scores (B I) of all items."""
    unrestricted, restricted = GraphBuilder(g), GraphBuilder(g)
    # minus infinity is added to the scores of all but the allowed items
    hidden = g.constant(np.full((1, inputs.n), -np.inf, np.float32))
    index = restricted.op("Unsqueeze", inputs.allow, g.ints(0))
    zeros = restricted.op("Expand", g.constant(np.array(0, np.float32)), restricted.op("Shape", index))
    mask = restricted.op("ScatterElements", hidden, index, zeros, axis=1)
    masked = restricted.op("Add", scores, mask)
    is_unrestricted = _is_zero(g, g.op("Size", inputs.allow))
    return _choose(
        g,
        is_unrestricted,
        (unrestricted, take_top_k(unrestricted, scores, inputs)),
        (restricted, take_top_k(restricted, masked, inputs)),
    )


def sum_rows(g: GraphBuilder, matrix: str, history: str) -> str:
    """(B I) for each user, the sum of the rows (I I) of the distinct items of the history (B N).

    A row holds one score per item. Users are processed one at a time.
    """
    body = GraphBuilder(g)
    row = body.new_name("row")
    total = body.op("ReduceSum", body.op("Gather", matrix, body.op("Unique", row)), g.ints(0), keepdims=0)
    row_info = helper.make_tensor_value_info(row, TensorProto.INT64, ["slots"])
    return g.op("Scan", history, body=body.make_body([total], (TensorProto.FLOAT,), [row_info]), num_scan_inputs=1)


def take_top_k(g: GraphBuilder, scores: str, inputs: RankingInputs) -> tuple[str, str]:
    """(B k) scores and items, best first, from scores (B I), with those of repeats raised and hidden items left out."""
    if inputs.extra is not None:
        scores = g.op("ScatterElements", scores, inputs.history, inputs.extra, axis=1, reduction="add")
    scores = _hide_items(g, scores, inputs)
    best, items = g.ops("TopK", scores, g.op("Min", inputs.k, g.ints(inputs.n)), n=2, axis=1)
    return best, items


def _hide_items(g: GraphBuilder, scores: str, inputs: RankingInputs) -> str:
    hidden = g.op("Expand", g.constant(MINUS_INFINITY), g.op("Shape", inputs.hide))
    return g.op("ScatterElements", scores, inputs.hide, hidden, axis=1)


def _rank_candidates(
    g: GraphBuilder, matrix: str, query: str, inputs: RankingInputs, table: np.ndarray
) -> tuple[str, str]:
    """(B k) exact scores and items of the candidates that score best in 8 bits."""
    coarse = _score_int8(g, query, table)
    if inputs.extra is not None:
        coarse = g.op("ScatterElements", coarse, inputs.history, inputs.extra, axis=1, reduction="add")
    k = g.op("Min", inputs.k, g.ints(inputs.n))
    n_candidates = g.op("Min", g.op("Add", k, g.ints(CANDIDATES)), g.ints(inputs.n))
    coarse_best, items = g.ops("TopK", _hide_items(g, coarse, inputs), n_candidates, n=2, axis=1)
    exact = g.op("MatMul", g.op("Gather", matrix, items), g.op("Unsqueeze", query, g.ints(2)))
    exact = g.op("Squeeze", exact, g.ints(2))
    if inputs.extra is not None:
        exact = g.op("Add", exact, _gather_extra(g, items, inputs.history, inputs.extra))
    exact = g.op("Where", g.op("IsInf", coarse_best), g.constant(MINUS_INFINITY), exact)
    best, position = g.ops("TopK", exact, k, n=2, axis=1)
    return best, g.op("GatherElements", items, position, axis=1)


def _score_int8(g: GraphBuilder, query: str, table: np.ndarray) -> str:
    """(B I) scores in 8 bits.

    The runtime rounds each query separately, so that a list does not depend on who else is in the batch. Columns far
    larger than the others, such as popularity, would leave the others few steps, and stay floats.
    """
    is_outlier = find_outlier_columns(table)
    small, scales = quantize_rows(table[:, ~is_outlier])
    width = -(-small.shape[1] // BLOCK) * BLOCK
    padded = np.pad(small, ((0, 0), (0, width - small.shape[1])))
    unsigned = (padded.astype(np.int16) + 128).astype(np.uint8).reshape(len(small), -1, BLOCK)
    weights, steps = g.constant(unsigned, "items_int8"), g.constant(scales.repeat(width // BLOCK), "items_scale")
    shape = {"K": small.shape[1], "N": len(small), "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    quantized_query = g.op("Gather", query, g.constant(np.flatnonzero(~is_outlier)), axis=1)
    scores = g.op("MatMulNBits", quantized_query, weights, steps, domain=MICROSOFT_DOMAIN, **shape)
    if not is_outlier.any():
        return scores
    outlier_query = g.op("Gather", query, g.constant(np.flatnonzero(is_outlier)), axis=1)
    outliers = g.constant(np.ascontiguousarray(table[:, is_outlier]), "items_loud")
    return g.op("Gemm", outlier_query, outliers, scores, transB=1)


def _gather_extra(g: GraphBuilder, items: str, history: str, extra: str) -> str:
    """(B C) amounts added to the scores of candidates."""
    is_same = g.op("Equal", g.op("Unsqueeze", items, g.ints(2)), g.op("Unsqueeze", history, g.ints(1)))
    added = g.op("Mul", g.cast(is_same, TensorProto.FLOAT), g.op("Unsqueeze", extra, g.ints(1)))
    return g.op("ReduceSum", added, g.ints(2), keepdims=0)


def _is_zero(g: GraphBuilder, size: str) -> str:
    return g.op("Equal", g.op("Reshape", size, g.ints(1)), g.ints(0))


def _choose(
    g: GraphBuilder,
    condition: str,
    yes: tuple[GraphBuilder, tuple[str, str]],
    no: tuple[GraphBuilder, tuple[str, str]],
) -> tuple[str, str]:
    """Scores and items of one of two subgraphs.

    Subgraphs are one level deep: in two levels the runtime could not pack the item matrix.
    """
    bodies = [nodes.make_body(outputs, (TensorProto.FLOAT, TensorProto.INT64)) for nodes, outputs in (yes, no)]
    scores, items = g.ops("If", condition, n=2, then_branch=bodies[0], else_branch=bodies[1])
    return scores, items


def make_value_info(name: str, element_type: int, dims: list[str | int]) -> ValueInfoProto:
    """An input or output of the whole graph; `element_type` is a TensorProto constant."""
    return helper.make_tensor_value_info(name, element_type, dims)
