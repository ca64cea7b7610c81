"""Diversity of lists against plain loops and answers worked by hand."""

from itertools import combinations
from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.evaluation.metrics.beyond_accuracy import Diversity, beyond_metrics

COUNTS = torch.tensor([0, 8, 4, 4, 0])
LISTS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=6)
GENRES = torch.tensor([[0, 0, 0], [1, 2, 0], [2, 0, 0], [3, 3, 1], [0, 0, 0]])
BRANDS = torch.tensor([[0], [1], [1], [2], [2]])


def diversity(lists: list[list[int]], *columns: Tensor, k: int = 3) -> float:
    metric = Diversity(columns, k)
    metric.update(torch.tensor(lists))
    return float(metric.compute())


def overlap(column: list[list[int]], a: int, b: int) -> float:
    first, second = set(column[a]) - {0}, set(column[b]) - {0}
    return len(first & second) / len(first | second) if first | second else 0.0


def plain_diversity(lists: list[list[int]], columns: list[list[list[int]]], k: int) -> list[float]:
    values = []
    for row in lists:
        pairs = list(combinations([item for item in row[:k] if item], 2))
        distances = [1 - sum(overlap(c, a, b) for c in columns) / len(columns) for a, b in pairs]
        values += [sum(distances) / len(pairs)] if pairs else []
    return values


def test_diversity_by_hand() -> None:
    # genres {1, 2}, {2}, {1, 3}: overlaps 1/2, 1/3 and 0
    assert diversity([[1, 2, 3]], GENRES) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    # and brands 1, 1, 2: overlaps 1, 0 and 0
    assert diversity([[1, 2, 3]], GENRES, BRANDS) == pytest.approx((1 / 4 + 5 / 6 + 1) / 3)
    assert diversity([[1, 2, 3], [1, 2, 0]], GENRES, BRANDS) == pytest.approx(((1 / 4 + 5 / 6 + 1) / 3 + 1 / 4) / 2)
    assert diversity([[3, 4, 1]], BRANDS, k=2) == 0  # the place past k does not count
    assert diversity([[0, 1, 0], [2, 0, 3], [0, 0, 0]], GENRES) == 1  # lists of one or none are left out
    assert diversity([[1, 4, 0]], GENRES) == 1  # nothing is known of item 4
    assert isnan(diversity([[1, 0, 0]], GENRES))


CODES = st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=4, max_size=4)


@settings(deadline=None)
@given(LISTS, LISTS, st.lists(CODES, min_size=1, max_size=3), st.integers(2, 4))
def test_diversity_equals_the_loops(
    first: list[list[int]], second: list[list[int]], codes: list[list[list[int]]], k: int
) -> None:
    columns = [[[0, 0, 0], *column] for column in codes]
    metric = Diversity([torch.tensor(column) for column in columns], k)
    for lists in (first, second):
        metric.update(torch.tensor(lists))
    values = plain_diversity(first + second, columns, k)
    expected = sum(values) / len(values) if values else float("nan")
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_diversity_stands_where_items_have_categories_and_lists_two_places() -> None:
    assert not any("diversity" in name for name in beyond_metrics(COUNTS, [1, 3]))
    with_categories = beyond_metrics(COUNTS, [1, 2, 3], [GENRES, BRANDS])
    assert {name for name in with_categories if "diversity" in name} == {"diversity@2", "diversity@3"}
    with pytest.raises(ValueError, match="categories is empty"):
        Diversity([], 3)
    with pytest.raises(ValueError, match="categories covers 0 to 4"):
        diversity([[1, 5, 0]], GENRES)
