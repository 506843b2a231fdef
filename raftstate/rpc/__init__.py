"""The API as grpc serves it: the one home of grpc on the server's side.

One file a service. Every request takes the same way: `edge` wraps the handler, the
service checks and proposes through `frontend`, the answer of the raft thread comes
back over `bridge`, and what went wrong leaves through `errors`.
"""
