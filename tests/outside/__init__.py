"""What others publish for stores like this one to pass, run on a live cluster.

These tests need the frameworks themselves, and so an environment of their own:
`scripts/conformance` makes it and runs them. Without it they are not collected.
"""
