"""The headings of a paper's table."""

import re
from pathlib import Path

from helpers.made_up import add_run
from helpers.paper import body, lines, scores

from oodbench.tables.paper.style import Style


def test_near_and_far_are_grouped_with_averages(tmp_path: Path) -> None:
    add_run(tmp_path, ood=scores())
    text = lines(tmp_path)
    kinds, _, sets = text[text.index(r"\toprule") + 1 :][:3]
    assert re.findall(r"multicolumn{(\d)}{c}{(.+?)} ", kinds + " ") == [("2", "Near-OOD"), ("6", "Far-OOD")]
    assert re.findall(r"{c}{(.+?)} ", sets + " ") == [r"\oodCifarc{}", r"\oodSvhn{}", r"\oodTextures{}", "Average"]
    assert body(text)[0][3::2] == ["80.00", "90.00", "70.00", "80.00"]


def test_sets_of_one_name_and_other_sizes_have_their_own(tmp_path: Path) -> None:
    for loss, images in (("a", 100), ("b", 2000)):
        add_run(tmp_path, loss, ood=scores(sets={"svhn": 0.9}), images=images)
    text = "\n".join(lines(tmp_path))
    assert r"{c}{\oodSvhn{}, 100 images} & \multicolumn{2}{c}{\oodSvhn{}, 2,000 images}" in text
    text = "\n".join(lines(tmp_path, Style(columns=["svhn:auroc"])))
    assert r"{c}{\oodSvhn{}, 100 images} & \multicolumn{1}{c}{\oodSvhn{}, 2,000 images}" in text
