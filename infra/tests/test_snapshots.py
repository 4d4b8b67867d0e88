"""The templates are what they were. `make synth ARGS=--snapshots` renews them after a change that is meant."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from tegata_infra.synthesis import SNAPSHOTS, format_template

from .templates import Assembly


def compare(assembly: Assembly, kept: Path) -> str:
    """Return the differences as a person reads them, stack by stack."""
    new = {name: format_template(template) for name, template in assembly.templates.items()}
    old = {file.stem: file.read_text() for file in kept.glob("*.json")}
    lines = []
    for name in sorted(new.keys() | old.keys()):
        before, after = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        lines += difflib.unified_diff(before, after, f"kept/{name}", f"now/{name}", lineterm="", n=4)
    return "\n".join(lines)


def test_the_templates_are_those_that_were_reviewed(each: Assembly) -> None:
    deployment, _, environment = each.directory.name.rpartition("-")
    changed = compare(each, SNAPSHOTS / deployment / environment)
    assert not changed, f"make synth ARGS=--snapshots if this is meant:\n{changed}"


def test_a_difference_is_shown_with_what_is_around_it(idp: Assembly, tmp_path: Path) -> None:
    for name, template in idp.templates.items():
        text = format_template(template)
        (tmp_path / f"{name}.json").write_text(text.replace('"10.0.11.0/24"', '"10.9.11.0/24"'))
    changed = compare(idp, tmp_path)
    assert '-    "CidrBlock": "10.9.11.0/24",' in changed
    assert '+    "CidrBlock": "10.0.11.0/24",' in changed
    assert len(changed.splitlines()) < 20
    assert json.loads((tmp_path / "Tegata-production-Network.json").read_text())["Resources"]
