"""Scores inside the graph: of all items, of the allowed ones only, and the best of them.

B users, N slots of the history, S slots to hide, I items with padding, E dimensions, C candidates.
"""

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from recsys.export.nodes import MICROSOFT_DOMAIN, GraphBuilder
from recsys.export.precision import find_outlier_columns, quantize_rows

CHUNK = 256
"""items that a network scores at a time: their hidden units stay in the cache"""
CANDIDATES = 200
"""how many more than k items are scored again exactly after int8"""
BLOCK = 64
"""dimensions of a query that share a scale in 8 bits"""
MINUS_INFINITY = np.array(-np.inf, np.float32)


@dataclass(frozen=True)
class RankingInputs:
    """Names of what a ranking needs beside scores."""

    n: int
    """I"""
    k: str
    """how many at most, (1,)"""
    hide: str
    """(B S) items to leave out; 0 is always among them"""
    allow: str
    """(m,) items to choose from; all if there are none"""
    history: str
    """(B N) items of the cut history"""
    extra: str | None = None
    """(B N) what is added to their scores"""


@dataclass(frozen=True)
class DotProductScorer:
    """Scores are the product of query vectors and the item matrix."""

    matrix: str

    def all_items(self, g: GraphBuilder, query: str, n: int) -> str:  # noqa: ARG002 - as the other ways are asked
        """(B I) scores."""
        return g.op("Gemm", query, self.matrix, transB=1)

    def some(self, g: GraphBuilder, query: str, items: str) -> str:
        """(B m) scores of some items."""
        return g.op("Gemm", query, g.op("Gather", self.matrix, items), transB=1)


@dataclass(frozen=True)
class NetworkScorer:
    """Scores are what a network makes of each pair."""

    matrix: str
    whole: str
    """the matrix, padded to whole chunks"""
    pairs: GraphProto

    def all_items(self, g: GraphBuilder, query: str, n: int) -> str:
        """(B I) scores, a chunk of items at a time."""
        starts = g.constant(np.arange(0, n, CHUNK, dtype=np.int64)[:, None])
        body = GraphBuilder(g)
        start = body.name("start")
        end = body.op("Add", start, g.ints(CHUNK))
        rows = body.op("Slice", self.whole, start, end, g.ints(0))
        scores = body.insert(self.pairs, {"query": query, "items": rows})
        given = helper.make_tensor_value_info(start, TensorProto.INT64, [1])
        chunks = g.op("Scan", starts, body=body.branch(scores, (TensorProto.FLOAT,), [given]), num_scan_inputs=1)
        flat = g.op("Reshape", g.op("Transpose", chunks, perm=[1, 0, 2]), g.ints(0, -1))
        return g.op("Slice", flat, g.ints(0), g.ints(n), g.ints(1))

    def some(self, g: GraphBuilder, query: str, items: str) -> str:
        """(B m) scores of some items."""
        return g.insert(self.pairs, {"query": query, "items": g.op("Gather", self.matrix, items)})[0]


def rank_queries(
    g: GraphBuilder, way: "DotProductScorer | Network", query: str, asked: RankingInputs, int8: np.ndarray | None
) -> tuple[str, str]:
    """(B k) scores and items, best first, by query vectors; int8: all items are first scored in 8 bits."""
    everything = GraphBuilder(g)
    if int8 is None:
        best = take_top_k(everything, way.all_items(everything, query, asked.n), asked)
    else:
        best = _coarse_then_exact(everything, way.matrix, query, asked, int8)
    listed = GraphBuilder(g)
    scores = way.some(listed, query, asked.allow)
    rows = listed.op("Concat", listed.op("Shape", query, start=0, end=1), g.ints(asked.n), axis=0)
    where = listed.op("Expand", listed.op("Unsqueeze", asked.allow, g.ints(0)), listed.op("Shape", scores))
    found = listed.op("ScatterElements", listed.op("Expand", g.constant(MINUS_INFINITY), rows), where, scores, axis=1)
    all_asked = g.op("And", _is_zero(g, g.op("Size", asked.allow)), g.op("Greater", asked.k, g.ints(0)))
    return _either(g, all_asked, (everything, best), (listed, take_top_k(listed, found, asked)))


def rank_scores(g: GraphBuilder, scores: str, asked: RankingInputs) -> tuple[str, str]:
    """(B k) scores and items, best first, of scores (B I) of all items."""
    everything, listed = GraphBuilder(g), GraphBuilder(g)
    lowest = g.constant(np.full((1, asked.n), -np.inf, np.float32))
    where = listed.op("Unsqueeze", asked.allow, g.ints(0))
    zeros = listed.op("Expand", g.constant(np.array(0, np.float32)), listed.op("Shape", where))
    kept = listed.op("Add", scores, listed.op("ScatterElements", lowest, where, zeros, axis=1))
    all_asked = _is_zero(g, g.op("Size", asked.allow))
    return _either(
        g, all_asked, (everything, take_top_k(everything, scores, asked)), (listed, take_top_k(listed, kept, asked))
    )


def sum_rows(g: GraphBuilder, matrix: str, history: str) -> str:
    """(B I) the sums of the rows of the distinct items of each history, one user at a time: a row is a score of
    every item.
    """
    body = GraphBuilder(g)
    row = body.name("row")
    total = body.op("ReduceSum", body.op("Gather", matrix, body.op("Unique", row)), g.ints(0), keepdims=0)
    given = helper.make_tensor_value_info(row, TensorProto.INT64, ["slots"])
    return g.op("Scan", history, body=body.branch([total], (TensorProto.FLOAT,), [given]), num_scan_inputs=1)


def take_top_k(g: GraphBuilder, scores: str, asked: RankingInputs) -> tuple[str, str]:
    """The best k of scores (B I), those of repeats raised and hidden ones left out."""
    if asked.extra is not None:
        scores = g.op("ScatterElements", scores, asked.history, asked.extra, axis=1, reduction="add")
    scores = _hidden(g, scores, asked)
    best, items = g.ops("TopK", scores, g.op("Min", asked.k, g.ints(asked.n)), n=2, axis=1)
    return best, items


def _hidden(g: GraphBuilder, scores: str, asked: RankingInputs) -> str:
    lowest = g.op("Expand", g.constant(MINUS_INFINITY), g.op("Shape", asked.hide))
    return g.op("ScatterElements", scores, asked.hide, lowest, axis=1)


def _coarse_then_exact(
    g: GraphBuilder, matrix: str, query: str, asked: RankingInputs, table: np.ndarray
) -> tuple[str, str]:
    """The best k among those that score best in 8 bits, in which the runtime rounds each query by itself, so that
    nobody's list depends on who else is asked about. Columns far larger than the rest, such as popularity, would leave
    these few steps and stay floats.
    """
    loud = find_outlier_columns(table)
    small, scales = quantize_rows(table[:, ~loud])
    width = -(-small.shape[1] // BLOCK) * BLOCK
    padded = np.pad(small, ((0, 0), (0, width - small.shape[1])))
    unsigned = (padded.astype(np.int16) + 128).astype(np.uint8).reshape(len(small), -1, BLOCK)
    weights, steps = g.constant(unsigned, "items_int8"), g.constant(scales.repeat(width // BLOCK), "items_scale")
    shape = {"K": small.shape[1], "N": len(small), "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    quiet = g.op("Gather", query, g.constant(np.flatnonzero(~loud)), axis=1)
    coarse = g.op("MatMulNBits", quiet, weights, steps, domain=MICROSOFT_DOMAIN, **shape)
    if loud.any():
        own = g.op("Gather", query, g.constant(np.flatnonzero(loud)), axis=1)
        coarse = g.op("Gemm", own, g.constant(np.ascontiguousarray(table[:, loud]), "items_loud"), coarse, transB=1)
    if asked.extra is not None:
        coarse = g.op("ScatterElements", coarse, asked.history, asked.extra, axis=1, reduction="add")
    k = g.op("Min", asked.k, g.ints(asked.n))
    some = g.op("Min", g.op("Add", k, g.ints(CANDIDATES)), g.ints(asked.n))
    found, items = g.ops("TopK", _hidden(g, coarse, asked), some, n=2, axis=1)
    exact = g.op("MatMul", g.op("Gather", matrix, items), g.op("Unsqueeze", query, g.ints(2)))
    exact = g.op("Squeeze", exact, g.ints(2))
    if asked.extra is not None:
        exact = g.op("Add", exact, _extra_of(g, items, asked))
    exact = g.op("Where", g.op("IsInf", found), g.constant(MINUS_INFINITY), exact)
    best, place = g.ops("TopK", exact, k, n=2, axis=1)
    return best, g.op("GatherElements", items, place, axis=1)


def _extra_of(g: GraphBuilder, items: str, asked: RankingInputs) -> str:
    """(B C) what is added to the scores of candidates."""
    assert asked.extra is not None
    same = g.op("Equal", g.op("Unsqueeze", items, g.ints(2)), g.op("Unsqueeze", asked.history, g.ints(1)))
    added = g.op("Mul", g.cast(same, TensorProto.FLOAT), g.op("Unsqueeze", asked.extra, g.ints(1)))
    return g.op("ReduceSum", added, g.ints(2), keepdims=0)


def _is_zero(g: GraphBuilder, size: str) -> str:
    return g.op("Equal", g.op("Reshape", size, g.ints(1)), g.ints(0))


def _either(
    g: GraphBuilder, condition: str, yes: tuple[GraphBuilder, tuple[str, str]], no: tuple[GraphBuilder, tuple[str, str]]
) -> tuple[str, str]:
    """One level deep: two would keep the runtime from packing the item matrix."""
    bodies = [nodes.branch(found, (TensorProto.FLOAT, TensorProto.INT64)) for nodes, found in (yes, no)]
    scores, items = g.ops("If", condition, n=2, then_branch=bodies[0], else_branch=bodies[1])
    return scores, items


def make_value_info(name: str, kind: int, dims: list[str | int]) -> ValueInfoProto:
    """An input or output of the whole graph."""
    return helper.make_tensor_value_info(name, kind, dims)
