"""What goes into the zip of the rotation function, and that it is the same each time."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from artefact.__main__ import BuildError, _certificates
from artefact.package import Conflict, gather, is_shipped, write_zip
from artefact.target import Target, pinned_for

PINS = """# a comment
alpha==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:aa
beta==2.0 ; python_version < '3.13' \\
    --hash=sha256:bb \\
    --hash=sha256:bc
gamma==3.0 ; implementation_name != 'pypy' and platform_machine == 'aarch64' \\
    --hash=sha256:cc
delta[extra]==4.0 \\
    --hash=sha256:dd
"""


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    path = tmp_path / "pins.txt"
    path.write_text(PINS)
    return path


def wheel(directory: Path, name: str, files: dict[str, str]) -> Path:
    path = directory / name
    with zipfile.ZipFile(path, "w") as opened:
        for inside, text in files.items():
            opened.writestr(inside, text)
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "tegata_credentials"
    for name in ("rotation/steps.py", "testing/laboratory.py", "__pycache__/steps.pyc"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("pass\n")
    return path


def test_pins_are_chosen_for_the_function_and_not_for_the_machine_that_builds(pins: Path) -> None:
    assert pinned_for(Target("arm64", "3.13"), pins).splitlines() == [
        "gamma==3.0 --hash=sha256:cc",
        "delta==4.0 --hash=sha256:dd",
    ]
    assert pinned_for(Target("x86_64", "3.12"), pins).splitlines() == [
        "beta==2.0 --hash=sha256:bb --hash=sha256:bc",
        "delta==4.0 --hash=sha256:dd",
    ]


def test_the_same_files_make_the_same_zip(tmp_path: Path, package: Path) -> None:
    wheels = [wheel(tmp_path, "a-1-py3-none-any.whl", {"a/__init__.py": "x = 1\n", "a/native.so": "ELF"})]
    digests = set()
    for name in ("one.zip", "two.zip"):
        write_zip(tmp_path / name, gather(wheels, package, {}))
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_stand_ins_and_caches_are_left_out_and_other_peoples_modules_of_that_name_are_not(
    tmp_path: Path, package: Path
) -> None:
    wheels = [wheel(tmp_path, "a-1-py3-none-any.whl", {"a/testing/__init__.py": "", "a-1.dist-info/RECORD": "a"})]
    assert sorted(gather(wheels, package, {"database-ca.pem": b""})) == [
        "a/testing/__init__.py",
        "database-ca.pem",
        "tegata_credentials/rotation/steps.py",
    ]
    assert not is_shipped("tegata_credentials/testing/secrets_manager/proxy.py")


def test_what_a_wheel_keeps_in_its_data_folder_is_put_where_an_installer_would(tmp_path: Path, package: Path) -> None:
    files = {"a-1.data/purelib/a/deep.py": "", "a-1.data/scripts/a": "#!python"}
    found = gather([wheel(tmp_path, "a-1-py3-none-any.whl", files)], package, {})
    assert "a/deep.py" in found
    assert not any("scripts" in name for name in found)


def test_two_packages_that_bring_different_files_of_one_name_stop_the_build(tmp_path: Path, package: Path) -> None:
    wheels = [wheel(tmp_path, f"{name}-1-py3-none-any.whl", {"shared.py": name}) for name in ("a", "b")]
    with pytest.raises(Conflict, match=r"shared\.py"):
        gather(wheels, package, {})


def test_a_private_key_is_not_taken_for_certificates(tmp_path: Path) -> None:
    path = tmp_path / "bundle.pem"
    for text in ("-----BEGIN CERTIFICATE-----\n-----BEGIN EC " + "PRIVATE KEY-----\n", "nothing"):
        path.write_text(text)
        with pytest.raises(BuildError, match="certificates"):
            _certificates(path)
    with pytest.raises(BuildError, match="No such file"):
        _certificates(tmp_path / "missing.pem")
