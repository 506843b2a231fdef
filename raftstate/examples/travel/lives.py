"""Which line of a process' journal may follow which."""

from __future__ import annotations

LIVES: dict[str, dict[str, set[str]]] = {
    "agent": {
        "started": {"waiting"},
        "waiting": {"owned", "lost"},
        "owned": {"calling", "closed", "failed", "refused", "lost"},
        "calling": {"sending", "failed", "refused", "lost"},
        "sending": {"answered", "unanswered"},
        "answered": {"step", "failed", "refused", "lost"},
        "unanswered": {"failed", "refused", "lost"},
        "failed": {"calling", "failed", "step", "refused", "lost"},
        "step": {"calling", "closed", "failed", "refused", "lost"},
        "closed": {"finished", "refused", "lost"},
        "refused": {"failed", "refused", "lost"},
        "finished": {"end"},
        "lost": {"end"},
    },
    "worker": {
        "started": {"waiting"},
        "waiting": {"sending", "validated", "end"},
        "sending": {"answered", "unanswered"},
        "answered": {"sending", "validated", "end"},
        "unanswered": {"sending", "validated", "end"},
        "validated": {"sending", "validated", "end"},
    },
}
