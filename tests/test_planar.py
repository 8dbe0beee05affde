import subprocess
import sys

from modeseek.planar import PICTURES, SETS, unknown


def test_names_do_not_clash():
    assert not set(SETS) & set(PICTURES)


def test_unknown_names_the_nearest_and_all():
    said = str(unknown("the set", "Swiss-Rol", SETS))
    assert "Did you mean 'swiss_roll'?" in said
    assert all(name in said for name in SETS)
    assert "Did you mean" not in str(unknown("the set", "xyzzy", SETS))


def test_no_torch():
    code = "import sys, modeseek.planar; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
