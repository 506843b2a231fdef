"""`python -m raftstate.examples.langgraph_takeover`: see `demo`."""

import sys

from raftstate.examples.langgraph_takeover.demo import main

if __name__ == "__main__":
    sys.exit(main())
