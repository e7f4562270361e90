"""Python scripts in processes of their own, for tests of signals, forks and environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

# Ends what hangs, also in compiled code. Long, because what takes a second on a machine of its own
# has to pass on one that is busy with other things.
HANGS_AFTER = 600

# Where the tests run in the background (`nohup make test &`), SIGINT is ignored, and a process that
# they start inherits that. A process in which Ctrl-C is tested needs Python's own handler.
_START = f"""
import json, os, signal, sys, threading, time
signal.alarm({HANGS_AFTER})
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def start_python(
    script: str, *, stdin: int | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start a script with Python's own handler of SIGINT, and an alarm."""
    return subprocess.Popen(
        [sys.executable, "-c", _START + textwrap.dedent(script)],
        env={**os.environ, **environment},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(script: str, **environment: str) -> Any:
    """Run a script to its end; return what it prints, read as JSON."""
    with start_python(script, **environment) as process:
        try:
            out, errors = process.communicate(timeout=2 * HANGS_AFTER)
        finally:
            process.kill()
    assert process.returncode == 0, f"exit status {process.returncode}:\n{errors}"
    return json.loads(out)
