"""Choices of a configuration group that are made from its files, so that a new file needs no line elsewhere."""

from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


def store_all_detectors(conf: Path) -> None:
    """Store the choice `detector=all`: every file of conf/detector, in alphabetical order.

    A defaults list has no glob. The choice is one like any other: it stands in `--help`, in a list
    (`detector=[all]`), in a sweep, in an experiment file (`override /detector: all`).
    """
    names = sorted(path.stem for path in (conf / "detector").glob("*.yaml"))
    ConfigStore.instance().store("all", {"defaults": names}, group="detector", package="_global_")


def name_folders() -> None:
    """Let a configuration file name a set by its folder, `${folder_name:/data/leaves}`: leaves."""
    OmegaConf.register_new_resolver("folder_name", lambda path: Path(path).expanduser().absolute().name, replace=True)
