"""The pages of benchmarks/ on tiny sizes, with a loss and a detector that they do not know; no process stays behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.config import ROOT, names

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")
pytestmark = [pytest.mark.slow, linux]

DEPARTED = """
import multiprocessing, os, sys, time
from functools import partial
from pathlib import Path
from timing import time_interleaved

def start_workers():
    process = multiprocessing.Process(target=time.sleep, args=(0,))  # as a DataLoader does
    process.start()
    process.join()

def variant(log, then):
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\\n")
    return {"workers": start_workers, "sleep": partial(time.sleep, 600), "raise": partial(int, "x")}[then]

if __name__ == "__main__":
    time_interleaved({name: partial(variant, sys.argv[1], name) for name in ("workers", sys.argv[2])}, 1)
"""


def environment(root: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{root / 'src'}:{root / 'benchmarks'}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more loss and one more detector."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("src", "conf", "benchmarks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", root)
    for group, like in (("loss", "ce"), ("detector", "msp")):
        text = (ROOT / "conf" / group / f"{like}.yaml").read_text("utf-8")
        made_up = text.replace(f"detector.{like}", "detector.made_up")
        (root / "conf" / group / "made_up.yaml").write_text(made_up, "utf-8")
    return root


def page(root: Path, name: str, *options: str) -> str:
    output = root / "pages" / f"{name}.md"
    command = [sys.executable, root / "benchmarks" / f"{name}.py", "--small", "--output", output, *options]
    subprocess.run(command, env=environment(root), check=True, timeout=1200)
    return output.read_text("utf-8")


def test_speed_has_a_row_for_every_loss(extended: Path) -> None:
    text = page(extended, "speed")
    assert all(f"\n| loss={name} | " in text for name in [*names("loss"), "made_up"])


def test_growth_has_a_dash_for_what_it_does_not_know(extended: Path) -> None:
    text = page(extended, "growth", "--dimensions", "32")
    assert text.count("\n| made_up | — | — | ") == 4  # a detector against N and K, a loss against K and B
    assert all(f"\n| {name} | " in text for name in [*names("detector"), *names("loss")] if name != "all")
    assert "died" not in text
    assert (extended / "pages/growth.png").stat().st_size < 300_000


def test_equivalence_compares_every_precision(extended: Path) -> None:
    text = page(extended, "equivalence")
    assert text.count("\n| precision=bf16 | ") == text.count("\n| precision=fp32 | ") == 2


def test_many_runs_are_measured_by_every_command(extended: Path) -> None:
    shutil.copytree(ROOT / "scripts", extended / "scripts")
    (extended / "results").mkdir()
    shutil.copy(ROOT / "results" / "published.yaml", extended / "results")
    text = page(extended, "many_runs")
    assert text.count("| status.py, 4 runs | ") == text.count("| tables.py, 4 runs | ") == 1
    assert f"| {len(names('loss')) + 1} runs planned and checked | " in text


def ended(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("then", ["sleep", "raise"])
def test_no_process_outlives_its_benchmark(tmp_path: Path, then: str) -> None:
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(DEPARTED, "utf-8")
    with subprocess.Popen([sys.executable, script, log, then], env=environment(ROOT)) as parent:
        deadline = time.monotonic() + 120
        while not log.exists() or len(log.read_text().split()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if then == "sleep":
            parent.send_signal(signal.SIGKILL)
        assert parent.wait(120) != 0
    pids = [int(pid) for pid in log.read_text().split()]
    while not ended(pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
