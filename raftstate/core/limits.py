"""The numbers that requests are held to: what `validate` checks and `GetLimits` will tell.

A default belongs to a field whose zero means "you choose".
"""

from __future__ import annotations

import re

# --- whole requests ----------------------------------------------------------

REQUEST_BYTES_MAX = 3 << 19  # 1.5 MiB
CHECKPOINT_BYTES_MAX = 1 << 20
EVENTS_PER_STEP_MAX = 128
MUTATIONS_PER_BATCH_MAX = 1_000
QUERIES_PER_BATCH_MAX = 1_000
FENCES_PER_CHECK_MAX = 128

# --- names and words, in characters ------------------------------------------

# The same as in a node's configuration.
MEMBER_ID_CHARS_MAX = 64
MEMBER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
ADDRESS_CHARS_MAX = 300
ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):([0-9]{1,5})")
AGENT_ID_CHARS_MAX = 200
AGENT_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/-]{0,199}")
SESSION_ID_CHARS_MAX = 64
SESSION_ID = re.compile(r"[a-zA-Z0-9._-]{1,64}")
LABELS_MAX = 32
LABEL_NAME_CHARS_MAX = 63
LABEL_VALUE_CHARS_MAX = 255
PEOPLE_CHARS_MAX = 255  # holder, client, reason: words for people
EVENT_WORD_CHARS_MAX = 128  # type, content type, causation, correlation
PAGE_TOKEN_CHARS_MAX = 1_024

# --- sessions and ownerships -------------------------------------------------

SESSION_TTL_MS_MIN = 1_000
SESSION_TTL_MS_MAX = 3_600_000
SESSION_TTL_MS_DEFAULT = 10_000
OWNERSHIP_TTL_MS_MIN = 200
OWNERSHIP_TTL_MS_MAX = 3_600_000
OWNERSHIP_TTL_MS_DEFAULT = 5_000
# A session remembers the outcomes of sequences in
# [lowest_unfinished, lowest_unfinished + WINDOW).
WINDOW = 1_024
OUTCOME_BYTES_MAX = 4_096

# --- reads -------------------------------------------------------------------

PAGE_SIZE_MAX = 1_000
PAGE_SIZE_DEFAULT = 100
# What a list with filters looks at for one page.
SCANNED_PER_PAGE_MAX = 2_000
BUNDLE_EVENT_BYTES_MAX = 1 << 20
# All of a bundle. With it an answer, and one more of a stream, stay below what clients
# receive by default (4 MiB).
BUNDLE_BYTES_MAX = 13 << 18
VERIFY_EVENTS_MAX = 100_000
DIFFERENCES_MAX = 1_000
DIFF_BYTES_MAX = 16 << 20

# --- keys and leases ---------------------------------------------------------

USER_KEY_BYTES_MAX = 480  # a zero byte counts twice
TXN_OPERATIONS_MAX = 128  # compares and operations, nested ones included
# What one command removes, and what one lease holds: so many keys, of so many bytes.
RANGE_KEYS_MAX = 1_000
RANGE_BYTES_MAX = 16 << 20
# What the reads of one transaction show. With this much an answer, and one more of a
# stream, stay below what clients receive by default (4 MiB).
TXN_READ_BYTES_MAX = 1 << 21
# What they look at for that, and a page of keys: more, where values are not shown.
LOOKED_BYTES_MAX = 8 << 20
LEASE_TTL_MS_MIN = 500
LEASE_TTL_MS_MAX = 86_400_000

# --- events ------------------------------------------------------------------

STREAMS_PER_APPEND_MAX = 8
EVENTS_PER_APPEND_MAX = 128
EVENT_ID_CHARS_MAX = 64

# --- checkpoints -------------------------------------------------------------

CHUNK_BYTES_MAX = 1 << 20
CHUNKS_PER_CHECKPOINT_MAX = 4_096
INLINE_BYTES_MAX = 4_096  # larger data is cut into chunks
CHAIN_LENGTH_MAX = 16
TAGS_MAX = 16
TAG_CHARS_MAX = 63
VALIDATIONS_MAX = 16
GROUP_MEMBERS_MAX = 32
COPIED_CHECKPOINTS_MAX = 256
COPIED_CHUNKS_MAX = 16_384
# What is removed by one PruneCheckpoints, and by retention when one checkpoint is saved.
# No other is removed after those that have named so many chunks.
PRUNED_PER_CALL_MAX = 100
PRUNED_CHUNKS_PER_CALL_MAX = 1_024
PRUNED_PER_SAVE_MAX = 4
PRUNED_CHUNKS_PER_SAVE_MAX = 512
# What one CollectChunks removes; none after those that have had so many bytes.
COLLECTED_CHUNKS_MAX = 1_000
COLLECTED_BYTES_MAX = 4 << 20
TARGET_MS_MAX = 86_400_000

# --- effects, sagas and rollbacks ------------------------------------------------

EFFECT_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:~-]{0,127}")
EFFECT_ID_CHARS_MAX = 128
ACTION_CHARS_MAX = 128
IDEMPOTENCY_KEY_CHARS_MAX = 255
EFFECT_BYTES_MAX = 64 << 10  # arguments, result
EFFECTS_PER_STEP_MAX = 128
# An agent's effects that are PREPARED, DISPATCHED or UNKNOWN, and its sagas that have not
# ended: what a new grant, and a rollback, look through.
OPEN_EFFECTS_MAX = 1_024
OPEN_SAGAS_MAX = 1_024
BEGIN_BY_MS_DEFAULT = 5_000
BEGIN_BY_MS_MAX = 3_600_000
COMPENSATION_TIMEOUT_MS_DEFAULT = 30_000
COMPENSATION_TIMEOUT_MS_MAX = 3_600_000
COMPENSATION_ATTEMPTS_DEFAULT = 10
COMPENSATION_ATTEMPTS_MAX = 1_000
SAGA_EFFECTS_MAX = 1_024
SAGAS_PER_BUNDLE_MAX = 100
PLAN_ID_CHARS_MAX = 209  # "rollback/" or "saga/" and an id
PLAN_ITEMS_MAX = 10_000
CLAIMS_PER_SESSION_MAX = 4_096
ITEMS_SHOWN_MAX = 1_000
ROLLBACK_AGENTS_MAX = 32
ROLLBACK_VALIDATORS_MAX = 16
NUMBERED_ID = re.compile(r"[0-9a-f]{16}")  # rollback_id, incident_id

# --- recorded values ---------------------------------------------------------------

RECORDING_KEY_CHARS_MAX = 128
RECORDING_KEY_BYTES_MAX = 256
# What one request carries; and what a step has in all, however it came.
RECORDINGS_PER_STEP_MAX = 128
RECORDED_PER_STEP_MAX = 1_024
RECORDED_BYTES_PER_STEP_MAX = 16 << 20
STATE_HASH_BYTES_MAX = 32
REPLAY_DIFFERENCES_MAX = 100

# --- breakers ----------------------------------------------------------------------

BREAKER_CALLS_MAX = 100_000
BREAKER_TIME_MS_MIN = 1_000
BREAKER_TIME_MS_MAX = 86_400_000
BREAKER_MINIMUM_CALLS_DEFAULT = 10
BREAKER_REPORTERS_MAX = 64
BREAKER_OPEN_MS_DEFAULT = 10_000
BREAKER_FACTOR_DEFAULT = 2.0
BREAKER_FACTOR_MAX = 100.0
BREAKER_PROBES_MAX = 100
BREAKER_SUCCESSES_MAX = 1_000
BREAKER_PROBE_MS_DEFAULT = 30_000
BREAKER_PROBE_MS_MAX = 3_600_000
BREAKER_IGNORED_MAX = 64
BREAKER_REPORTED_MAX = 1_000_000
# A window by count keeps so many reports; older ones are put together.
BREAKER_BUCKETS_MAX = 64
# The record of a breaker, of which every watcher is told, has the newest counts so often.
BREAKER_SHOWN_MS = 200

# --- incidents ---------------------------------------------------------------------

INCIDENT_AGENTS_MAX = 32
INCIDENT_SUMMARY_CHARS_MAX = 300
INCIDENT_EVIDENCE_MAX = 64
EVIDENCE_PER_REPORT_MAX = 32
EVIDENCE_REF_CHARS_MAX = 300
INCIDENT_NOTES_MAX = 64
INCIDENT_NOTE_CHARS_MAX = 1_000
INCIDENTS_RESOLVED_KEPT = 10_000

# --- history and garbage -----------------------------------------------------

# What every command removes beside as many rows as it has added, and a Sweep at most.
SWEEP_ROWS_EXTRA = 4
SWEEP_ROWS_MAX = 1_000
# What all commands of one entry remove of it: nothing more once they have so many bytes.
SWEEP_BYTES_MAX = 4 << 20

# --- watches -----------------------------------------------------------------

PROGRESS_MS_MIN = 100
PROGRESS_MS_MAX = 600_000
PROGRESS_MS_DEFAULT = 5_000

# --- told to clients ---------------------------------------------------------

TOLD = {
    "request.bytes": REQUEST_BYTES_MAX,
    "request.window": WINDOW,
    "batch.mutations": MUTATIONS_PER_BATCH_MAX,
    "batch.queries": QUERIES_PER_BATCH_MAX,
    "agent_id.characters": AGENT_ID_CHARS_MAX,
    "labels": LABELS_MAX,
    "page.size": PAGE_SIZE_MAX,
    "session.ttl_ms.min": SESSION_TTL_MS_MIN,
    "session.ttl_ms.max": SESSION_TTL_MS_MAX,
    "ownership.ttl_ms.min": OWNERSHIP_TTL_MS_MIN,
    "ownership.ttl_ms.max": OWNERSHIP_TTL_MS_MAX,
    "lease.ttl_ms.min": LEASE_TTL_MS_MIN,
    "lease.ttl_ms.max": LEASE_TTL_MS_MAX,
    "lease.keys": RANGE_KEYS_MAX,
    "lease.bytes": RANGE_BYTES_MAX,
    "step.events": EVENTS_PER_STEP_MAX,
    "append.events": EVENTS_PER_APPEND_MAX,
    "append.streams": STREAMS_PER_APPEND_MAX,
    "key.bytes": USER_KEY_BYTES_MAX,
    "delete_range.keys": RANGE_KEYS_MAX,
    "delete_range.bytes": RANGE_BYTES_MAX,
    "txn.operations": TXN_OPERATIONS_MAX,
    "txn.read.bytes": TXN_READ_BYTES_MAX,
    "checkpoint.inline.bytes": CHECKPOINT_BYTES_MAX,
    "checkpoint.chunk.bytes": CHUNK_BYTES_MAX,
    "checkpoint.chunks": CHUNKS_PER_CHECKPOINT_MAX,
    "checkpoint.chain": CHAIN_LENGTH_MAX,
    "checkpoint.tags": TAGS_MAX,
    "group.members": GROUP_MEMBERS_MAX,
    "effect.bytes": EFFECT_BYTES_MAX,
    "step.effects": EFFECTS_PER_STEP_MAX,
    "agent.effects.open": OPEN_EFFECTS_MAX,
    "agent.sagas.open": OPEN_SAGAS_MAX,
    "saga.effects": SAGA_EFFECTS_MAX,
}

# --- storage -----------------------------------------------------------------

KEY_BYTES_MAX = 511  # LMDB's own limit at its default page size
