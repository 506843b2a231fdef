"""Whose a log is: the record of it, and the check that it is ours."""

from __future__ import annotations

from pathlib import Path

from raftstate.core.ports import Identity, WrongStore
from raftstate.core.types import MemberId
from raftstate.v1 import disk_pb2

FORMAT = 2


def identity_record(identity: Identity) -> disk_pb2.DiskIdentity:
    """An identity as a log stores it."""
    return disk_pb2.DiskIdentity(
        format=FORMAT,
        cluster_id=identity.cluster_id,
        cluster_epoch=identity.cluster_epoch,
        member_id=identity.member_id,
        disk_id=identity.disk_id,
    )


def check_identity(
    record: disk_pb2.DiskIdentity, folder: Path, cluster_id: str, member_id: MemberId
) -> Identity:
    """The identity that a log in `folder` stores. Raises WrongStore if it is not ours."""
    for what, found, wanted in (
        ("format", record.format, FORMAT),
        ("cluster", record.cluster_id, cluster_id),
        ("member", record.member_id, member_id),
    ):
        if found != wanted:
            raise WrongStore(
                f"the data folder {folder.parent} belongs to {what} {found!r};"
                f" wanted is {what} {wanted!r}"
            )
    found_member = MemberId(record.member_id)
    return Identity(record.cluster_id, record.cluster_epoch, found_member, record.disk_id)
