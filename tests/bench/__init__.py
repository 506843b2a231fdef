"""Measurements of one machine, side by side: `scripts/bench`."""
