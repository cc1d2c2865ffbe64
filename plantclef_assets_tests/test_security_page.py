"""docs/security.md: every test that it names exists, and each threat has one."""

import re

import pytest

from plantclef_assets_tests.cli.commands import PROJECT

PAGE = (PROJECT / "docs/security.md").read_text()
COVERED = PAGE.partition("## Not covered")[0]
THREATS = [line for line in COVERED.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("threat", THREATS, ids=[line.split("|")[1].strip()[:60] for line in THREATS])
def test_a_threat_names_tests_that_exist(threat: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", threat.split("|")[2])
    assert named and len(named) == threat.split("|")[2].count("`") / 2
    for path, name in named:
        text = (PROJECT / "plantclef_assets_tests" / path).read_text()
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{path} has no {name}"


def test_both_pages_name_each_other() -> None:
    assert "SECURITY.md" in PAGE
    assert "docs/security.md" in (PROJECT / "SECURITY.md").read_text()
