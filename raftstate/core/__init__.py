"""The core: everything that can be said without a clock, a disk or a network.

The replicated state machine (`machine`, with one file a noun), what can be read
from its state (`queries`), what a request may hold (`validate`), a leader's view
of time (`tenure`), and the protocols by which the layers around it meet (`ports`).

Start reading at `machine`.
"""
