"""The results of the five functions."""

from typing import Any

from pydantic import BaseModel, Field


class ListedProduct(BaseModel):
    """A product in an answer."""

    item: str
    title: str
    score: float | None = Field(default=None, description="only comparable within one list")
    because: str | None = Field(default=None, description="the item of the history that speaks for it most")
    columns: dict[str, Any] = Field(default={}, description="price, category, in_stock and the table's other columns")


class ProductList(BaseModel):
    """Products in stock, best first."""

    items: list[ListedProduct]
    note: str = Field(default="", description="what the list is, where it is not what its function gives")


class ProductExplanation(BaseModel):
    """Why a product is recommended to this customer."""

    item: str
    title: str
    because: str | None = Field(description="the item of the history that speaks for it most; null: none stands out")
    because_title: str | None
    say: str


class ProductComparison(BaseModel):
    """Products side by side."""

    items: list[ListedProduct]
    differ: dict[str, dict[str, Any]] = Field(description="columns in which they differ: column, then id, then value")
    cheapest: str | None = Field(description="its id")
    closest: str | None = Field(description="id of the one that the history speaks for most")
