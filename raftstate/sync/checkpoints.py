# Generated from raftstate/client/checkpoints.py by scripts/generate. Not to be edited.

"""Checkpoints: reading what agents have saved, and keeping what is worth it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Unpack, cast

from raftstate.client import checkpoints as face
from raftstate.client.reading import How
from raftstate.sync.running import Face, listed
from raftstate.v1.agent_service_pb2 import Agent
from raftstate.v1.checkpoint_service_pb2 import (
    Checkpoint,
    DiffCheckpointsResponse,
    GroupCheckpoint,
    NewGroupMember,
    PruneCheckpointsResponse,
)
from raftstate.v1.recovery_service_pb2 import Validator


class Checkpoints(Face, of=face.Checkpoints):
    """The part of a `Store` that is about checkpoints."""

    @property
    def _it(self) -> face.Checkpoints:
        return cast(face.Checkpoints, self._object)

    def get_checkpoint(
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

        >>> with store.own("checkpoints/get") as agent:
        ...     saved = agent.checkpoint({"done": 3})
        >>> checkpoint = store.get_checkpoint("checkpoints/get", saved)
        >>> raftstate.decode(checkpoint)
        {'done': 3}
        """
        return self._do(
            self._it.get_checkpoint(
                agent_id, checkpoint_id, tag=tag, data=data, chain=chain, **how
            )
        )

    def list_checkpoints(
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
    ) -> Iterator[Checkpoint]:
        """An agent's checkpoints without their data, newest first; those only that have all
        of these labels, are known good, pinned, or tagged, and of these steps. Raises
        AgentNotFound (definite), and what every read does.

        >>> with store.own("checkpoints/list") as agent:
        ...     for done in range(3):
        ...         _ = agent.checkpoint({"done": done}, pinned=done == 1)
        >>> found = store.list_checkpoints("checkpoints/list")
        >>> [checkpoint.checkpoint_id for checkpoint in found]
        [3, 2, 1]
        >>> found = store.list_checkpoints("checkpoints/list", pinned=True)
        >>> [checkpoint.checkpoint_id for checkpoint in found]
        [2]
        """
        return self._running.each(
            self._it.list_checkpoints(
                agent_id,
                labels=labels,
                known_good=known_good,
                pinned=pinned,
                tagged=tagged,
                min_step=min_step,
                max_step=max_step,
                **how,
            )
        )

    def diff_checkpoints(
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

        >>> with store.own("checkpoints/diff") as agent:
        ...     before = agent.checkpoint({"done": 3, "name": "Ann"})
        ...     after = agent.checkpoint({"done": 4, "name": "Ann"})
        >>> found = store.diff_checkpoints("checkpoints/diff", before, after)
        >>> [(one.path, one.before, one.after) for one in found.differences]
        [('/done', '3', '4')]
        """
        return self._do(
            self._it.diff_checkpoints(
                agent_id, from_checkpoint_id, to_checkpoint_id, to_agent_id=to_agent_id, **how
            )
        )

    def tag_checkpoint(
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

        >>> with store.own("checkpoints/tag") as agent:
        ...     saved = agent.checkpoint({"done": 3})
        >>> store.tag_checkpoint("checkpoints/tag", saved, add=["best"], pinned=True)
        >>> found = store.get_checkpoint("checkpoints/tag", tag="best")
        >>> found.checkpoint_id == saved, found.pinned
        (True, True)
        """
        self._do(
            self._it.tag_checkpoint(
                agent_id,
                checkpoint_id,
                add=listed(add),
                remove=listed(remove),
                pinned=pinned,
                labels=labels,
                timeout=timeout,
            )
        )

    def mark_valid(
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

        >>> with store.own("checkpoints/valid") as agent:
        ...     saved = agent.checkpoint({"total": 3})
        >>> store.put_validator("checkpoints/total", agent_prefix="checkpoints/valid")
        >>> checkpoint = store.get_checkpoint("checkpoints/valid", saved)
        >>> store.mark_valid(checkpoint, "checkpoints/total", evidence="it adds up")
        True
        """
        return self._do(
            self._it.mark_valid(
                checkpoint, validator, valid=valid, evidence=evidence, timeout=timeout
            )
        )

    def prune_checkpoints(
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

        >>> with store.own("checkpoints/prune") as agent:
        ...     for done in range(4):
        ...         _ = agent.checkpoint({"done": done})
        >>> answer = store.prune_checkpoints("checkpoints/prune", keep_last=1)
        >>> answer.pruned, answer.more
        (2, False)
        """
        return self._do(
            self._it.prune_checkpoints(
                agent_id,
                keep_last=keep_last,
                before_checkpoint_id=before_checkpoint_id,
                timeout=timeout,
            )
        )

    def fork_agent(
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

        >>> with store.own("checkpoints/fork") as agent:
        ...     _ = agent.checkpoint({"done": 3})
        >>> _ = store.fork_agent("checkpoints/fork", "checkpoints/fork/other")
        >>> with store.own("checkpoints/fork/other") as other:
        ...     print(other.restore())
        {'done': 3}
        """
        return self._do(
            self._it.fork_agent(
                source_agent_id,
                agent_id,
                checkpoint_id=checkpoint_id,
                labels=labels,
                timeout=timeout,
            )
        )

    def copy_lineage(
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

        >>> with store.own("checkpoints/copy") as agent:
        ...     for done in range(3):
        ...         _ = agent.checkpoint({"done": done})
        >>> store.copy_lineage(
        ...     "checkpoints/copy", "checkpoints/copy/other", up_to_checkpoint_id=2
        ... )
        2
        """
        return self._do(
            self._it.copy_lineage(
                source_agent_id,
                agent_id,
                up_to_checkpoint_id=up_to_checkpoint_id,
                timeout=timeout,
            )
        )

    def put_group(
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
        ...     with store.own(agent_id) as agent:
        ...         _ = agent.checkpoint({"done": 3})
        >>> members = ["checkpoints/put-group/a", ("checkpoints/put-group/b", 1)]
        >>> store.put_group("checkpoints/put-group", members)
        [1, 1]
        """
        return self._do(self._it.put_group(group_id, listed(members), timeout=timeout))

    def get_group(self, group_id: str, **how: Unpack[How]) -> GroupCheckpoint:
        """One group. Raises GroupNotFound (definite), and what every read does.

        >>> with store.own("checkpoints/get-group/a") as agent:
        ...     _ = agent.checkpoint({"done": 3})
        >>> _ = store.put_group("checkpoints/get-group", ["checkpoints/get-group/a"])
        >>> group = store.get_group("checkpoints/get-group")
        >>> [(member.agent_id, member.checkpoint_id) for member in group.members]
        [('checkpoints/get-group/a', 1)]
        """
        return self._do(self._it.get_group(group_id, **how))

    def list_groups(self, prefix: str = "", **how: Unpack[How]) -> Iterator[GroupCheckpoint]:
        """Groups whose id begins with `prefix`, in order of id, all at one revision. Raises
        Compacted (definite) should that be forgotten meanwhile, and what every read does.

        >>> with store.own("checkpoints/list-groups/a") as agent:
        ...     _ = agent.checkpoint({"done": 3})
        >>> for group_id in ("checkpoints/groups/2", "checkpoints/groups/1"):
        ...     _ = store.put_group(group_id, ["checkpoints/list-groups/a"])
        >>> [group.group_id for group in store.list_groups("checkpoints/groups/")]
        ['checkpoints/groups/1', 'checkpoints/groups/2']
        """
        return self._running.each(self._it.list_groups(prefix, **how))

    def delete_group(self, group_id: str, *, timeout: float | None = None) -> None:
        """Forget a group; its checkpoints are kept as others are. Raises GroupNotFound
        (definite), and what every mutation raises.

        >>> with store.own("checkpoints/deleted") as agent:
        ...     _ = agent.checkpoint({"done": 3})
        >>> _ = store.put_group("checkpoints/delete-group", ["checkpoints/deleted"])
        >>> store.delete_group("checkpoints/delete-group")
        """
        self._do(self._it.delete_group(group_id, timeout=timeout))

    def put_validator(
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

        >>> store.put_validator(
        ...     "checkpoints/put-validator",
        ...     agent_prefix="checkpoints/put-validator/",
        ...     description="looks whether the books balance",
        ... )
        """
        self._do(
            self._it.put_validator(
                name,
                agent_prefix=agent_prefix,
                description=description,
                required_in_rollbacks=required_in_rollbacks,
                timeout=timeout,
            )
        )

    def list_validators(self, **how: Unpack[How]) -> Iterator[Validator]:
        """The validators, in order of name, all at one revision. Raises Compacted
        (definite) should that be forgotten meanwhile, and what every read does.

        >>> store.put_validator("checks/listed", agent_prefix="checkpoints/list")
        >>> "checks/listed" in [one.name for one in store.list_validators()]
        True
        """
        return self._running.each(self._it.list_validators(**how))
