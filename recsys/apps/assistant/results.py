"""The results of the five functions."""

from typing import Any

from pydantic import BaseModel, Field


class ListedProduct(BaseModel):
    """A product in an answer."""

    item: str
    title: str
    score: float | None = Field(default=None, description="only comparable within one list")
    because: str | None = Field(default=None, description="the item of the history that is its main reason")
    columns: dict[str, Any] = Field(default={}, description="price, category, in_stock and the table's other columns")


class ProductList(BaseModel):
    """Products in stock, best first."""

    items: list[ListedProduct]
    note: str = Field(default="", description="remark on a list that is empty or not the usual one")


class ProductExplanation(BaseModel):
    """Why a product is recommended to this customer."""

    item: str
    title: str
    because: str | None = Field(description="the item of the history that is the main reason; null: none stands out")
    because_title: str | None
    say: str


class ProductComparison(BaseModel):
    """Products side by side."""

    items: list[ListedProduct]
    differ: dict[str, dict[str, Any]] = Field(description="values in the columns that differ, by column and id")
    cheapest: str | None = Field(description="id of the cheapest product")
    closest: str | None = Field(description="id of the product that fits the history best")
