"""Events that a rollback has undone: readable for ever, said to be undone, and proved."""

from __future__ import annotations

from raftstate.client.audit import GENESIS, event_hash
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest
from raftstate.v1.common_pb2 import Consistency
from raftstate.v1.event_service_pb2 import (
    ExportAuditRequest,
    ReadAllRequest,
    ReadEventsRequest,
    VerifyChainRequest,
)
from tests.rpc.harness import Bench, all_of, run
from tests.rpc.stories_of_effects import checkpointed, finish, start


async def rolled_back(b: Bench) -> str:
    """Agent `a` has done three steps, is taken back to the first, and does another; which
    rollback that was."""
    fence = await b.own()
    for _ in range(3):
        await checkpointed(b, fence)
    b.stubs["before"] = b.fake.machine.revision
    begun = await start(b)
    await finish(b, begun.rollback_id)
    await checkpointed(b, await b.own())
    rollback_id: str = begun.rollback_id
    return rollback_id


def test_reads_say_which_rollback_has_undone_an_event() -> None:
    """
    Those of a stream, forwards and backwards, and those of all: of now. Of the time before
    the rollback no event is undone.
    """

    async def story(b: Bench) -> None:
        gone = await rolled_back(b)
        marks = ["", gone, gone, ""]

        for backwards in (False, True):
            read = ReadEventsRequest(stream_id="a", backwards=backwards)
            answers = await all_of(b.events.ReadEvents(read))
            found = [one.undone_by for answer in answers for one in answer.events]
            assert found == (marks[::-1] if backwards else marks)
        answers = await all_of(b.events.ReadAll(ReadAllRequest()))
        assert [one.undone_by for answer in answers for one in answer.events] == marks
        past = ReadEventsRequest(
            stream_id="a",
            consistency=Consistency.CONSISTENCY_AT_REVISION,
            revision=b.stubs["before"],
        )
        answers = await all_of(b.events.ReadEvents(past))
        assert [one.undone_by for answer in answers for one in answer.events] == [""] * 3

    run(story)


def test_the_chain_is_not_cut() -> None:
    """
    Undone events are verified and exported as all others; that they are undone is no part
    of their hash.
    """

    async def story(b: Bench) -> None:
        await rolled_back(b)

        verified = await b.events.VerifyChain(VerifyChainRequest(stream_id="a"))
        export = await all_of(b.events.ExportAudit(ExportAuditRequest()))

        assert (verified.intact, verified.last_seq) == (True, 4)
        events = [one for answer in export for one in answer.events]
        assert [one.seq for one in events] == [1, 2, 3, 4]
        previous = GENESIS
        for one in events:
            assert event_hash(previous, one) == one.hash
            previous = one.hash

    run(story)


def test_a_successor_is_not_given_them() -> None:
    """
    What it is to go on from is the copy of the target, and the events since that count.
    """

    async def story(b: Bench) -> None:
        fence = await b.own()
        await checkpointed(b, fence)
        await checkpointed(b, fence)
        begun = await start(b)
        await finish(b, begun.rollback_id)
        request = AcquireOwnershipRequest(request_id=b.request_id(), agent_id="a")

        bundle = (await b.agents.AcquireOwnership(request)).bundle

        assert (bundle.checkpoint.checkpoint_id, bundle.checkpoint.restored_from) == (3, 1)
        assert list(bundle.events) == []
        assert not bundle.more_events

    run(story)
