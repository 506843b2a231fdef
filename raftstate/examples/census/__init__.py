"""The code census: a long job that survives the death of everything it stands on.

An agent walks every Python file of the running interpreter's standard library,
one durable step a file, while `demo` kills the agent, kills the leader, and
freezes the agent until somebody else has taken its place. In the end every file
was counted exactly once, and `verify` shows it again from the evidence alone.

- `analyse` reads one file; all that the agent and the reference have in common.
- `ledger` is the agent's state: its totals, and how an event changes them.
- `agent` is the process that does the job.
- `plan` draws from a seed what will be killed, and when.
- `evidence` is how processes write down what they saw.
- `members` reads the servers' logs, and says what must be true of the cluster.
- `manifest` lists every file of the evidence, so that a careless edit shows.
- `figures` says what lost, doubled, takeover and gap mean.
- `demo` runs it all; `view` shows it; `verify` recomputes the outcome.
"""
