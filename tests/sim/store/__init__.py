"""Clients of the whole store in the simulator: keys, leases, streams, checkpoints; effects,
sagas, rollbacks and breakers, with the books of an outside.

`habits` says who takes part in a run, `traffic` starts them, `chronicle` is what really
happened, revision by revision, and `judging` and
`undoing_judged` what must hold.
"""
