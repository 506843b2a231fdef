"""A LangGraph graph that is killed in mid-run, and goes on in another process.

    python -m raftstate.examples.langgraph_takeover

See `demo`. It needs LangGraph: `pip install "raftstate[langgraph]"`.
"""

import raftstate.adapters.langgraph  # noqa: F401  # says what is missing, if it is
