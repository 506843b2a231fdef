"""The sync face: the same names, for programs without an event loop."""
