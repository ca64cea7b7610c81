"""Which numbers the users and items of a log get in the prepared dataset.

N events, U users, I items.
"""

from dataclasses import dataclass

import numpy as np

from recsys.data.event_log import Array, count_codes, mask_before
from recsys.data.preparation.splits import SplitLog
from recsys.data.preparation.vocabulary import Vocabulary


@dataclass(frozen=True)
class Numbering:
    """Codes of users and items in the order of their numbers, and where the events of each user are."""

    users: Array
    """(U,) codes; the first one is user number 1"""
    items: Array
    """(I,) codes; the first one is item number 1"""
    n_items: int
    """how many of the items are of the old vocabulary or occur in training; they come first"""
    offsets: Array
    """(U+1,) where the events of each user start"""
    bounds: Array
    """(U, 2) where validation and test of each user start"""
    training: Array
    """(N,) bool: events of the training part"""
    training_targets: Array
    """(N,) bool: events of the training part that are to be predicted"""

    def item_numbers(self) -> Array:
        """The number of each item code, 0 for codes that have none."""
        numbers = np.zeros(self.items.max(initial=0) + 1, dtype=np.int32)
        numbers[self.items] = np.arange(1, len(self.items) + 1)
        return numbers


def number_users_and_items(split_log: SplitLog, vocabulary: Vocabulary) -> Numbering:
    """The numbering of a log.

    Items of the old vocabulary keep their numbers from 1. The others follow by how often they are a target in training,
    then by raw id; items first seen after training come last.
    """
    log = split_log.log
    n_events = count_codes(log.users, len(vocabulary.users))
    present = n_events > 0
    present[: len(vocabulary.users)] = True
    users = np.flatnonzero(present)
    bounds = _extend_bounds(split_log, users)
    offsets = np.concatenate([[0], np.cumsum(n_events[users])]).astype(np.int64)
    training = mask_before(bounds[:, 0], offsets)
    targets = training if log.is_target is None else training & log.is_target
    items, n_items = _number_items(log.items, training, targets, len(vocabulary.items))
    return Numbering(users, items, n_items, offsets, bounds.astype(np.int64), training, targets)


def _extend_bounds(split_log: SplitLog, users: Array) -> Array:
    """(U, 2) the bounds of the user codes; users behind the last one of the log have no events."""
    missing = int(users[-1]) + 1 - len(split_log.bounds)
    return np.concatenate([split_log.bounds, np.full((max(missing, 0), 2), len(split_log.log))])[users]


def _number_items(items: Array, training: Array, targets: Array, n_old: int) -> tuple[Array, int]:
    """Item codes in the order of their new numbers, the first `n_old` first, and how many are old or in training."""
    n_all, n_training, n_targets = (count_codes(items, mask=mask) for mask in (None, training, targets))
    new = n_old + np.flatnonzero(n_all[n_old:])
    order = new[np.lexsort((new, -n_targets[new], n_training[new] == 0))]
    return np.concatenate([np.arange(n_old), order]), n_old + int((n_training[new] > 0).sum())
