# Generated from raftstate/client/incidents.py by scripts/generate. Not to be edited.

"""Incidents: records of what went wrong, and of what was done about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Unpack, cast

from raftstate.client import incidents as face
from raftstate.client.incidents import Shown
from raftstate.client.reading import How
from raftstate.sync.running import Face, listed
from raftstate.v1.recovery_service_pb2 import Incident


class Incidents(Face, of=face.Incidents):
    """The part of a `Store` that is about incidents, and what validators report."""

    @property
    def _it(self) -> face.Incidents:
        return cast(face.Incidents, self._object)

    def report_symptom(
        self,
        summary: str,
        *,
        symptom: str = "reported",
        classification: str = "",
        agents: Iterable[str] = (),
        evidence: Iterable[Shown] = (),
        timeout: float | None = None,
    ) -> str:
        """Open an incident; its id. `symptom` is "reported", "diverged" or
        "effect_unknown"; `classification` one of the taxonomy ("permanent_tool",
        "bad_output" and so on), unknown if not given; each piece of `evidence` a kind, what
        it names, and perhaps more about it: `("event", "billing/nightly#7")`.

        Raises AgentNotFound (definite), and what every mutation raises.

        >>> incident_id = store.report_symptom(
        ...     "the totals are wrong", evidence=[("event", "billing/nightly#7")]
        ... )
        >>> (store.get_incident(incident_id)).evidence[0].ref
        'billing/nightly#7'
        """
        return self._do(
            self._it.report_symptom(
                summary,
                symptom=symptom,
                classification=classification,
                agents=listed(agents),
                evidence=listed(evidence),
                timeout=timeout,
            )
        )

    def get_incident(self, incident_id: str, **how: Unpack[How]) -> Incident:
        """One incident. Raises IncidentNotFound (definite), and what every read does.

        >>> incident_id = store.report_symptom("the totals are wrong")
        >>> (store.get_incident(incident_id)).summary
        'the totals are wrong'
        """
        return self._do(self._it.get_incident(incident_id, **how))

    def list_incidents(
        self, *, only_open: bool = False, agent_id: str = "", **how: Unpack[How]
    ) -> Iterator[Incident]:
        """Incidents in the order of their opening; only those that are open, or about one
        agent, if asked for. All are read at one revision. Raises Compacted (definite)
        should that be forgotten meanwhile, and what every read does.

        >>> _ = store.create_agent("incidents/list")
        >>> _ = store.report_symptom("the totals are wrong", agents=["incidents/list"])
        >>> [one.summary for one in store.list_incidents(agent_id="incidents/list")]
        ['the totals are wrong']
        """
        return self._running.each(
            self._it.list_incidents(only_open=only_open, agent_id=agent_id, **how)
        )

    def annotate_incident(
        self,
        incident_id: str,
        text: str,
        *,
        by: str = "",
        classification: str = "",
        timeout: float | None = None,
    ) -> None:
        """Add a note, and classify it anew if asked to. `by` is this client if not given.
        Raises IncidentNotFound, TooMany (definite), and what every mutation raises.

        >>> incident_id = store.report_symptom("the totals are wrong")
        >>> store.annotate_incident(incident_id, "since Monday")
        >>> (store.get_incident(incident_id)).notes[0].text
        'since Monday'
        """
        self._do(
            self._it.annotate_incident(
                incident_id, text, by=by, classification=classification, timeout=timeout
            )
        )

    def resolve_incident(
        self, incident_id: str, *, resolution: str = "", timeout: float | None = None
    ) -> None:
        """Close an incident. Raises IncidentNotFound, PlanState (definite): it is closed;
        and what every mutation raises.

        >>> incident_id = store.report_symptom("the totals are wrong")
        >>> store.resolve_incident(incident_id, resolution="they were right")
        >>> (store.get_incident(incident_id)).open
        False
        """
        self._do(self._it.resolve_incident(incident_id, resolution=resolution, timeout=timeout))

    def report_validation(
        self,
        rollback_id: str,
        agent_id: str,
        validator: str,
        *,
        passed: bool,
        evidence: str = "",
        timeout: float | None = None,
    ) -> None:
        """Say what a validator found of the state that a rollback has restored. (Of a
        checkpoint: `mark_valid`.) Raises RollbackNotFound, AgentNotFound,
        ValidatorNotFound, PlanState (definite): compensations are open, it has ended, or
        does not ask that validator; and what every mutation raises.

        >>> store.put_validator("totals-are-right")
        >>> with store.own("incidents/validated") as agent:
        ...     good = agent.checkpoint({"total": 1})
        >>> to, asked = raftstate.to_checkpoint(good), ["totals-are-right"]
        >>> begun = store.start_rollback("incidents/validated", to, validators=asked)
        >>> store.report_validation(
        ...     begun.rollback_id, "incidents/validated", "totals-are-right", passed=True
        ... )
        >>> store.finish_rollback(begun.rollback_id)
        """
        self._do(
            self._it.report_validation(
                rollback_id,
                agent_id,
                validator,
                passed=passed,
                evidence=evidence,
                timeout=timeout,
            )
        )
