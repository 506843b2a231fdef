"""Consensus, piece by piece: the rules, the leader's view, reads, frames, the adapter."""
