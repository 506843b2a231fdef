"""LangGraph's checkpoints and its long-term memory, kept in the store.

    from raftstate.adapters.langgraph import RaftSaver, RaftStore

An extra: `pip install "raftstate[langgraph]"`.
"""

from __future__ import annotations

try:
    import langgraph.checkpoint.base
    import langgraph.store.base  # noqa: F401
except ImportError as _error:
    raise ImportError(
        'this adapter needs LangGraph: pip install "raftstate[langgraph]"'
    ) from _error

from raftstate.adapters.langgraph.saver import RaftSaver
from raftstate.adapters.langgraph.store import RaftStore

__all__ = ["RaftSaver", "RaftStore"]
