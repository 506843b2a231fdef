"""Transactions."""

from __future__ import annotations

from raftstate.core.context import Context
from raftstate.v1.kv_service_pb2 import TxnRequest, TxnResponse
from raftstate.v1.store_pb2 import Refusal


def txn(context: Context, request: TxnRequest) -> TxnResponse | Refusal:
    """To come."""
    raise NotImplementedError
