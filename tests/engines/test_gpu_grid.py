"""scripts/gpu_grid: a folder plays the GPU machine, without a network; parts come one by one, a worker is killed."""

import ensurepip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.image_files import pngs, write_parquet

from oodbench.cli.plan import plan
from oodbench.runs.folder import RunFolder
from oodbench.runs.lock import owner

HERE = ROOT / "scripts" / "gpu_grid"
TINY = ["recipe=smoke", "recipe.epochs=40", "recipe.batch_size=64", "recipe.optimizer.lr=0.01", "backbone.width=4"]
TINY += ["device=cpu", "precision=fp32", "threads=1", "checkpoint_share=1", "loss=ce"]
LIST = """\
# one sweep a line
dataset=cifar10 seed=0,1 ood=[mnist]

dataset=cifar10 seed=0,1 ood=[mnist,tiny_imagenet] detector=[msp,knn]
"""
ALONE = ["unshare", "--map-current-user", "--net"]
FILES = ["cifar10/train.parquet", "cifar10/test.parquet", "mnist/test.parquet", "tiny_imagenet/test.parquet"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout is packed; this is none"),
]


def without_network() -> list[str]:
    """Return what a command begins with; nothing where this system forbids it."""
    return ALONE if shutil.which("unshare") and subprocess.run([*ALONE, "true"]).returncode == 0 else []


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in the layout of published sets; the last set alone is larger than a part."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, n in zip(FILES, (200, 40, 40, 400), strict=True):
        images = pngs(random.integers(256, size=(n, 32, 32, 3), dtype=np.uint8))
        write_parquet(root / name, images, {"label": np.arange(n) % 10})
    return root


class Machine:
    """A folder; commands in it have no network, the scripts of the unpacked repository and its oodbench."""

    def __init__(self, root: Path) -> None:
        self.parts, self.work, self.results, self.back = (root / name for name in ("parts", "work", "results", "back"))
        for folder in (self.parts, self.results, self.back):
            folder.mkdir(parents=True)
        paths = [self.work, self.work / "repository/scripts/gpu_grid", os.environ["PATH"]]
        self.environment = os.environ | {"PATH": os.pathsep.join(map(str, paths)), "PAUSE": "1"}
        self.environment |= {"PYTHON": sys.executable, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        self.prefix = without_network()

    def start(self, *command: Any, **options: Any) -> subprocess.Popen[str]:
        words = [*self.prefix, *map(str, command)]
        return subprocess.Popen(words, env=self.environment, text=True, start_new_session=True, **options)

    def run(self, *command: Any) -> str:
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 0, printed
        return printed

    def receive(self, part: Path) -> list[str]:
        """Copy a part to the machine; return the data files that have become whole."""
        shutil.copy(part, self.parts)
        printed = self.run("bash", HERE / "unpack.sh", self.parts, self.work).split()
        return [name.removeprefix("data/") for name in printed if name.startswith("data/")]

    def worker(self, name: str) -> subprocess.Popen[str]:
        (self.results.parent / "list.txt").write_text(LIST)
        with (self.results / f"{name}.log").open("w") as log:
            command = ("worker.sh", self.results.parent / "list.txt", *TINY, f"results_dir={self.results}")
            return self.start(*command, stdout=log, stderr=log)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.results.glob("*.log"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def until(machine: Machine, pattern: str, count: int, amid_training: bool = False) -> None:
    """Wait for so many files of that name."""
    deadline = time.monotonic() + 600
    while True:
        found = list(machine.results.glob(f"runs/*/*/*/*/*/{pattern}"))
        if amid_training:
            found = [p for p in found if owner(p.parent) and not (p.parent / "model.safetensors").exists()]
        if len(found) >= count:
            return
        assert time.monotonic() < deadline, machine.logs()
        time.sleep(0.02)


def contents(results: Path, name: str) -> dict[str, bytes]:
    return {str(path.relative_to(results)): path.read_bytes() for path in results.glob(f"runs/*/*/*/*/*/{name}")}


def numbers(results: Path) -> dict[str, Any]:
    records = {run: json.loads(text) for run, text in contents(results, "metrics.json").items()}
    return {run: [record[key] for key in ("accuracy", "ece", "ood")] for run, record in records.items()}


def test_a_grid_in_parts_with_a_killed_worker_loses_nothing(machine: Machine, data: Path, tmp_path: Path) -> None:
    wheels, packed, home, straight = (tmp_path / name for name in ("wheels", "packed", "home", "straight"))
    wheels.mkdir()
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")  # stands for what the machine lacks
    shutil.copy(pip, wheels)
    subprocess.run([HERE / "pack.sh", packed, "1", wheels, data, *FILES], check=True)
    parts = sorted(packed.iterdir())
    assert max(part.stat().st_size for part in parts) <= 1_000_000

    assert [name for part in parts[:-1] for name in machine.receive(part)] == FILES[:-1]
    assert (machine.work / "site" / "pip").is_dir()
    workers = [machine.worker("one"), machine.worker("two")]
    until(machine, "checkpoint.previous.pt", 2, amid_training=True)
    os.killpg(workers[0].pid, signal.SIGKILL)
    workers[0].wait()
    workers[0] = machine.worker("again")
    until(machine, "error.txt", 1)  # the last set has not come
    until(machine, "metrics.json", 2)
    assert [worker.poll() for worker in workers] == [None, None], machine.logs()
    assert machine.receive(parts[-1]) == FILES[-1:]
    assert [worker.wait(600) for worker in workers] == [0, 0], machine.logs()
    assert "continues after epoch" in machine.logs()

    sent = []
    for _ in range(3):  # in each the weights of one more run, as long as there are
        machine.run("collect.sh", machine.results, machine.back, 1)
        sent.append(sorted(path.name for path in machine.back.glob("*.tar.*")))
    assert [len(names) for names in sent] == [2, 3, 3]
    home.mkdir()
    for archive in machine.back.iterdir():
        subprocess.run(["tar", "-C", home, "-xf", archive], check=True)
    assert "2 done, 0 running, 0 failed, 0 stopped" in (home / "status.txt").read_text()
    for line in filter(lambda line: line.startswith("dataset"), LIST.splitlines()):
        command = ["train.py", "-m", *line.split(), *TINY, f"data_root={data}", f"results_dir={straight}"]
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    assert contents(home, "model.safetensors") == contents(straight, "model.safetensors")
    assert len(numbers(home)) == 2
    assert numbers(home) == numbers(straight)


def test_the_probe_tells_images_per_second(tmp_path: Path) -> None:
    command = tmp_path / "oodbench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m oodbench.commands.main "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable}
    overrides = [*TINY, "recipe.epochs=2", "dataset.limit=200", "compile=false"]
    probe = subprocess.run([HERE / "probe.sh", *overrides], env=environment, capture_output=True, text=True)
    assert probe.returncode == 0, probe.stdout + probe.stderr
    rates = re.findall(r"cuda_graph=(\w+) compile=(\w+), (\d) at once: (\d+) images/s", probe.stdout)
    ways = [("false", "false"), ("true", "false"), ("true", "true")]
    assert [tuple(words) for *words, _ in rates] == [(*way, runs) for way in ways for runs in ("1", "2")]
    assert all(int(rate) > 0 for *_, rate in rates)


def test_the_list_of_the_repository_is_whole() -> None:
    """Its sweeps are the runs of HALO's post, and each word is an override that train.py takes."""
    lines = [line.split() for line in (HERE / "halo.txt").read_text().splitlines() if not line.startswith("#")]
    runs = [{RunFolder.of(config).run for config in plan(["-m", *line])[0]} for line in lines]
    assert runs[0] | runs[1] == runs[2]
    assert [len(each) for each in runs] == [3, 3, 6]
