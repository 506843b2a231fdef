"""`python -m raftstate` is the command `raftstate`."""

from raftstate.cli import main

main()
