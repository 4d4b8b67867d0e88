"""How dev, staging and production differ: one table, and nothing beside it."""

from __future__ import annotations

from typing import Any

import pytest

from .templates import ENVIRONMENTS, Template, deployed, parameters_of

# What: dev, staging, production.
TABLE: dict[str, tuple[Any, Any, Any]] = {
    "database size": ("Standard_B1ms", "Standard_D2ds_v5", "Standard_D4ds_v5"),
    "database tier": ("Burstable", "GeneralPurpose", "GeneralPurpose"),
    "database standby": (None, "ZoneRedundant", "ZoneRedundant"),
    "storage in GiB": (32, 64, 128),
    "days to restore from": (7, 14, 35),
    "backups in another region": ("Disabled", "Disabled", "Enabled"),
    "days of logs": (30, 90, 365),
    "containers over zones": (False, True, True),
    "locks against deletion": (0, 0, 3),
    "servers": ((2, 2), (2, 4), (3, 12)),
    "cores and memory": ((0.5, "1Gi"), (1.0, "2Gi"), (2.0, "4Gi")),
    "workers": (1, 1, 2),
    "network": ("10.20.0.0/16", "10.21.0.0/16", "10.22.0.0/16"),
    "least level logged": ("debug", "info", "info"),
}


def found(environment: str) -> dict[str, Any]:
    foundation, application = deployed("foundation", environment), deployed("application", environment)
    server = foundation.one("Microsoft.DBforPostgreSQL/flexibleServers")
    template = application.one("Microsoft.App/containerApps", "-server").properties["template"]
    standby = server.properties["highAvailability"]
    resources = template["containers"][0]["resources"]
    scale, worker = template["scale"], application.one("Microsoft.App/containerApps", "-worker")
    values = {one["name"]: one.get("value") for one in template["containers"][0]["env"]}
    return {
        "database size": server.body["sku"]["name"],
        "database tier": server.body["sku"]["tier"],
        "database standby": standby and standby["mode"],
        "storage in GiB": server.properties["storage"]["storageSizeGB"],
        "days to restore from": server.properties["backup"]["backupRetentionDays"],
        "backups in another region": server.properties["backup"]["geoRedundantBackup"],
        "days of logs": foundation.one("Microsoft.OperationalInsights/workspaces").properties["retentionInDays"],
        "containers over zones": foundation.one("Microsoft.App/managedEnvironments").properties["zoneRedundant"],
        "locks against deletion": len(foundation.of("Microsoft.Authorization/locks")),
        "servers": (scale["minReplicas"], scale["maxReplicas"]),
        "cores and memory": (resources["cpu"], resources["memory"]),
        "workers": worker.properties["template"]["scale"]["minReplicas"],
        "network": foundation.one("Microsoft.Network/virtualNetworks").properties["addressSpace"]["addressPrefixes"][0],
        "least level logged": values["TEGATA_LOG_LEVEL"],
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_what_the_table_says(environment: str) -> None:
    column = ENVIRONMENTS.index(environment)
    assert found(environment) == {what: values[column] for what, values in TABLE.items()}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_connections_suffice_for_every_server_that_may_run(environment: str) -> None:
    """docs/how-to/size-the-connection-pool.md: one more of each process hears of changes."""
    given = parameters_of(environment, "application")
    # While a release replaces another, both run; a worker has two connections for its work and some for its queue.
    most = 2 * (given["maxReplicas"] * (given["poolSize"] + 1) + given["workers"] * 6)
    left = parameters_of(environment, "foundation")["databaseConnections"]
    assert most <= left
    alert = deployed("foundation", environment).one("Microsoft.Insights/metricAlerts", "database-connections")
    assert alert.properties["criteria"]["allOf"][0]["threshold"] == left * 4 // 5


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_cores_and_memory_are_a_pair_that_container_apps_have(environment: str) -> None:
    """ "Containers in Azure Container Apps": 2 GiB for each core, in a plan by consumption."""
    for name in ("-server", "-worker"):
        made = deployed("application", environment).one("Microsoft.App/containerApps", name)
        for container in made.properties["template"]["containers"]:
            assert container["resources"]["memory"] == f"{container['resources']['cpu'] * 2:g}Gi"


@pytest.mark.parametrize("name", ["foundation", "application"])
def test_every_environment_says_the_same_things(name: str) -> None:
    said = [set(parameters_of(environment, name)) for environment in ENVIRONMENTS]
    assert said[0] == said[1] == said[2]
    # What is left is either a default, or a person's to say.
    left = set(Template.read(name).document["parameters"]) - said[0]
    needed = {one for one in left if "defaultValue" not in Template.read(name).document["parameters"][one]}
    assert (
        needed
        == {
            "foundation": {"registryName", "registryResourceGroup", "alertEmails"},
            "application": {"registryName", "parts", "imageDigest"},
        }[name]
    )


def test_environments_can_be_peered() -> None:
    assert len({parameters_of(environment, "foundation")["addressPrefix"] for environment in ENVIRONMENTS}) == 3
    for environment in ENVIRONMENTS:
        names = ("addressPrefix", "environment")
        both = [[parameters_of(environment, file)[name] for name in names] for file in ("foundation", "application")]
        assert both[0] == both[1]
