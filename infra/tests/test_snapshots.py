"""The templates are what they were. `make synth ARGS=--snapshots` renews them after a change that is meant."""

from __future__ import annotations

import difflib
import json
import zipfile
from pathlib import Path

from tegata_infra.synthesis import SNAPSHOTS, format_template, pack

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


def test_a_release_carries_the_templates_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "build" / "idp" / "dev"
    place.mkdir(parents=True)
    (place / "Tegata-dev-Data.template.json").write_text("{}")
    (place / "manifest.json").write_text("{}")
    first = pack(tmp_path / "build", tmp_path / "dist" / "first.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "dist" / "first.zip") as archive:
        assert archive.namelist() == ["idp/dev/Tegata-dev-Data.template.json"]
    assert pack(tmp_path / "build", tmp_path / "dist" / "second.zip").read_bytes() == first
