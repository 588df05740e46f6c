"""scripts/prepare_data.py knows every published set."""

from helpers.config import ROOT, names

from oodbench.commands.data import READERS

LISTS = {"openood"}  # of images of several sets


def test_every_set_below_the_data_root_can_be_prepared() -> None:
    files = {name: (ROOT / f"conf/ood/{name}.yaml").read_text("utf-8") for name in names("ood")}
    assert {name for name, text in files.items() if "root: ${data_root}" in text} - LISTS == READERS.keys()
