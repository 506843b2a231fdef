"""A worker and the leader are killed in mid-run, and a standby goes on: what the examples of
that share, whichever framework they show.

- `bank` is the outside world, in which a payment is made once or twice.
- `standby` is what runs in a worker: it stands by until it owns the agent.
- `workers` starts workers, hears them and kills them.
- `demo` is the course of a run: one that nobody disturbs, and one whose worker is killed.
- `running` makes a program of it: options, a cluster, figures, exit statuses, signals.
"""
