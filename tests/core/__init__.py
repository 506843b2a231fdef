"""Tests of the core: the machine, its reads, its limits, and a leader's tenure."""
