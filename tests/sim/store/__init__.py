"""Clients of the whole store in the simulator: keys, leases, streams, checkpoints.

`habits` says who takes part in a run, `traffic` starts them, `chronicle` is what really
happened, revision by revision, and `judging` what must hold.
"""
