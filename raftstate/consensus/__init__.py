"""PySyncObj, hardened: rules, engine, replica, transport and the raft thread."""
