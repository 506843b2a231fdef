"""A store in this process, for tests of agents."""
