"""The travel bookings: what is done outside, and how it is undone when it must be.

An agent books a flight, a hotel and a car for trip after trip, at three services that
are processes of their own and know nothing of the store. One active agent is stopped
between the ledger's entry and the call. The car service begins to fail, its breaker
trips, and the trip starts a rollback of the agent to what is known good. The worker that
undoes the bookings is killed in the middle, and another one finishes; then the stopped
agent goes on, and is refused outside and inside. `verify` shows it all again from the
services' own books and the exported log.

- `plan` draws from a seed how many trips there are, and where things happen to them.
- `book` is a service's own book; `faults` how the service lets its callers down;
  `service` is the process; `outside` is how programs talk to it.
- `itinerary` is the agent's state; `agent` the process that books.
- `undo` is what the workers know: how a booking is cancelled, what a good state is.
- `crew` starts the processes, follows their journals, and sends them signals.
- `export` writes down what the store says at the end.
- `figures` says what once, reverse, double, orphan and late mean; `judge` what else must
  be true; `report` shows it to people.
- `story` is what happens, in order; `demo` runs it; `verify` recomputes the outcome.
"""
