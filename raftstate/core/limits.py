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
PAGE_TOKEN_CHARS_MAX = 512

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
BUNDLE_EVENT_BYTES_MAX = 1 << 20

# --- storage -----------------------------------------------------------------

KEY_BYTES_MAX = 511  # LMDB's own limit at its default page size
