"""`python -m raftstate.examples.openai_session`: see `demo`."""

import sys

from raftstate.examples.openai_session.demo import main

if __name__ == "__main__":
    sys.exit(main())
