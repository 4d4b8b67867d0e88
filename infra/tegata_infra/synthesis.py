"""`make synth`: writes the templates of every deployment and environment to `build/<deployment>/<environment>`.

They stand alone, for users without CDK: what a deployer has to say are parameters, and no bootstrap is needed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tegata_infra.acknowledgement import list_acknowledgements
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS, Deployment, EnvironmentName
from tegata_infra.deployment import build_app
from tegata_infra.environments import load_config

SNAPSHOTS = Path(__file__).resolve().parent.parent / "snapshots"
ARCHIVE = Path(__file__).resolve().parents[2] / "dist" / "cloudformation.zip"
BUILD = Path(__file__).resolve().parent.parent / "build"


def synthesize(
    deployment: Deployment,
    environment: EnvironmentName,
    output: Path,
    *,
    environ: Mapping[str, str] | None = None,
    **given: Any,
) -> Path:
    """Write the templates of one deployment in one environment; return where they are.

    Args:
        deployment: what.
        environment: which preset.
        output: the folder to write to.
        environ: what the deployer says, as environment variables; without it everything becomes a parameter.
        given: fields of `Config` that are laid over the preset.
    """
    app = build_app(load_config(deployment, environment, environ or {}, **given), output)
    app.synth()
    accepted = [entry._asdict() for entry in list_acknowledgements(app)]
    (output / "acknowledged.json").write_text(json.dumps(accepted, indent=1) + "\n")
    return output


def pack(build: Path, archive: Path) -> Path:
    """Put the templates into one zip for a release, the same bytes for the same templates."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for template in sorted(build.glob("*/*/*.template.json")):
            place = zipfile.ZipInfo(str(template.relative_to(build)), (1980, 1, 1, 0, 0, 0))
            zipped.writestr(place, template.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive


def write_snapshot(build: Path, target: Path) -> None:
    """Keep the templates of `build` in the form in which differences are readable."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for template in sorted(build.glob("*.template.json")):
        (target / template.name.replace(".template", "")).write_text(format_template(json.loads(template.read_text())))


def keep_with_passwords(target: Path) -> None:
    """Keep production as it is where Tegata's logins have passwords: the stacks that differ, to be run as processes."""
    with tempfile.TemporaryDirectory() as name:
        build = synthesize("idp", "production", Path(name), database={"authentication": "secret"})
        for stack in ("Secrets", "Service"):
            template = json.loads((build / f"Tegata-production-{stack}.template.json").read_text())
            (target / f"Tegata-production-{stack}.json").write_text(format_template(template))


def format_template(template: object) -> str:
    """Return a template as text: sorted, one value a line."""
    return json.dumps(template, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write those named as `deployment/environment`, or all; with `--snapshots` renew what tests compare with, too."""
    keep = "--snapshots" in arguments
    named = [word for word in arguments if word != "--snapshots"]
    wanted = named or [f"{deployment}/{environment}" for deployment in DEPLOYMENTS for environment in ENVIRONMENTS]
    for name in wanted:
        deployment, _, environment = name.partition("/")
        config_names = (deployment in DEPLOYMENTS, environment in ENVIRONMENTS)
        if not all(config_names):
            print(f"{name!r} is no deployment/environment", file=sys.stderr)
            return 2
        shutil.rmtree(BUILD / name, ignore_errors=True)  # no stack of another day is packed
        try:
            synthesize(deployment, environment, BUILD / deployment / environment)  # type: ignore[arg-type]
        except RuntimeError as error:
            if "ValidationFailed" not in str(error):
                raise
            print(f"infra/build/{name} has the findings above; mend or acknowledge them", file=sys.stderr)
            return 1
        print(f"infra/build/{name}")
        if keep:
            write_snapshot(BUILD / name, SNAPSHOTS / name)
        if keep and name == "idp/production":
            keep_with_passwords(SNAPSHOTS / "variants" / "service-passwords")
    if not named:
        print(pack(BUILD, ARCHIVE).relative_to(ARCHIVE.parents[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
