"""Which device and which precision, and what this machine is."""

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch


def pick_device(name: str) -> torch.device:
    """auto: cuda, mps or cpu, the first there is. Raises ValueError when the named one is not there."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    if not present.get(name.partition(":")[0], False):
        there = ", ".join(kind for kind, there in present.items() if there)
        raise ValueError(f"device={name} is not to be had here; there is {there}, and auto picks among them")
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """auto: bf16 where the device computes in it (CUDA since Ampere, CPUs with AMX or AVX512-BF16), else fp32."""
    names = {"bf16": torch.bfloat16, "fp32": torch.float32}
    if name in names:
        return names[name]
    if name != "auto":
        raise ValueError(f"precision={name}; there is auto, {', '.join(names)}")
    if device.type == "cuda":
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        computes = device.type == "cpu" and (
            torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        )
    return torch.bfloat16 if computes else torch.float32


def provenance(device: torch.device, precision: torch.dtype) -> dict[str, Any]:
    """Where numbers come from: versions, commit, machine. Plain values."""
    packages = ("oodbench", "torch", "torchvision", "numpy", "hydra-core")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "git_commit": git_commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "processor": processor(),
    }


def git_commit() -> str | None:
    """The commit of the code that runs, with `+` when files differ from it; None outside a checkout."""
    folder = os.path.dirname(__file__)  # noqa: PTH120
    command = ["git", "-C", folder, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except FileNotFoundError:  # no git
        return None


def processor() -> str:
    """What the operating system calls the CPU."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
