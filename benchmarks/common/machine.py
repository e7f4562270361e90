"""Name the machine, the build and the commit that made a number.

A number without them is worth little: every JSON and CSV file holds :func:`describe_run`, every
generated block of a document ends with :func:`stamp`, and every picture has it below.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import omp_mlp

from .files import PROJECT_ROOT, plain

UNKNOWN = "unknown"
_VERSION = re.compile(r"\d+\.\d+")
# What kernels may be chosen by, and what tells one generation of cores from another.
_INSTRUCTION_SETS = (
    *("sse2", "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_bf16", "neon", "asimd", "sve", "sve2"),
)


def usable_cores() -> list[int]:
    """Return the cores that this process may run on (its affinity where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_cores() -> int:
    """Return how many cores this process may run on."""
    return len(usable_cores())


def stay_on(cores: Iterable[int]) -> None:
    """Pin this process (of several threads: this one) to cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def describe_run(command: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Return what every file of results begins with.

    The ``command`` starts the benchmark, as ``make figures`` does. The ``options`` are those that
    decide what is measured: a run that is resumed must have the same.
    """
    return {
        "command": command,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "options": plain(options),
        "machine": describe_machine(),
        "build": describe_build(),
        "source": describe_source(),
    }


def describe_machine() -> dict[str, Any]:
    """Describe the machine, without anything that names it or its user."""
    processor = _processor()
    machine: dict[str, Any] = {
        "processor": _processor_name(processor),
        # Two generations may have one name, as "AMD EPYC": family and model tell them apart.
        "family": processor.get("cpu family"),
        "model": processor.get("model"),
        "instruction_sets": _instruction_sets(processor),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "cores_available": available_cores(),
        # Major and minor version: the rest names the build of one distribution.
        "operating_system": " ".join(
            [platform.system(), *_VERSION.findall(platform.release())[:1]]
        ),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    with contextlib.suppress(AttributeError, OSError, ValueError):
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        machine["memory_gib"] = round(pages * size / 2**30, 1)
    with contextlib.suppress(AttributeError, OSError):
        # Says whether other work ran beside the timings.
        machine["load_average"] = round(os.getloadavg()[0], 2)
    return machine


def _processor() -> dict[str, str]:
    """Return what Linux says about the first core, or {} on another system."""
    described: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            described.setdefault(key.strip().lower(), " ".join(value.split()))
    return described


def _processor_name(processor: Mapping[str, str]) -> str:
    if processor.get("model name"):
        return processor["model name"]
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
    return platform.processor() or platform.machine()


def _instruction_sets(processor: Mapping[str, str]) -> list[str]:
    flags = f"{processor.get('flags', '')} {processor.get('features', '')}".split()
    return [name for name in _INSTRUCTION_SETS if name in flags]


def describe_build() -> dict[str, Any]:
    """Describe the compiled library, by its own account."""
    described: dict[str, Any] = plain(omp_mlp.build_config())
    return described


def describe_source(root: Path = PROJECT_ROOT) -> dict[str, Any]:
    """Return the commit of the checkout as ``git describe`` names it, and whether it was changed.

    Outside of a checkout, as in an unpacked source distribution, the commit is "unknown".
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == root.resolve():
            return {
                "commit": git("describe", "--always", "--abbrev=9"),
                "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
            }
    except (OSError, subprocess.SubprocessError):
        pass
    return {"commit": UNKNOWN, "dirty": None}


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return one line: processor, cores, system, Python."""
    available, present = machine["cores_available"], machine["cores"]
    cores = f"{available} core" + ("s" if available != 1 else "")
    if available != present:
        cores += f" of {present}"
    processor = machine["processor"]
    if machine.get("family") and machine.get("model"):
        processor += f" (family {machine['family']}, model {machine['model']})"
    return f"{processor}, {cores}, {machine['operating_system']}, Python {machine['python']}"


def build_line(build: Mapping[str, Any]) -> str:
    """Return one line: what the build says of itself, in short."""
    keys = ("version", "compiler", "build_type", "kernels", "openmp")
    return ", ".join(f"{key.replace('_', ' ')} {build[key]}" for key in keys if build.get(key))


def source_line(source: Mapping[str, Any]) -> str:
    """Return the commit in words."""
    return f"commit {source['commit']}" + (" with changes" if source["dirty"] else "")


def stamp(about: Mapping[str, Any]) -> str:
    """Return one sentence with commit, machine and build of a run, for documents and pictures."""
    rest = " A quick run, to be replaced." if about.get("options", {}).get("quick") else ""
    return (
        f"Measured at {source_line(about['source'])} on {machine_line(about['machine'])}; "
        f"{build_line(about['build'])}.{rest}"
    )
