"""scripts/prepare_data.py knows every published set."""

import pytest
from helpers.cli import script
from helpers.config import ROOT, names

from oodbench.commands.data import READERS

LISTS = {"openood"}  # of images of several sets


def test_every_set_below_the_data_root_can_be_prepared() -> None:
    files = {name: (ROOT / f"conf/ood/{name}.yaml").read_text("utf-8") for name in names("ood")}
    assert {name for name, text in files.items() if "root: ${data_root}" in text} - LISTS == READERS.keys()


def test_a_split_that_a_set_lacks_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script("scripts/prepare_data.py", "textures", "--split", "train")
    assert "textures has no split train, only test" in capsys.readouterr().err
