"""Search by meaning: what is embedded of an item, and how like a query it is.

The vectors of an item are kept with it, and compared one by one: a search costs what the
namespace holds, as every search here does.
"""

from __future__ import annotations

import base64
import math
import operator
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    IndexConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
)

Vector = Sequence[float]


class Index:
    """What is embedded, and by what."""

    def __init__(self, config: IndexConfig) -> None:
        """`config` is LangGraph's. Raises ValueError, or what LangGraph does, for one that
        makes no sense."""
        if config.get("embed") is None:
            raise ValueError("index: embed says by what texts become vectors; there is none")
        self.embeddings: Embeddings = ensure_embeddings(config["embed"])
        self._dims = config.get("dims")
        self._fields = list(config.get("fields") or ["$"])

    def texts(
        self, value: Mapping[str, Any], fields: Literal[False] | Sequence[str] | None
    ) -> list[str]:
        """What is to be embedded of a value; `fields` as in `put`: None is the index'."""
        if fields is False:
            return []
        return [
            text
            for field in (self._fields if fields is None else fields)
            for text in get_text_at_path(value, "$" if field == "$" else tokenize_path(field))
        ]

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Their vectors; this thread waits. Raises what the embeddings do, and ValueError."""
        found = self.embeddings.embed_documents(list(texts)) if texts else []
        return self._checked(found, len(texts))

    async def aembed(self, texts: Sequence[str]) -> list[Vector]:
        """As `embed`; the event loop goes on meanwhile."""
        found = await self.embeddings.aembed_documents(list(texts)) if texts else []
        return self._checked(found, len(texts))

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of what is looked for."""
        found = [self.embeddings.embed_query(text) for text in texts]
        return self._checked(found, len(texts))

    async def aembed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """As `embed_queries`; the event loop goes on meanwhile."""
        found = [await self.embeddings.aembed_query(text) for text in texts]
        return self._checked(found, len(texts))

    def _checked(self, found: Sequence[Vector], count: int) -> list[Vector]:
        if len(found) != count:
            raise ValueError(f"{len(found)} vectors were made of {count} texts")
        for vector in found:
            if self._dims is not None and len(vector) != self._dims:
                raise ValueError(f"a vector has {len(vector)} numbers; dims is {self._dims}")
        return list(found)


def packed(vector: Vector) -> str:
    """A vector as it is kept: four bytes a number."""
    return base64.b64encode(struct.pack(f">{len(vector)}f", *vector)).decode()


def unpacked(text: str) -> Vector:
    """What `packed` gave."""
    raw = base64.b64decode(text)
    return struct.unpack(f">{len(raw) // 4}f", raw)


def likeness(query: Vector, kept: Sequence[str]) -> float | None:
    """How like the query the likest of these is: the cosine, 1 at most. None: there is
    none, or none of as many numbers."""
    return max(
        (_cosine(query, vector) for vector in map(unpacked, kept) if len(vector) == len(query)),
        default=None,
    )


def _cosine(one: Vector, other: Vector) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(map(operator.mul, one, other)) / lengths if lengths else 0.0
