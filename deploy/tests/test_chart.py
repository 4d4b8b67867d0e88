"""The Helm chart, rendered by Helm's own engine: good for every Kubernetes, restricted, and without a secret in it."""

from __future__ import annotations

import json
import re
from importlib import metadata
from typing import Any

import pytest
import yaml

from tegata.settings import Settings, is_secret

from .charts import BASE_URL, CHART, Charts, named, pods

EVERYTHING: dict[str, Any] = {
    "bootstrap": {"enabled": True, "provider": "rds", "arguments": ["--alternating"]},
    "secrets": {
        "logins": {"secret": "tegata-bootstrap", "key": "logins"},
        "databaseReaderUrl": {"secret": "tegata", "key": "reader"},
        "databaseListenUrl": {"secret": "tegata", "key": "listen"},
    },
    "database": {"auth": "aws_iam", "ca": {"configMap": "rds", "key": "global-bundle.pem"}},
    "config": {"TEGATA_LOG_LEVEL": "debug", "TEGATA_WORKERS": 2, "TEGATA_EMBEDDED_METRICS": True},
    "trustedProxies": "10.244.0.0/16",
    "server": {
        "autoscaling": {"enabled": True},
        "annotations": {"a": "b"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
    "serviceAccounts": {"migrate": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/x"}}},
    "podLabels": {"azure.workload.identity/use": "true"},
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "registry"}]},
    "service": {"annotations": {"a": "b"}},
}


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_it_is_good_for_every_kubernetes_that_is_alive(charts: Charts, version: str) -> None:
    answer = charts.render(version, **EVERYTHING)
    assert answer["problems"] == []
    assert len(answer["manifests"]) == 15


def test_helm_has_nothing_to_say_against_it(charts: Charts) -> None:
    told = charts.ask(ask="lint", chart=str(CHART), values={"baseUrl": BASE_URL})
    assert told["errors"] == []
    assert [each["error"] for each in told["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("values", [{"bootstrap": {"enabled": True}}, EVERYTHING], ids=["defaults", "everything"])
def test_every_pod_is_restricted(charts: Charts, values: dict[str, Any]) -> None:
    """Pod Security Standards, profile Restricted; and a root that cannot be written."""
    found = pods(charts.manifests(**values))
    assert set(found) == {"server", "worker", "migrate", "bootstrap"}
    for component, pod in found.items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {
            "emptyDir",
            "projected",
            "configMap",
        }
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        # The image's entry point is kept, and it is no shell.
        assert "command" not in container, component
        assert set(container["resources"]) == {"requests", "limits"}
        assert "memory" in container["resources"]["limits"]


def test_each_pod_sees_its_own_secrets_alone_and_no_value_stands_in_the_chart(charts: Charts) -> None:
    found = charts.manifests(**EVERYTHING)
    seen = {
        component: sorted(
            item["path"]
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            for item in source["secret"]["items"]
        )
        for component, pod in pods(found).items()
    }
    assert seen == {
        "server": ["databaseListenUrl", "databaseReaderUrl", "databaseUrl", "masterKey"],
        "worker": ["maintenanceUrl", "masterKey"],
        "migrate": ["migrationUrl"],
        "bootstrap": ["bootstrapUrl", "logins"],
    }
    assert "Secret" not in {each["kind"] for each in found}
    for pod in pods(found).values():
        for variable in pod["containers"][0].get("env", ()):
            assert set(variable) == {"name", "value"}
    accounts = [pod["serviceAccountName"] for pod in pods(found).values()]
    assert len(set(accounts)) == 4


def test_settings_that_hold_a_secret_are_refused_as_plain_values(charts: Charts) -> None:
    secret = [f"TEGATA_{name.upper()}" for name, field in Settings.model_fields.items() if is_secret(field)]
    refused = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]["propertyNames"]
    assert {*secret, *(f"{name}_FILE" for name in secret)} < set(refused["not"]["enum"])
    assert "TEGATA_MASTER_KEY" in charts.render(config={"TEGATA_MASTER_KEY": "x"})["refused"]


def test_every_setting_that_the_chart_names_is_one() -> None:
    known = {f"TEGATA_{name.upper()}" for name in Settings.model_fields}
    text = "".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
    named_there = set(re.findall(r"TEGATA_[A-Z_]+", text + (CHART / "values.schema.json").read_text()))
    # Alone in the schema: that a name begins so.
    assert {name.removesuffix("_FILE") for name in named_there} - {"TEGATA_"} <= known


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"baseUrl": ""}, "/baseUrl"),
        ({"baseUrl": "http://id.example.com"}, "/baseUrl"),
        ({"baseUrl": "https://id.example.com/"}, "/baseUrl"),
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"trustedProxies": "10.0.0.0/8, 0.0.0.0/0"}, "/trustedProxies"),
        ({"secrets": {"masterKey": {"secret": ""}}}, "/secrets/masterKey"),
        ({"secrets": {"migrationUrl": {"secret": ""}}}, "/secrets/migrationUrl"),
        ({"replicas": 3}, "replicas"),
        ({"bootstrap": {"provider": "aws"}}, "/bootstrap/provider"),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else "",
)
def test_values_that_cannot_work_are_refused(charts: Charts, values: dict[str, Any], told: str) -> None:
    assert told in charts.render(**values)["refused"]


def test_what_is_left_out_is_not_asked_for(charts: Charts) -> None:
    found = charts.manifests(
        migrate={"enabled": False},
        worker={"enabled": False},
        secrets={"migrationUrl": {"secret": ""}, "maintenanceUrl": {"secret": ""}},
        networkPolicy={"enabled": False},
    )
    assert {each["kind"] for each in found} == {
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }


def test_jobs_run_before_the_servers_and_everything_they_need_before_them(charts: Charts) -> None:
    found = charts.manifests(bootstrap={"enabled": True})
    hooks = {
        (each["kind"], each["metadata"]["name"]): int(each["metadata"]["annotations"]["helm.sh/hook-weight"])
        for each in found
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    }
    assert sorted(hooks, key=lambda each: hooks[each])[2:] == [
        ("Job", "id-tegata-bootstrap"),
        ("Job", "id-tegata-migrate"),
    ]
    assert {name for kind, name in hooks if kind == "ServiceAccount"} == {"id-tegata-bootstrap", "id-tegata-migrate"}
    for component in ("bootstrap", "migrate"):
        # Whatever is no hook is made after them.
        container = pods(found)[component]["containers"][0]
        assert "envFrom" not in container
        assert "TEGATA_DATABASE_AUTH" in {variable["name"] for variable in container["env"]}


def test_two_servers_in_two_zones_leave_one_at_a_time_and_in_peace(charts: Charts) -> None:
    found = charts.manifests()
    server = named(found, "Deployment", "id-tegata")["spec"]
    assert server["replicas"] == 2
    assert server["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    pod = server["template"]["spec"]
    assert [each["topologyKey"] for each in pod["topologySpreadConstraints"]] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    settings = named(found, "ConfigMap", "id-tegata")["data"]
    leaving = int(settings["TEGATA_DRAIN_SECONDS"]) + int(settings["TEGATA_SHUTDOWN_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > leaving
    budget = named(found, "PodDisruptionBudget", "id-tegata")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = server["template"]["metadata"]["labels"]
    for selector in (
        server["selector"]["matchLabels"],
        budget["selector"]["matchLabels"],
        named(found, "Service", "id-tegata")["spec"]["selector"],
        named(found, "NetworkPolicy", "id-tegata")["spec"]["podSelector"]["matchLabels"],
        pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
        assert selector["app.kubernetes.io/component"] == "server"


def test_with_autoscaling_helm_does_not_set_the_number_back(charts: Charts) -> None:
    found = charts.manifests(server={"autoscaling": {"enabled": True}})
    assert "replicas" not in named(found, "Deployment", "id-tegata")["spec"]
    assert named(found, "HorizontalPodAutoscaler", "id-tegata")["spec"]["maxReplicas"] == 6


def test_only_the_servers_can_be_reached(charts: Charts) -> None:
    found = charts.manifests()
    servers = named(found, "NetworkPolicy", "id-tegata")["spec"]
    others = named(found, "NetworkPolicy", "id-tegata-others")["spec"]
    assert servers["ingress"] == [{"from": [{"namespaceSelector": {}}], "ports": [{"port": "http", "protocol": "TCP"}]}]
    assert "ingress" not in others
    assert others["policyTypes"] == ["Ingress", "Egress"]
    ports = sorted(port["port"] for rule in servers["egress"] for port in rule["ports"])
    assert ports == [53, 53, 443, 5432]


def test_pods_are_replaced_when_settings_change(charts: Charts) -> None:
    def checksum(**values: Any) -> str:
        template = named(charts.manifests(**values), "Deployment", "id-tegata")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    assert checksum() != checksum(config={"TEGATA_LOG_LEVEL": "debug"})


def test_an_ingress_has_the_host_of_the_base_url(charts: Charts) -> None:
    ingress = named(charts.manifests(**EVERYTHING), "Ingress", "id-tegata")["spec"]
    assert ingress["rules"][0]["host"] == "id.example.com"
    assert ingress["tls"] == [{"hosts": ["id.example.com"], "secretName": "tls"}]


def test_the_image_is_the_release_or_a_digest(charts: Charts) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert version == metadata.version("tegata")
    assert pods(charts.manifests())["server"]["containers"][0]["image"] == f"tegata:{version}"
    assert pods(charts.manifests(**EVERYTHING))["server"]["containers"][0]["image"] == f"tegata@sha256:{'0' * 64}"


def test_whoever_installs_it_is_told_what_is_missing(charts: Charts) -> None:
    assert "sign-ins are throttled together" in charts.render()["notes"]
    assert "throttled" not in charts.render(trustedProxies="10.244.0.0/16")["notes"]
    assert "At a deployment 7 servers run side by side" in charts.render(**EVERYTHING)["notes"]
