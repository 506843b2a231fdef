"""Checkers: each takes a history of operations and answers with what is wrong in it.

An operation ended in one of three ways: `ok` (it happened), `fail` (it did not and
never will), `info` (nobody knows). A checker forgives nothing else. Checkers are plain
functions over plain values, so that the simulator and the real cluster share them.
"""
