"""The formula of a loss's own OOD score, without importing the loss."""

import subprocess
import sys
from pathlib import Path

import pytest

from oodbench.tables.formulas import ood_score_formula

LOSSES = '''
class Objective:
    def ood_score(self, logits):
        """(B, C) -> (B,), the OOD score; higher = more likely OOD."""

class Softmax(Objective):
    def ood_score(self, logits):
        """(B, C) -> (B,), -max_k log p_k."""

class Focal(Softmax):
    pass

class Silent(Softmax):
    def ood_score(self, logits):
        return logits
'''


@pytest.mark.parametrize(
    ("loss_class", "formula"),
    [("Softmax", "-max_k log p_k"), ("Focal", "-max_k log p_k"), ("Silent", ""), ("Unknown", ""), ("", "")],
)
def test_the_formula_is_the_methods_docstring(loss_class: str, formula: str, tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(LOSSES)
    assert ood_score_formula(loss_class, tmp_path) == formula


def test_tables_do_without_torch() -> None:
    code = (
        "import sys, oodbench.tables; from oodbench.tables.formulas import ood_score_formula; "
        "assert ood_score_formula('Halo'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
