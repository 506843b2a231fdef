"""Generated from proto/raftstate/v1: messages, and the services' stubs. Never edited."""
