"""scripts/slurm_check.sh: a real SLURM, a preempted job, a node that dies; nothing stays behind."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.config import ROOT

PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
MISSING = [name for name in ("munged", "slurmctld", "slurmd", "unshare") if not shutil.which(name, path=PATHS)]
OWN_NAMES = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "true"]  # as each of the script's nodes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}; Debian: apt-get install slurm-wlm munge"),
    pytest.mark.skipif(
        not MISSING and subprocess.run(OWN_NAMES, capture_output=True).returncode != 0,
        reason="no namespaces of one's own: this is a container without the rights, or no root",
    ),
]


def processes_of(name: bytes) -> set[str]:
    """Return the processes whose command or environment has the name."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/*"):
        if file.name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                found |= {file.parent.name} if name in file.read_bytes() else set()
    return found


def test_slurm_loses_nothing_by_preemption_and_a_dead_node(tmp_path: Path) -> None:
    check = [ROOT / "scripts" / "slurm_check.sh", tmp_path / "results"]
    environment = os.environ | {"PYTHON": sys.executable}
    ended = subprocess.run(check, env=environment, capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    printed = ended.stdout
    assert "seed 0 is preempted on node" in printed
    assert "dies with seed 2 in epoch" in printed
    assert printed.count("continues after epoch") >= 2
    assert printed.count("3 done, 0 running, 0 failed, 0 stopped") == 2
    assert printed.endswith("equal to the bit\n")
    assert not list(Path(tempfile.gettempdir()).glob("slurm_check.*"))
    assert not processes_of(b"slurm_check")
