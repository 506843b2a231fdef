"""What breaks things: one package a family of harm, and when which of them comes.

processes.py    kill, pause, restart: signals to nodes and to clients
partitions.py   links cut, half open, slow or flaky
laggard.py      one member shut out until it needs a snapshot
power.py        the whole machine loses its power
clock.py        wall clocks that jump
catalogue.py    all of them, by name
schedule.py     when which fault begins and ends, from a seed
"""
