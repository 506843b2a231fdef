"""What a member keeps on disk, and the one home of lmdb.

`open.open_storage` is the door: it decides whether a data folder can be trusted
and gives out the log, the state and the snapshots, which meet consensus as the
protocols in `raftstate.core.ports`.
"""
