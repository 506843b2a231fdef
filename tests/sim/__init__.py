"""The deterministic simulator: whole clusters in one thread, on virtual time, under faults.

The members are the real ones: replica, engine, state machine and tenure. Network, clock,
disk and clients are simulated. Start reading at `world.World`; what must hold is in
`invariants`.
"""
