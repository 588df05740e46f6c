"""Device, precision and provenance; what needs a GPU is asked of a stand-in for torch.cuda."""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.config import ROOT, composed
from helpers.training import classifier

import oodbench
from oodbench.cli.configuration import CONF
from oodbench.cli.errors import UsageError
from oodbench.cli.limits import check_limits
from oodbench.training import device
from oodbench.training.device import (
    COMPILED_FROM,
    PRECISIONS,
    acquire_devices,
    has_tf32,
    pick_compile,
    pick_device,
    pick_precision,
    use_precision,
)
from oodbench.training.gpus import acquire_gpus
from oodbench.training.provenance import collect_provenance

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
KINDS = [kind for kind in ("conv", "rnn") if hasattr(torch.backends.cudnn, kind)]  # since torch 2.9


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two GPUs of compute capability 9.0 that nobody uses; the list records which became the current device."""
    current: list[int] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: object())
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    return current


@pytest.fixture
def float32_settings() -> Iterator[None]:
    """Leave torch's float32 settings as they are by default."""
    yield
    use_precision("tf32")


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    for has_cuda, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr("torch.cuda.is_available", lambda has_cuda=has_cuda: has_cuda)
        assert pick_device("auto") == torch.device(expected)


def test_an_unavailable_device_is_named_with_those_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("cuda:1", "tpu"):
        with pytest.raises(ValueError, match=rf"device={name} is not available; available: .*cpu"):
            pick_device(name)


def test_a_gpu_beyond_the_last_is_refused_before_cuda_is_asked(gpus: list[int]) -> None:
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device=cuda:2: this machine has 2 GPUs, from cuda:0 on"):
        pick_device("cuda:2")


def test_several_devices_cannot_be_one_that_is_named(monkeypatch: pytest.MonkeyPatch, gpus: list[int]) -> None:
    monkeypatch.setattr(device, "pick_device", torch.device)
    for name in ("cuda:1", "mps"):
        with (
            pytest.raises(ValueError, match=rf"devices=2 device={name}.*device=cuda or cpu"),
            acquire_devices(name, 1, 2),
        ):
            pass
    with acquire_devices("cuda:1", 1, 1) as one, acquire_devices("cpu", 1, 2) as two:
        assert (one, two) == ([torch.device("cuda:1")], [CPU] * 2)


def test_a_named_gpu_becomes_the_current_device(gpus: list[int]) -> None:
    with acquire_devices("cuda:1", 1, 1):
        assert gpus == [1]


def test_a_locked_gpu_becomes_the_current_device(
    gpus: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "acquire_gpus", partial(acquire_gpus, folder=tmp_path))
    with acquire_devices("cuda", 1, 1) as first, acquire_devices("cuda", 1, 1) as second:
        assert first + second == [torch.device("cuda", 0), torch.device("cuda", 1)]
        assert gpus == [0, 1]


def test_a_cpu_leaves_the_current_device_alone(gpus: list[int]) -> None:
    with acquire_devices("cpu", 1, 1):
        assert gpus == []


def test_a_named_precision_is_taken(gpus: list[int]) -> None:
    assert [pick_precision(name, CPU) for name in ("bf16", "fp32")] == ["bf16", "fp32"]
    assert [pick_precision(name, CUDA) for name in ("bf16", "fp32", "tf32")] == ["bf16", "fp32", "tf32"]
    assert pick_precision("auto", CPU) in ("bf16", "fp32")


def test_an_unknown_precision_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="precision=fp8 is not available; available: auto, bf16, fp32, tf32"):
        pick_precision("fp8", CPU)


@pytest.mark.parametrize(("computes", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_a_gpu_computes_in_it(
    computes: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: computes)
    assert pick_precision("auto", CUDA) == expected


@pytest.mark.parametrize(("feature", "expected"), [("amx_tile", "bf16"), ("avx512_bf16", "bf16"), ("avx2", "fp32")])
def test_auto_is_bf16_where_a_cpu_computes_in_it(feature: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cpu_has", lambda name: name == feature)
    assert pick_precision("auto", CPU) == expected


@pytest.mark.parametrize(
    ("capability", "hip", "expected"), [((8, 0), None, True), ((7, 5), None, False), ((9, 4), "6.4", False)]
)
def test_tf32_needs_an_nvidia_gpu_since_ampere(
    capability: tuple[int, int], hip: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr("torch.version.hip", hip)
    assert has_tf32(CUDA) is expected
    if not expected:
        with pytest.raises(ValueError, match="precision=tf32: cuda has no TF32"):
            pick_precision("tf32", CUDA)


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_tf32_on_a_device_without_it_is_an_error(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"precision=tf32: {kind} has no TF32.*fp32 is IEEE"):
        pick_precision("tf32", torch.device(kind))


def settings() -> dict[str, object]:
    """torch's settings of float32 on CUDA, by each of its interfaces."""
    said = {"convolutions": torch.backends.cudnn.allow_tf32, "products": torch.backends.cuda.matmul.allow_tf32}
    said |= {kind: getattr(torch.backends.cudnn, kind).fp32_precision for kind in KINDS}
    if KINDS:
        said["matmul"] = torch.backends.cuda.matmul.fp32_precision
    return said | {"matmul precision": torch.get_float32_matmul_precision()}


def expected_settings(tf32: bool) -> dict[str, object]:
    new = dict.fromkeys(KINDS, "tf32" if tf32 else "ieee") | ({"matmul": "ieee"} if KINDS else {})
    return {"convolutions": tf32, "products": False, **new, "matmul precision": "highest"}


@pytest.mark.usefixtures("float32_settings")
def test_fp32_is_ieee_whatever_was_set_before() -> None:
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    for name, tf32 in (("fp32", False), ("tf32", True), ("bf16", False), ("tf32", True), ("fp32", False)):
        assert use_precision(name) == PRECISIONS[name]
        assert settings() == expected_settings(tf32), name


@pytest.mark.skipif(not KINDS, reason="torch before 2.9 has one setting only")
@pytest.mark.usefixtures("float32_settings")
def test_a_setting_for_all_of_torch_does_not_reach_fp32() -> None:
    torch.backends.fp32_precision = "tf32"
    try:
        use_precision("fp32")
        assert settings() == expected_settings(tf32=False)
    finally:
        torch.backends.fp32_precision = "none"


def test_the_network_runs_in_the_dtype_of_its_precision() -> None:
    assert {name: str(dtype) for name, dtype in PRECISIONS.items()} == {
        "bf16": "torch.bfloat16",
        "fp32": "torch.float32",
        "tf32": "torch.float32",
    }
    assert classifier().precision == use_precision("fp32")


def test_the_provenance_tells_fp32_from_tf32(gpus: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "a GPU")
    said = [collect_provenance(CUDA, pick_precision(name, CUDA)) for name in ("fp32", "tf32")]
    assert [each["precision"] for each in said] == ["fp32", "tf32"]
    assert [each["device"] for each in said] == ["a GPU"] * 2


def test_the_command_line_knows_every_precision() -> None:
    for name in ("auto", *PRECISIONS):
        check_limits({"precision": name})
    with pytest.raises(UsageError, match=rf"one of auto, {', '.join(PRECISIONS)}"):
        check_limits({"precision": "fp16"})
    assert composed().precision == "auto"
    assert "tf32" in (CONF / "train.yaml").read_text()


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="only glibc has mallopt")
def test_malloc_is_told_to_keep_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    class Library:
        def __init__(self, name: None) -> None: ...

        def mallopt(self, parameter: int, value: int) -> int:
            told.append((parameter, value))
            return value < 2**30  # as releases that refuse more than 32 MB

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    device.disable_malloc_trim()
    assert told == [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1)]
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"  # the user's choice stands


def test_nothing_is_told_to_malloc_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", pytest.fail)
    device.disable_malloc_trim()


def test_the_package_needs_no_installation_to_be_imported(tmp_path: Path) -> None:
    code = "import oodbench; print(oodbench.__version__, oodbench.__file__)"
    command = [sys.executable, "-S", "-c", code]  # without site-packages
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]}
    printed = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [oodbench.__version__, str(ROOT / "src/oodbench/__init__.py")]


def test_auto_compiles_long_trainings_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/cc")
    assert not pick_compile("auto", CUDA, COMPILED_FROM)
    assert pick_compile("auto", CUDA, COMPILED_FROM + 1) is True
    assert not pick_compile("auto", CPU, 10 * COMPILED_FROM)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not pick_compile("auto", CUDA, 10 * COMPILED_FROM)


@pytest.mark.parametrize("setting", [True, False, "reduce-overhead"])
def test_a_setting_for_the_compiler_is_taken(setting: bool | str) -> None:
    assert [pick_compile(setting, where, 1) for where in (CPU, CUDA)] == [setting, setting]
