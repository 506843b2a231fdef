"""`python -m raftstate.examples.langgraph_takeover`: see `demo`."""

import sys

from raftstate.examples.langgraph_takeover import demo
from raftstate.examples.takeover import running

if __name__ == "__main__":
    sys.exit(running.main(demo.GraphDemo, demo.__doc__))
