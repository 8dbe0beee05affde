"""What a comparison is told, and what of it is refused."""

from pathlib import Path

import pytest

from modeseek.compare.config import CompareConfig, Contender
from modeseek.errors import UsageError
from modeseek.methods import ESTIMATORS


def test_methods_and_seeds_as_they_are_written():
    config = CompareConfig(methods="sds, msd,msd:paper", seeds="0-2,7")
    assert config.contenders() == (Contender("sds"), Contender("msd"), Contender("msd", "paper"))
    assert [str(c) for c in config.contenders()] == ["sds", "msd", "msd:paper"]
    assert config.chosen_seeds() == (0, 1, 2, 7)
    assert str(Contender("msd", "paper", (("steps", 3),), "msd 3")) == "msd 3"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_method_may_take_part(name):
    assert CompareConfig(methods=name).contenders() == (Contender(name),)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": "sds,mds"}, "methods must be one of .*Did you mean"),
        ({"methods": "msd:fast"}, "preset must be one of quick, paper"),
        ({"methods": ""}, "at least one method"),
        ({"methods": "sds,sds"}, "none twice"),
        ({"seeds": "0-"}, "0-3 or 0,5,7"),
        ({"seeds": "3-1"}, "0-3 or 0,5,7"),
        ({"seeds": "-1"}, "0-3 or 0,5,7"),
        ({"seeds": "a"}, "0-3 or 0,5,7"),
        ({"seeds": "0-2,1"}, "must not repeat"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"snapshots": 0}, "snapshots must be at least 1"),
        ({"dimensions": -1}, "at least 0"),
        ({"prompts": Path("absent.txt")}, "must be a file that can be read"),
        ({"out": Path(__file__)}, "must be a folder"),
    ],
)
def test_mistakes(options, says):
    with pytest.raises(UsageError, match=says):
        CompareConfig(**options)
