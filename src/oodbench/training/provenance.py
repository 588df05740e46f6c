"""Provenance of a training: versions, commit and machine."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from oodbench import __version__


def collect_provenance(device: torch.device, precision: str) -> dict[str, Any]:
    """Return the machine and the code behind the numbers: versions, commit, device, threads. Plain values."""
    packages = ("torch", "torchvision", "numpy", "hydra-core")
    return {
        "versions": {
            "python": platform.python_version(),
            "oodbench": __version__,
            **{name: version(name) for name in packages},
        },
        "git_commit": git_commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processor": processor(),
    }


def git_commit() -> str | None:
    """Return the commit of the running code, with `+` when files differ from it or are new; None outside a checkout."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else the code lies in another project's repository
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", ":/"))
    except (OSError, subprocess.CalledProcessError):
        return None


def processor() -> str:
    """Return the operating system's name of the CPU."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
