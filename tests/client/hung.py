"""A member whose event loop stands still, as under a disk that hangs: see test_standing_by.py.

`python -m tests.client.hung SECONDS` prints its address, grants nobody anything, prints a
line when somebody stands in line, and hangs for so long. Its kernel, and gRPC's own threads,
go on answering pings.
"""

import asyncio
import sys
import time

from tests.client.scripted import members, until


async def main() -> None:
    """Serve, and hang."""
    async with members(1) as (member,):
        member.grant_after = asyncio.Event()
        print(member.address, flush=True)
        await until(lambda: "acquire" in member.asked, "somebody stands in line")
        await asyncio.sleep(0.2)
        print("hangs", flush=True)
        time.sleep(float(sys.argv[1]))  # noqa: ASYNC251  # that is what it is for


if __name__ == "__main__":
    asyncio.run(main())
