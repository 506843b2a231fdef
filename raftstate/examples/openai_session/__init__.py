"""A conversation of the OpenAI Agents SDK that is killed, and goes on in another process.

    python -m raftstate.examples.openai_session

See `demo`. It needs the OpenAI Agents SDK: `pip install "raftstate[openai-agents]"`.
"""
