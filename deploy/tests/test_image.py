"""The image: what its definition says, what is in it, and how its process behaves as number 1 on a read-only root."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest
from cryptography import x509

from containers.compose import Image
from containers.dockerfile import Dockerfile
from containers.image import Build, BuildError, let_in, pins
from containers.sandbox import Container, run, start

from .conftest import ROOT

OURS = {"tegata", "tegata-credentials", "tegata-verify"}
CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"
REQUIREMENTS = ROOT / "requirements"
SOCKET = "/var/run/postgresql"
KEY = "A" * 43 + "="


def container(image: Image, *command: str, **more: object) -> Container:
    environment = {**image.environment, **more.pop("environment", {})}  # type: ignore[dict-item]
    return Container(command or [*image.entrypoint, *image.command], environment, user=image.user, **more)  # type: ignore[arg-type]


def test_its_base_is_pinned_and_is_the_python_that_the_tests_run_on(dockerfile: Dockerfile) -> None:
    found = re.fullmatch(r"python:(\d+\.\d+)-slim-[a-z]+", dockerfile.arguments["PYTHON_IMAGE"])
    assert found is not None
    assert {stage.base for stage in dockerfile.stages} == set(dockerfile.arguments.values())
    if sys.version_info[:2] == (3, 11):
        assert found[1] == "3.11"


def test_a_rule_pack_for_dockerfiles_has_nothing_to_say() -> None:
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed")
    files = [str(ROOT / path) for path in ("deploy/image/Dockerfile", "examples/plan-b/Dockerfile")]
    # CKV_DOCKER_7 cannot see the default of an argument, where the base's version stands: the test above does.
    words = ["--framework", "dockerfile", "--skip-check", "CKV_DOCKER_7", "--skip-download", "--output", "json"]
    told = subprocess.run([CHECKOV, "--file", *files, *words], capture_output=True, text=True, check=False)
    report = json.loads(told.stdout)
    assert report["results"]["failed_checks"] == []
    assert {Path(check["file_path"]).parent.name for check in report["results"]["passed_checks"]} >= {"image", "plan-b"}


def test_what_is_started_is_small_and_nobody(dockerfile: Dockerfile) -> None:
    image = dockerfile.image
    words = [instruction.word for instruction in image.instructions]
    # Everything is built in a stage that is thrown away: no pip cache, no compiler, no source.
    assert "RUN" not in words
    assert "ADD" not in words
    assert [each.text.split()[0] for each in image.all("COPY")][:2] == ["--from=build", "--from=build"]
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", image.last("USER").text)
    assert words.index("USER") > max(index for index, word in enumerate(words) if word == "COPY")
    assert image.last("ENTRYPOINT").words == ["tegata"]
    assert image.last("CMD").words == ["serve"]
    assert image.last("HEALTHCHECK").words == ["tegata", "health"]
    for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert image.last(word).has_no_shell
    assert image.last("STOPSIGNAL").text == "SIGTERM"
    assert image.last("EXPOSE").text == image.pairs("ENV")["TEGATA_PORT"] == "8080"
    assert image.pairs("ENV")["TEGATA_HOST"] == "0.0.0.0"
    assert {name.rpartition(".")[2] for name in image.pairs("LABEL")} == {
        "title",
        "description",
        "licenses",
        "version",
        "revision",
    }
    assert image.pairs("ARG")["VERSION"] == metadata.version("tegata")


def test_the_builder_gets_what_is_copied_and_nothing_else(dockerfile: Dockerfile) -> None:
    copied = [
        source
        for stage in dockerfile.stages
        for instruction in stage.all("COPY")
        if "--from" not in instruction.text
        for source in instruction.words[:-1]
    ]
    for source in copied:
        path = ROOT / source
        assert let_in(path, ROOT) or any(let_in(each, ROOT) for each in path.rglob("*") if each.is_file()), source
    inside = ("packages/tegata/src/tegata/cli/main.py", "examples/tenants/demo.yaml", "requirements/image.txt")
    outside = (
        ".git/config",
        ".venv/pyvenv.cfg",
        ".tegata/secrets.yaml",
        "deploy/compose/secrets/master_key",
        "packages/tegata/tests/conftest.py",
        "packages/tegata/src/tegata/__pycache__/app.cpython-311.pyc",
        "requirements/dev.txt",
    )
    assert [let_in(ROOT / each, ROOT) for each in inside] == [True] * len(inside)
    assert [let_in(ROOT / each, ROOT) for each in outside] == [False] * len(outside)


def test_what_others_have_made_is_pinned_as_it_is_tested() -> None:
    """The tests' own environment was installed from the same hashes."""
    tested, used = pins(REQUIREMENTS / "dev.txt"), pins(REQUIREMENTS / "image.txt")
    assert set(used) <= set(tested)
    for name, (requirement, hashes) in used.items():
        assert (requirement.specifier, hashes) == (tested[name][0].specifier, tested[name][1]), name
        assert hashes, name


def test_it_holds_the_server_and_nothing_that_only_tests_need(build: Build) -> None:
    packages = next((build.opt / "tegata").glob("lib/python*/site-packages"))
    held = {
        metadata.Distribution.at(path).metadata["Name"].lower().replace("_", "-")
        for path in packages.glob("*.dist-info")
    }
    pinned = pins(REQUIREMENTS / "image.txt").values()
    wanted = {each.name for each, _ in pinned if each.marker is None or each.marker.evaluate()}
    assert held == wanted | OURS
    # Compiled when it was built: at run time nothing can be.
    sources = [path for path in (packages / "tegata").rglob("*.py") if path.name != "__init__.py"]
    assert sources
    for path in sources:
        assert list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")), path


def test_there_is_nothing_that_its_user_could_write(image: Image, tmp_path: Path) -> None:
    looking = (
        "import json, os\n"
        "mounts = [line.split()[1:4] for line in open('/proc/self/mounts')]\n"
        "ours = [place for place, _, options in mounts if not place.startswith(('/proc', '/dev')) and 'rw' in"
        " options.split(',')]\n"
        "places = ['/', '/tmp', '/var', '/run', '/etc', '/opt/tegata', os.getcwd(), os.environ['HOME']]\n"
        "print(json.dumps({'open': ours + [place for place in places if os.access(place, os.W_OK)],"
        " 'ids': [os.getpid(), os.getuid(), os.getgid()], 'home': os.path.expanduser('~'),"
        " 'status': open('/proc/self/status').read()}))"
    )
    done = run(container(image, "python", "-c", looking), image.root, tmp_path / "log")
    assert done.status == 0, done.log
    found = json.loads(done.log)
    assert found["open"] == []
    assert found["ids"] == [1, 10001, 10001]
    assert not Path(found["home"]).exists()
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in found["status"]


@pytest.mark.parametrize("words", [["--help"], ["keys", "new-master-key"], ["settings"]], ids=" ".join)
def test_commands_need_neither_a_home_nor_a_temporary_folder(image: Image, words: list[str], tmp_path: Path) -> None:
    done = run(container(image, *image.entrypoint, *words), image.root, tmp_path / "log")
    assert done.status == 0, done.log


def test_without_settings_it_says_what_is_missing(image: Image, tmp_path: Path) -> None:
    done = run(container(image), image.root, tmp_path / "log")
    assert done.status == 2
    assert "TEGATA_BASE_URL is not set" in done.log
    assert "Traceback" not in done.log


@pytest.mark.parametrize("words", [["migrate"], ["db", "bootstrap"], ["serve"], ["worker"]], ids=" ".join)
def test_as_process_1_it_ends_on_sigterm_while_it_waits(image: Image, words: list[str], tmp_path: Path) -> None:
    """For a database that says nothing. Linux drops a signal that process 1 has not asked for: SIGKILL would end it."""
    with tempfile.TemporaryDirectory(prefix="silent-") as name, socket.socket(socket.AF_UNIX) as silent:
        directory = Path(name)
        directory.chmod(0o755)
        silent.bind(str(directory / ".s.PGSQL.5432"))
        (directory / ".s.PGSQL.5432").chmod(0o777)
        silent.listen()
        silent.settimeout(60)
        url = f"postgresql://nobody@/tegata?host={SOCKET}"
        settings = {
            "TEGATA_BASE_URL": "https://id.example.com",
            "TEGATA_MASTER_KEY": KEY,
            "TEGATA_HOST": "127.0.0.1",
            "TEGATA_PORT": "0",
            **{f"TEGATA_{kind}DATABASE_URL": url for kind in ("", "MAINTENANCE_", "MIGRATION_", "BOOTSTRAP_")},
        }
        waiting = start(
            container(image, *image.entrypoint, *words, environment=settings, mounts={SOCKET: directory}),
            image.root,
            tmp_path / "log",
        )
        try:
            connection, _ = silent.accept()
            with connection:
                waiting.signal(signal.SIGTERM)
                assert waiting.wait() == 128 + signal.SIGTERM, waiting.log
        finally:
            waiting.kill()


def test_several_processes_that_are_measured_need_a_temporary_folder_and_say_so(image: Image, tmp_path: Path) -> None:
    """The one thing that is written: the figures that they tell each other."""
    settings = {
        "TEGATA_BASE_URL": "https://id.example.com",
        "TEGATA_MASTER_KEY": KEY,
        "TEGATA_DATABASE_URL": f"postgresql://nobody@/tegata?host={SOCKET}",
        "TEGATA_HOST": "127.0.0.1",
        "TEGATA_PORT": "0",
        "TEGATA_WORKERS": "2",
        "TEGATA_METRICS_NETWORKS": "127.0.0.0/8",
    }
    without = run(container(image, environment=settings), image.root, tmp_path / "log")
    assert without.status == 3
    assert "No usable temporary directory found" in without.log
    assert "Traceback" not in without.log


@pytest.mark.parametrize("content", ["certificate", "<html>404</html>"])
def test_certificates_of_a_database_go_in_and_an_error_page_does_not(
    dockerfile: Dockerfile, secrets: Path, content: str, tmp_path: Path
) -> None:
    context, out = tmp_path / "context", tmp_path / "out"
    (context / "deploy/image/certificates").mkdir(parents=True)
    out.mkdir()
    shutil.copy(ROOT / ".dockerignore", context)
    pem = (secrets / "tls_certificate").read_text() if content == "certificate" else content
    (context / "deploy/image/certificates/global-bundle.pem").write_text(pem)
    stage = dockerfile.stage("build")
    about = [each for each in stage.instructions if "certificates" in each.text]
    assert [each.word for each in about] == ["COPY", "RUN"]
    only = Dockerfile([type(stage)(stage.base, stage.name, about)], {})
    if content != "certificate":
        with pytest.raises(BuildError, match="no certificate"):
            Build(only, context, out).do()
        return
    build = Build(only, context, out)
    build.do()
    (copied,) = [each.words for each in dockerfile.image.all("COPY") if "certificates" in each.text]
    assert copied == ["--from=build", "/build/certificates", "/etc/ssl/rds"]
    x509.load_pem_x509_certificate((build.build / "certificates/global-bundle.pem").read_bytes())
