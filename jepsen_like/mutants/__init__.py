"""Planted faults in a live cluster: that this harness can fail, shown one fault at a time.

    node.py        a member with one fault planted, and all there are; not imported here
    catalogue.py   what each breaks, what brings it to light, and which verdict must say so
    running.py     one short run with each, one of the same kind without; who caught it

Each fault must be caught by a verdict that is named beside it; what catches it must have
nothing to say where it is not planted.
"""
