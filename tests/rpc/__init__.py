"""The API over a real grpc server and a member that the tests play."""
