"""The promises under test. Each module is one: what clients do, and what judges it."""
