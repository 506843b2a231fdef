"""What a list looks at for one page: so many rows, and so many bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

PAGE_BYTES = 512 << 10


def looked_at(
    rows: Iterable[tuple[bytes, bytes]], limit: int, bytes_max: int | None
) -> Iterator[bytes]:
    """What is stored in the first rows, at most `limit`: those that fit into `bytes_max`,
    the one that does not, and one more; so that who cuts them sees that there are more.
    None: however large they are."""
    total = 0
    for _, raw in islice(rows, limit):
        yield raw
        if bytes_max is not None and total > bytes_max:
            return
        total += len(raw)
