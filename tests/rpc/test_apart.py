"""Processes of their own, and how they end."""

from __future__ import annotations

import asyncio

import pytest

from raftstate.rpc import apart

# It says more than a pipe and its reader's buffer hold.
LOUD = "import sys; sys.stdout.write('x' * 2_700_000); sys.stdout.flush()  # {}"


def test_a_process_is_gone_though_nobody_hears_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Who asked is cancelled while there is much to read: whoever comes next would otherwise
    wait for ever.
    """
    monkeypatch.setattr(apart, "_START", LOUD)

    async def story() -> None:
        async def call() -> None:
            async with apart.process("folding"):
                await asyncio.sleep(30)

        asking = asyncio.create_task(call())
        await asyncio.sleep(0.5)
        asking.cancel()
        done, _ = await asyncio.wait({asking}, timeout=10)
        assert done

    asyncio.run(story())
