"""Devices, precision and threads of a training."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from oodbench.training.gpus import acquire_gpus

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32, "tf32": torch.float32}  # of the backbone's autocast
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
COMPILED_FROM = 5_000_000  # training images, in all epochs: fewer cost less time than compiling
THREADS = torch.get_num_threads()  # torch's own choice, restored after a job that set another


def pick_device(name: str) -> torch.device:
    """Return the named device; auto: cuda, mps or cpu, the first that is available. Raises ValueError for another."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    if not present.get(name.partition(":")[0], False):
        there = ", ".join(kind for kind, is_there in present.items() if is_there)
        raise ValueError(f"device={name} is not available; available: {there}, and auto picks the first of them")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={name}: this machine has {torch.cuda.device_count()} GPUs, from cuda:0 on")
    return device


def use_threads(count: int | None) -> None:
    """Compute with so many threads, in torch and in NumPy's and SciPy's linear algebra; None: torch's own choice."""
    torch.set_num_threads(count or THREADS)
    threadpool_limits(count or THREADS, user_api="blas")


def disable_malloc_trim() -> None:
    """Make glibc keep freed memory in this process, in huge pages where the system allows them.

    glibc returns every large freed tensor to the system, which clears its pages before they are used again. On two
    cores that took a fifth of a ResNet-18's training time in bf16, and two fifths of its evaluation's in float32.
    Results do not change; the process keeps its largest size. Does nothing without glibc (macOS, Windows, musl).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first large tensor
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # bytes from which memory is mapped anew; older releases refuse more than 32 MB
    if mallopt is not None and (mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25)):
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # bytes free at the top from which they are handed back: C's largest int


@contextmanager
def acquire_devices(name: str, runs_per_gpu: int, count: int) -> Iterator[list[torch.device]]:
    """Give `count` devices of that name: GPUs with room for another run, or the CPU `count` times.

    A GPU that is named by its number is taken without a lock. The first GPU becomes torch's current device. Raises
    ValueError where there are not so many.
    """
    device = pick_device(name)
    if count < 1 or (count > 1 and str(device) not in ("cuda", "cpu")):
        raise ValueError(f"devices={count} device={name}: a number from 1 on is needed, and above 1 device=cuda or cpu")
    if device.type != "cuda":
        yield [device] * count
        return
    if device.index is not None:
        torch.cuda.set_device(device.index)
        yield [device]
        return
    gpus = [str(getattr(torch.cuda.get_device_properties(i), "uuid", i)) for i in range(torch.cuda.device_count())]
    with acquire_gpus(gpus, runs_per_gpu, count) as indices:
        torch.cuda.empty_cache()  # of an earlier run in this process
        torch.cuda.set_device(indices[0])  # else torch.compile and whatever asks for "cuda" use GPU 0
        yield [torch.device("cuda", index) for index in indices]
        torch.cuda.empty_cache()  # for the next run on this GPU


def pick_precision(name: str, device: torch.device) -> str:
    """Return the name of the backbone's precision; auto: bf16 where the device computes in it, else fp32.

    CUDA computes in bf16 since Ampere, CPUs with AMX or AVX512-BF16. Raises ValueError for another name, and for tf32
    on a device without it.
    """
    if name not in ("auto", *PRECISIONS):
        raise ValueError(f"precision={name} is not available; available: auto, {', '.join(PRECISIONS)}")
    if name == "tf32" and not has_tf32(device):
        raise ValueError(
            f"precision=tf32: {device} has no TF32, which CUDA GPUs have since Ampere; fp32 is IEEE float32"
        )
    if name != "auto":
        return name
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = device.type == "cpu" and (_cpu_has("amx_tile") or _cpu_has("avx512_bf16"))
    return "bf16" if has_bf16 else "fp32"


def pick_compile(setting: bool | str, device: torch.device, images: int) -> bool | str:
    """Return whether to compile, or a mode of torch; auto: on CUDA, for more than COMPILED_FROM images."""
    if setting != "auto":
        return setting
    has_compiler = any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))  # Triton calls one
    return device.type == "cuda" and has_compiler and images > COMPILED_FROM


def has_tf32(device: torch.device) -> bool:
    """Tell whether the device computes in TF32: NVIDIA GPUs since Ampere, compute capability 8.0."""
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


def available_precisions(device: torch.device) -> list[str]:
    """Return the names of the precisions that the device has."""
    return [name for name in PRECISIONS if name != "tf32" or has_tf32(device)]


def use_precision(name: str) -> torch.dtype:
    """Set how this process computes in float32; return the dtype of the backbone under that precision.

    With tf32 cuDNN convolves in TF32, which is torch's own default on CUDA; with the others float32 is IEEE float32.
    Products of matrices always are: the objective computes with them.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    for kind in ("conv", "rnn"):  # since torch 2.9, where these decide; both settings, as torch refuses a mixture
        if hasattr(torch.backends.cudnn, kind):
            getattr(torch.backends.cudnn, kind).fp32_precision = "tf32" if name == "tf32" else "ieee"
    return PRECISIONS[name]


def _cpu_has(feature: str) -> bool:
    """Tell whether the CPU has a feature; torch says so under private names only, some of them recent."""
    return bool(getattr(torch.cpu, f"_is_{feature}_supported", lambda: False)())
