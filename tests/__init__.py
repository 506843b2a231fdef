"""The tests. `scripts/check` runs them."""
