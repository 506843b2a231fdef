"""Checkpoints: reading what agents have saved, and keeping what is worth it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Unpack

from raftstate import content
from raftstate.client import chunks, reading, values
from raftstate.client.engine import Engine
from raftstate.client.reading import How
from raftstate.errors import Corrupt
from raftstate.v1.agent_service_pb2 import Agent, ForkAgentRequest
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    CopyLineageRequest,
    DeleteGroupCheckpointRequest,
    DiffCheckpointsRequest,
    DiffCheckpointsResponse,
    GetCheckpointRequest,
    GetGroupCheckpointRequest,
    GroupCheckpoint,
    LabelSet,
    ListCheckpointsRequest,
    ListGroupCheckpointsRequest,
    MarkValidRequest,
    NewGroupMember,
    PruneCheckpointsRequest,
    PruneCheckpointsResponse,
    PutGroupCheckpointRequest,
    TagCheckpointRequest,
)
from raftstate.v1.recovery_service_pb2 import (
    ListValidatorsRequest,
    PutValidatorRequest,
    Validator,
)


class Checkpoints:
    """The part of a `Store` that is about checkpoints."""

    @property
    def _engine(self) -> Engine:
        raise NotImplementedError

    # --- reading ---

    async def get_checkpoint(
        self,
        agent_id: str,
        checkpoint_id: int = 0,
        *,
        tag: str = "",
        data: bool = True,
        chain: bool = True,
        **how: Unpack[How],
    ) -> Checkpoint:
        """One checkpoint: the newest, unless there is an id or a `tag`.

        `data` is what was saved, of any size, and of a delta what it amounts to: then
        `content_type` is that of the full checkpoint it begins with, while `size_bytes` and
        `content_hash` are those of what is stored. `raftstate.decode(checkpoint)` is what
        was put in. Without `data` there is none; without `chain`, a delta's is the delta.
        `timeout` is how long it may take until more comes, in seconds.

        Raises AgentNotFound, CheckpointNotFound, Compacted (definite): it was pruned since
        the revision asked for; Corrupt (definite) if the data is not what was written; and
        what every read does.

        >>> async with store.own("checkpoints/get") as agent:
        ...     saved = await agent.checkpoint({"done": 3})
        >>> checkpoint = await store.get_checkpoint("checkpoints/get", saved)
        >>> raftstate.decode(checkpoint)
        {'done': 3}
        """
        asked = reading.way(how)
        request = GetCheckpointRequest(
            agent_id=agent_id,
            checkpoint_id=checkpoint_id,
            tag=tag,
            with_chain=data and chain,
            without_data=not data,
        )
        parts = await chunks.download(self._engine, request, asked)
        return await assemble(parts) if data else parts[-1].checkpoint

    async def list_checkpoints(
        self,
        agent_id: str,
        *,
        labels: Mapping[str, str] | None = None,
        known_good: bool = False,
        pinned: bool = False,
        tagged: bool = False,
        min_step: int = 0,
        max_step: int = 0,
        **how: Unpack[How],
    ) -> AsyncIterator[Checkpoint]:
        """An agent's checkpoints without their data, newest first; those only that have all
        of these labels, are known good, pinned, or tagged, and of these steps. Raises
        AgentNotFound (definite), and what every read does.

        >>> async with store.own("checkpoints/list") as agent:
        ...     for done in range(3):
        ...         _ = await agent.checkpoint({"done": done}, pinned=done == 1)
        >>> found = store.list_checkpoints("checkpoints/list")
        >>> [checkpoint.checkpoint_id async for checkpoint in found]
        [3, 2, 1]
        >>> found = store.list_checkpoints("checkpoints/list", pinned=True)
        >>> [checkpoint.checkpoint_id async for checkpoint in found]
        [2]
        """
        request = ListCheckpointsRequest(
            agent_id=agent_id,
            labels=values.labels(labels),
            known_good=known_good,
            pinned=pinned,
            tagged=tagged,
            min_step=min_step,
            max_step=max_step,
        )
        async for page in reading.pages(
            self._engine, lambda peer: peer.checkpoints.ListCheckpoints, request, how
        ):
            for checkpoint in page.checkpoints:
                yield checkpoint

    async def diff_checkpoints(
        self,
        agent_id: str,
        from_checkpoint_id: int,
        to_checkpoint_id: int,
        *,
        to_agent_id: str = "",
        **how: Unpack[How],
    ) -> DiffCheckpointsResponse:
        """Where the contents of two checkpoints differ, which are to be JSON or msgpack: at
        most 1,000 places. Raises AgentNotFound, CheckpointNotFound, NotComparable
        (definite), and what every read does.

        >>> async with store.own("checkpoints/diff") as agent:
        ...     before = await agent.checkpoint({"done": 3, "name": "Ann"})
        ...     after = await agent.checkpoint({"done": 4, "name": "Ann"})
        >>> found = await store.diff_checkpoints("checkpoints/diff", before, after)
        >>> [(one.path, one.before, one.after) for one in found.differences]
        [('/done', '3', '4')]
        """
        request = DiffCheckpointsRequest(
            agent_id=agent_id,
            from_checkpoint_id=from_checkpoint_id,
            to_checkpoint_id=to_checkpoint_id,
            to_agent_id=to_agent_id,
        )
        answer: DiffCheckpointsResponse = await reading.read_as(
            self._engine, lambda peer: peer.checkpoints.DiffCheckpoints, request, how
        )
        return answer

    # --- keeping ---

    async def tag_checkpoint(
        self,
        agent_id: str,
        checkpoint_id: int,
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        pinned: bool | None = None,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Change a checkpoint's tags, pin and labels; None leaves them. A tag moves here
        from the checkpoint that had it. Raises AgentNotFound, CheckpointNotFound, TooMany
        (definite), and what every mutation raises.

        >>> async with store.own("checkpoints/tag") as agent:
        ...     saved = await agent.checkpoint({"done": 3})
        >>> await store.tag_checkpoint("checkpoints/tag", saved, add=["best"], pinned=True)
        >>> found = await store.get_checkpoint("checkpoints/tag", tag="best")
        >>> found.checkpoint_id == saved, found.pinned
        (True, True)
        """
        request = TagCheckpointRequest(
            agent_id=agent_id,
            checkpoint_id=checkpoint_id,
            add_tags=add,
            remove_tags=remove,
            pinned=pinned,
            labels=None if labels is None else LabelSet(labels=values.labels(labels)),
        )
        await self._engine.mutate("tag_checkpoint", request, timeout)

    async def mark_valid(
        self,
        checkpoint: Checkpoint,
        validator: str,
        *,
        valid: bool = True,
        evidence: str = "",
        timeout: float | None = None,
    ) -> bool:
        """Note what a validator found about this very checkpoint; whether it is known good
        now. Raises ValidatorNotFound, CheckpointNotFound, Owned (definite): this client
        owns the agent; Conflict, TooMany (definite); and what every mutation raises.

        >>> async with store.own("checkpoints/valid") as agent:
        ...     saved = await agent.checkpoint({"total": 3})
        >>> await store.put_validator("checkpoints/total", agent_prefix="checkpoints/valid")
        >>> checkpoint = await store.get_checkpoint("checkpoints/valid", saved)
        >>> await store.mark_valid(checkpoint, "checkpoints/total", evidence="it adds up")
        True
        """
        request = MarkValidRequest(
            agent_id=checkpoint.agent_id,
            checkpoint_id=checkpoint.checkpoint_id,
            validator=validator,
            valid=valid,
            content_hash=checkpoint.content_hash,
            evidence=evidence,
        )
        answer = await self._engine.mutate("mark_valid", request, timeout)
        known_good: bool = answer.known_good
        return known_good

    async def prune_checkpoints(
        self,
        agent_id: str,
        *,
        keep_last: int = 0,
        before_checkpoint_id: int = 0,
        timeout: float | None = None,
    ) -> PruneCheckpointsResponse:
        """Remove old checkpoints, at most 100, oldest first; `more` says that there are
        others. The newest one stays, and so do those that are needed or were asked to be
        kept, and `keep_last` of the others. Raises AgentNotFound (definite), and what every
        mutation raises.

        >>> async with store.own("checkpoints/prune") as agent:
        ...     for done in range(4):
        ...         _ = await agent.checkpoint({"done": done})
        >>> answer = await store.prune_checkpoints("checkpoints/prune", keep_last=1)
        >>> answer.pruned, answer.more
        (2, False)
        """
        request = PruneCheckpointsRequest(
            agent_id=agent_id, keep_last=keep_last, before_checkpoint_id=before_checkpoint_id
        )
        answer: PruneCheckpointsResponse = await self._engine.mutate(
            "prune_checkpoints", request, timeout
        )
        return answer

    # --- other agents from them ---

    async def fork_agent(
        self,
        source_agent_id: str,
        agent_id: str,
        *,
        checkpoint_id: int = 0,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Agent:
        """Make an agent that begins with a checkpoint of another, the newest by default.
        Raises AgentNotFound, CheckpointNotFound, AgentExists, StreamExists, TooMany
        (definite): it has more than 16,384 chunks; and what every mutation raises.

        >>> async with store.own("checkpoints/fork") as agent:
        ...     _ = await agent.checkpoint({"done": 3})
        >>> _ = await store.fork_agent("checkpoints/fork", "checkpoints/fork/other")
        >>> async with store.own("checkpoints/fork/other") as other:
        ...     print(other.restore())
        {'done': 3}
        """
        request = ForkAgentRequest(
            source_agent_id=source_agent_id,
            agent_id=agent_id,
            checkpoint_id=checkpoint_id,
            labels=values.labels(labels),
        )
        answer = await self._engine.mutate("fork_agent", request, timeout)
        agent: Agent = answer.agent
        return agent

    async def copy_lineage(
        self,
        source_agent_id: str,
        agent_id: str,
        *,
        up_to_checkpoint_id: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Make an agent with another's checkpoints up to one of them; how many. Raises
        AgentNotFound, CheckpointNotFound, AgentExists, StreamExists, TooMany (definite):
        there are more than 256, or 16,384 chunks of them; and what every mutation raises.

        >>> async with store.own("checkpoints/copy") as agent:
        ...     for done in range(3):
        ...         _ = await agent.checkpoint({"done": done})
        >>> await store.copy_lineage(
        ...     "checkpoints/copy", "checkpoints/copy/other", up_to_checkpoint_id=2
        ... )
        2
        """
        request = CopyLineageRequest(
            source_agent_id=source_agent_id,
            agent_id=agent_id,
            up_to_checkpoint_id=up_to_checkpoint_id,
        )
        answer = await self._engine.mutate("copy_lineage", request, timeout)
        copied: int = answer.copied
        return copied

    # --- groups ---

    async def put_group(
        self,
        group_id: str,
        members: Iterable[NewGroupMember | tuple[str, int] | str],
        *,
        timeout: float | None = None,
    ) -> list[int]:
        """Note one checkpoint of each of several agents, 32 at most, at one revision; their
        ids. A member is an agent's id (its newest), with a checkpoint's id beside it, or
        one with a new checkpoint (`AgentHandle.group_member`). Raises GroupExists and, for
        any member, what saving it raises (definite), and what every mutation raises.

        >>> for agent_id in ("checkpoints/put-group/a", "checkpoints/put-group/b"):
        ...     async with store.own(agent_id) as agent:
        ...         _ = await agent.checkpoint({"done": 3})
        >>> members = ["checkpoints/put-group/a", ("checkpoints/put-group/b", 1)]
        >>> await store.put_group("checkpoints/put-group", members)
        [1, 1]
        """
        request = PutGroupCheckpointRequest(group_id=group_id, members=map(_member, members))
        answer = await self._engine.mutate("put_group_checkpoint", request, timeout)
        return list(answer.checkpoint_ids)

    async def get_group(self, group_id: str, **how: Unpack[How]) -> GroupCheckpoint:
        """One group. Raises GroupNotFound (definite), and what every read does.

        >>> async with store.own("checkpoints/get-group/a") as agent:
        ...     _ = await agent.checkpoint({"done": 3})
        >>> _ = await store.put_group("checkpoints/get-group", ["checkpoints/get-group/a"])
        >>> group = await store.get_group("checkpoints/get-group")
        >>> [(member.agent_id, member.checkpoint_id) for member in group.members]
        [('checkpoints/get-group/a', 1)]
        """
        request = GetGroupCheckpointRequest(group_id=group_id)
        answer = await reading.read_as(
            self._engine, lambda peer: peer.checkpoints.GetGroupCheckpoint, request, how
        )
        group: GroupCheckpoint = answer.group
        return group

    async def list_groups(
        self, prefix: str = "", **how: Unpack[How]
    ) -> AsyncIterator[GroupCheckpoint]:
        """Groups whose id begins with `prefix`, in order of id, all at one revision. Raises
        Compacted (definite) should that be forgotten meanwhile, and what every read does.

        >>> async with store.own("checkpoints/list-groups/a") as agent:
        ...     _ = await agent.checkpoint({"done": 3})
        >>> for group_id in ("checkpoints/groups/2", "checkpoints/groups/1"):
        ...     _ = await store.put_group(group_id, ["checkpoints/list-groups/a"])
        >>> [group.group_id async for group in store.list_groups("checkpoints/groups/")]
        ['checkpoints/groups/1', 'checkpoints/groups/2']
        """
        request = ListGroupCheckpointsRequest(prefix=prefix)
        async for page in reading.pages(
            self._engine, lambda peer: peer.checkpoints.ListGroupCheckpoints, request, how
        ):
            for group in page.groups:
                yield group

    async def delete_group(self, group_id: str, *, timeout: float | None = None) -> None:
        """Forget a group; its checkpoints are kept as others are. Raises GroupNotFound
        (definite), and what every mutation raises.

        >>> async with store.own("checkpoints/deleted") as agent:
        ...     _ = await agent.checkpoint({"done": 3})
        >>> _ = await store.put_group("checkpoints/delete-group", ["checkpoints/deleted"])
        >>> await store.delete_group("checkpoints/delete-group")
        """
        request = DeleteGroupCheckpointRequest(group_id=group_id)
        await self._engine.mutate("delete_group_checkpoint", request, timeout)

    # --- validators ---

    async def put_validator(
        self,
        name: str,
        *,
        agent_prefix: str = "",
        description: str = "",
        required_in_rollbacks: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Register a validator for the agents whose id begins with `agent_prefix`, or
        change one. `required_in_rollbacks`: no rollback of one of them ends before it has
        said yes. Raises what every mutation raises.

        >>> await store.put_validator(
        ...     "checkpoints/put-validator",
        ...     agent_prefix="checkpoints/put-validator/",
        ...     description="looks whether the books balance",
        ... )
        """
        request = PutValidatorRequest(
            name=name,
            agent_prefix=agent_prefix,
            description=description,
            required_in_rollbacks=required_in_rollbacks,
        )
        await self._engine.mutate("put_validator", request, timeout)

    async def list_validators(self, **how: Unpack[How]) -> AsyncIterator[Validator]:
        """The validators, in order of name, all at one revision. Raises Compacted
        (definite) should that be forgotten meanwhile, and what every read does.

        >>> await store.put_validator("checks/listed", agent_prefix="checkpoints/list")
        >>> "checks/listed" in [one.name async for one in store.list_validators()]
        True
        """
        request = ListValidatorsRequest()
        async for page in reading.pages(
            self._engine, lambda peer: peer.recovery.ListValidators, request, how
        ):
            for validator in page.validators:
                yield validator


async def assemble(parts: list[chunks.Part]) -> Checkpoint:
    """The last checkpoint of a chain, with what the chain amounts to. Raises Corrupt."""
    checkpoint = parts[-1].checkpoint
    size = sum(part.checkpoint.size_bytes for part in parts)
    work = asyncio.to_thread(_whole, parts) if size > _BESIDE_BYTES else None
    data, content_type = _whole(parts) if work is None else await work
    checkpoint.data, checkpoint.content_type = data, content_type
    return checkpoint


# What takes longer than a moment is done beside the event loop.
_BESIDE_BYTES = 64 << 10


def _whole(parts: list[chunks.Part]) -> tuple[bytes, str]:
    chain = [(part.data(), part.checkpoint.content_type) for part in parts]
    try:
        return content.restore(chain)
    except content.ContentError as error:
        last = parts[-1].checkpoint
        raise Corrupt(
            f"checkpoint {last.checkpoint_id} of {last.agent_id} cannot be made of its"
            f" chain: {error}",
            definite=True,
        ) from error


def _member(given: NewGroupMember | tuple[str, int] | str) -> NewGroupMember:
    if isinstance(given, NewGroupMember):
        return given
    if isinstance(given, str):
        return NewGroupMember(agent_id=given)
    return NewGroupMember(agent_id=given[0], checkpoint_id=given[1])
