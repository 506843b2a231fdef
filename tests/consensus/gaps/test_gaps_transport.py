"""The transport: what an earlier connection may still deliver, on real sockets.

The stock class is driven to a bad end, and ours is taken through the same events
without it.
"""

import contextlib
import gc
import pickle
import socket
import struct
import zlib
from collections.abc import Callable
from typing import Any

from pysyncobj.config import SyncObjConf
from pysyncobj.syncobj import SyncObj

from tests.consensus.test_transport import (
    A,
    B,
    Member,
    badge,
    dial,
    frame,
    free_port,
    hello,
    is_closed,
    probe,
    until,
)

TURNS_MAX = 500


def test_s29_an_earlier_connection_delivers_nothing_behind_a_later_one_stock() -> None:
    """
    A connection that was replaced stays alive and delivers after its successor, and
    nobody is told that it ended: the late messages of other rows need no odd network.
    """
    heard, events = replace_a_connection()
    gc.collect()  # of the sockets that it forgets to close

    assert heard == ["new", "old, and later"]
    assert events == ["up", "up"]


def replace_a_connection() -> tuple[list[str], list[str]]:
    """Dial a stock node twice as its peer; what it hears, and which links come and go."""
    # The smaller address listens and the larger dials.
    me, peer = sorted(f"127.0.0.1:{free_port()}" for _ in range(2))
    conf = SyncObjConf(
        autoTick=False, raftMinTimeout=1000, raftMaxTimeout=1001, connectionTimeout=2000
    )
    node = SyncObj(me, [peer], conf)
    heard: list[str] = []
    events: list[str] = []
    transport = node._SyncObj__transport
    transport.setOnMessageReceivedCallback(lambda _, message: heard.append(message["tag"]))
    transport.setOnNodeConnectedCallback(lambda _: events.append("up"))
    transport.setOnNodeDisconnectedCallback(lambda _: events.append("down"))

    def turn_until(condition: Callable[[], bool]) -> None:
        for _ in range(TURNS_MAX):
            if condition():
                return
            node.doTick(0.01)
        raise AssertionError("it never came to hold")

    node.doTick(0)
    host, port = me.split(":")
    with contextlib.ExitStack() as stack:
        stack.callback(node._doDestroy)
        stack.callback(lambda: turn_until(lambda: "down" in events))  # it notices the ends
        old, new = (
            stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(2)
        )
        old.sendall(stock_frame(peer))
        turn_until(lambda: events == ["up"])
        new.sendall(stock_frame(peer))
        turn_until(lambda: events == ["up", "up"])
        new.sendall(stock_frame({"type": "none", "tag": "new"}))
        turn_until(lambda: heard == ["new"])
        old.sendall(stock_frame({"type": "none", "tag": "old, and later"}))
        turn_until(lambda: len(heard) == 2)
        told = list(events)
    return heard, told


def stock_frame(what: Any) -> bytes:
    """Something as the stock transport sends it."""
    data = zlib.compress(pickle.dumps(what))
    return struct.pack("i", len(data)) + data


def test_s29_an_earlier_connection_delivers_nothing_behind_a_later_one() -> None:
    """
    The same with ours: the later session fences the earlier one, whose end is reported
    before anything of the later one arrives.
    """
    member = Member(badge(A), B, free_port())
    ear = member.ear
    with contextlib.closing(member.transport), dial(member) as old, dial(member) as new:
        old.sendall(frame(hello(session=5)) + frame(probe(5, 2)))
        until(lambda: ear.received, member)
        new.sendall(frame(hello(session=6)) + frame(probe(6, 2)))
        until(lambda: len(ear.received) == 2, member)
        with contextlib.suppress(ConnectionError):
            old.sendall(frame(probe(5, 3)))
        until(lambda: is_closed(old), member)

    assert [envelope.session for envelope in ear.received] == [5, 6]
    assert (ear.up, ear.down) == ([], [])  # those are of the connection that it dialled
