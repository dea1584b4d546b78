"""What the figures are of: GPU and driver, processor, system, Python."""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

_FIELDS = "name,driver_version,memory.total"


def gpus():
    """[{name, driver, memory}] as nvidia-smi tells them; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == 2]
    return [dict(zip(("name", "driver", "memory"), row, strict=True)) for row in rows]


def describe(torch):
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "host": socket.gethostname(),
        "gpus": gpus(),
        "processor": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": f"{platform.python_version()} ({sys.executable})",
        "torch": torch.version,
    }
