"""The old path and names of `recsys.models.layers.embedding`, for users' own models; the next release drops it."""

import warnings

from recsys.models.layers.embedding import ContextEmbedding as Context
from recsys.models.layers.embedding import FeatureEmbedding as FeatureEmbedding
from recsys.models.layers.embedding import MatrixRows as Rows
from recsys.models.layers.embedding import UserEmbedding as UserRow
from recsys.models.layers.embedding import log_popularity as log_popularity
from recsys.models.layers.embedding import make_embedding as initialised
from recsys.models.layers.embedding import read_vectors as vectors

__all__ = ["Context", "FeatureEmbedding", "Rows", "UserRow", "initialised", "log_popularity", "vectors"]

warnings.warn("recsys.models.embedding is now recsys.models.layers.embedding", DeprecationWarning, stacklevel=2)
