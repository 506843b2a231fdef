"""Adapters: what agent frameworks ask of a store, kept in this one. Each is an extra."""
