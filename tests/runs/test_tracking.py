"""Weights & Biases, offline: what is logged under which name, and nothing where it is not asked for."""

import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.config import configuration

from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import identify
from oodbench.runs.tracking import epoch_row, track

ROWS = [{"epoch": 1, "loss": 2.5, "accuracy": 0.25, "gamma": 3.0}, {"epoch": 2, "loss": 0.123456, "accuracy": 0.5}]
RECORD: dict[str, Any] = {"accuracy": 0.75, "ece": 0.1, "nll": 1.0, "brier": 0.5, "calibration": {"no": 1}}
RECORD |= {"ood": {"noise": {"msp": {"auroc": 0.875}}}}


def test_nothing_is_imported_where_it_is_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = configuration()
    with track(RunFolder(tmp_path, identify(config)), config) as log:
        log.epoch(ROWS[0])
        log.result(RECORD)
    assert list(tmp_path.iterdir()) == []


def test_where_it_is_missing_the_way_to_install_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = configuration(wandb__mode="offline")
    with (
        pytest.raises(ImportError, match=r"wandb\.mode=offline needs wandb: pip install 'oodbench\[wandb\]'"),
        track(RunFolder(tmp_path, identify(config)), config),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_axis_alone_has_no_prefix() -> None:
    assert epoch_row(ROWS[0]) == {"epoch": 1, "train/loss": 2.5, "train/accuracy": 0.25, "train/gamma": 3.0}


def wandb_records(path: Path) -> Iterator[Any]:
    """Yield the records of an offline run's file: a 7-byte header, then a LevelDB log in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def written_records(path: Path) -> list[Any]:
    """Return the records once the last one, of the run's end, is there: wandb's own process writes them."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        records = list(wandb_records(path))
        if any(record.HasField("exit") for record in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"no end of the run in {path}")


@pytest.mark.slow
def test_offline_it_has_configuration_epochs_and_numbers(tmp_path: Path) -> None:
    config = configuration(wandb__mode="offline", seed=3)
    with track(RunFolder(tmp_path, identify(config)), config) as log:
        for row in ROWS:
            log.epoch(row)
        log.result(RECORD)
    (file,) = tmp_path.rglob("*.wandb")
    records = written_records(file)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.run_group) == ("oodbench", "digits/ce")
    stored = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert stored["loss"] == config["loss"]
    assert stored["seed"] == 3
    lines = [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert len(lines) == 3
    for line, row in zip(lines, ROWS, strict=False):
        assert {key: line[key] for key in epoch_row(row)} == epoch_row(row)
    final = json.dumps(lines[2])
    assert "0.875" in final
    assert "0.75" in final
    assert not {"accuracy", "train/accuracy"} & lines[2].keys()  # the test set's is no epoch's
    assert "calibration" not in final
