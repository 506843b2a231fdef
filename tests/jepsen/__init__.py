"""The harness: generators, the interpreter, nemeses, checkers, the report."""
