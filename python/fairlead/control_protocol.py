"""What master and worker say to each other: JSON lines over a UNIX stream socket pair.

The worker inherits one end, whose number is in `FAIRLEAD_CONTROL_FD`; nothing else ties it to Python, so it can be
another program. The ends are master/worker_process.py and worker/control.py. Both ignore what they do not know.

Master → worker: one line `{"settings", "listeners", "locks_fd", "channels_fd", "scoreboard", "certificates",
"worker_id", "master_pid", "generation", "is_a_reload"}`, where `scoreboard` is `{"fd", "cell"}`, or null for a worker
without siblings (master/scoreboard.py), and `certificates` is null without TLS (master/certificates.py); then
`{"command": "stop", "reason": "reload"|"stop", "deadline_s"}`, which may come again with less time, `{"command":
"ping"}`, which a "pong" answers (master/hearing.py), `{"command": "harakiri"}`, `{"command": "certificates",
"latest"}`, and `{"command": "answer", "ticket", …}`; others are to be ignored. End of file: the master is gone, leave.

Worker → master: `{"event": "ready"}`, `{"event": "failed", "message"}` (then it exits), `{"event": "pong"}`, `{"event":
"stats", …}` (statistics.py), `{"event": "statistics", "statistics", "ticket"}`, which asks for those of all workers,
`{"event": "harakiri", "in_s", "overdue"}` (master/harakiri.py), `{"event": "certificates", "at", "refused"}`,
`{"event": "modules", "files": […]}`, `{"event": "request", "action": "reload"|"stop"|"replace"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["CONTROL_FD", "LONGEST_LINE", "line"]

#: The variable that tells the worker the number of its control socket.
CONTROL_FD = "FAIRLEAD_CONTROL_FD"

#: A longer line, in bytes, is no message of ours: the longest, a list of module files, has some 100 KB in large apps.
LONGEST_LINE = 4 * 1024 * 1024


def line(message: Mapping[str, Any]) -> bytes:
    """The message as it goes over the socket, its end included."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
