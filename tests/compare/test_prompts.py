"""Prompt files: what is read, and every mistake in one sentence."""

import pytest

from modeseek.compare.prompts import NAMES, SENTENCES, read_prompts, shipped
from modeseek.errors import UsageError
from modeseek.shipped import POCKET_CLIP


def test_a_line_is_a_prompt(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("﻿red cat\n\n  a house,  blue \n# a remark\nüber\n", encoding="utf-8")
    assert read_prompts(path) == ("red cat", "a house,  blue", "über")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "at least one prompt"),
        (b"\n  \n# only a remark\n", "at least one prompt"),
        (b"red cat\ndog\n red cat \n", "repeats 'red cat'"),
        (b"red c\xe4t\n", "UTF-8 text; byte 5"),
    ],
)
def test_mistakes(tmp_path, data, says):
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=says):
        read_prompts(path)


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match="must be a file that can be read"):
        read_prompts(tmp_path / "absent.txt")
    with pytest.raises(UsageError, match="must be a file that can be read"):
        read_prompts(tmp_path)


def test_prompts_that_are_shipped():
    assert set(NAMES) <= set((POCKET_CLIP / "names.txt").read_text().splitlines())
    assert shipped("pocket") == NAMES
    assert shipped("owner/model") == SENTENCES
    assert (len(set(NAMES)), len(set(SENTENCES))) == (20, 10)
