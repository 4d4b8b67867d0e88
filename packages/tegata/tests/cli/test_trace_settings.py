"""Settings of traces: what is missing or cannot be used is said at the start, by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tegata.cli.failures import USAGE
from tegata.cli.traces import are_on, check_traces
from tegata.crypto.envelope import new_master_key
from tegata.settings import Settings, SettingsError

TEGATA = Path(sys.executable).parent / "tegata"


def test_without_the_extra_the_start_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path),
        "TEGATA_TRACES": "otlp",
        "TEGATA_BASE_URL": "https://id.example.com",
        "TEGATA_MASTER_KEY": new_master_key(),
        "TEGATA_DATABASE_URL": "postgresql://tegata_app@/tegata?host=/nowhere",
    }
    done = subprocess.run([str(TEGATA), "serve"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr == (
        "tegata: TEGATA_TRACES is otlp, which takes the extra tegata[tracing]: pip install 'tegata[tracing]'\n"
    )


ON = Settings.from_environment({"TEGATA_TRACES": "otlp"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "5 %"),
        ("OTEL_PROPAGATORS", "tracecontext,telepathy"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} "):
        check_traces(ON, {name: text})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"},
        {"OTEL_PROPAGATORS": "tracecontext, xray", "OTEL_BSP_MAX_QUEUE_SIZE": "10"},
        {"OTEL_PROPAGATORS": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318"},
    ],
    ids=["nothing", "the nearer protocol", "sampler", "propagators", "no propagator"],
)
def test_what_can_be_used_is_not(environment: dict[str, str]) -> None:
    check_traces(ON, environment)


def test_the_standards_own_switch_is_stronger() -> None:
    assert are_on(ON, {})
    assert not are_on(ON, {"OTEL_SDK_DISABLED": "TRUE"})
    check_traces(ON, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
