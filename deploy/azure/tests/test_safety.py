"""What no change to the templates may give up, in every deployment that they allow."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from tegata.api.health import HealthEndpoints

from .deployments import every_deployment
from .expressions import TENANT
from .templates import ENVIRONMENTS, Deployment, Resource, deployed, object_id

SECRETS_USER, SECRETS_OFFICER = "4633458b-17de-408a-b874-0445c86b69e6", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
CONTAINERS = ("Microsoft.App/containerApps", "Microsoft.App/jobs")
# Whose process has which identity; the two others are the platform's, and no process gets them.
IDENTITIES = {
    "bootstrap": "bootstrap",
    "migrate": "migrator",
    "doctor": "migrator",
    "worker": "worker",
    "server": "app",
}


def all_of(kind: str) -> list[Resource]:
    found = [one for _, deployment in every_deployment() for one in deployment.of(kind)]
    assert found, kind
    return found


def containers() -> list[tuple[Resource, dict[str, Any]]]:
    resources = [one for kind in CONTAINERS for one in all_of(kind)]
    return [(one, container) for one in resources for container in one.properties["template"]["containers"]]


def test_postgresql_is_reached_from_the_network_alone_with_entra_tokens_alone() -> None:
    for server in all_of("Microsoft.DBforPostgreSQL/flexibleServers"):
        network, login = server.properties["network"], server.properties["authConfig"]
        assert network["publicNetworkAccess"] == "Disabled"
        assert network["delegatedSubnetResourceId"].endswith("/subnets/database")
        assert network["privateDnsZoneArmResourceId"].endswith(".postgres.database.azure.com")
        assert login == {"activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled", "tenantId": TENANT}
        assert not {"administratorLogin", "administratorLoginPassword"} & set(server.properties)


def test_nothing_speaks_to_postgresql_without_tls_1_2() -> None:
    for environment in ENVIRONMENTS:
        made = deployed("foundation", environment).of("Microsoft.DBforPostgreSQL/flexibleServers/configurations")
        values = {one.name.partition("/")[2]: one.properties["value"] for one in made}
        assert values["require_secure_transport"] == "on"
        assert values["ssl_min_protocol_version"] == "TLSv1.2"


def test_only_the_bootstrap_and_people_who_are_named_administer_postgresql() -> None:
    kind = "Microsoft.DBforPostgreSQL/flexibleServers/administrators"
    alone = deployed("foundation", "production").one(kind)
    # The name that it logs in by is its principal name, which the job's URL has to say.
    assert alone.name.endswith(object_id("tegata-production-bootstrap"))
    assert alone.properties == {
        "principalName": "tegata-production-bootstrap",
        "principalType": "ServicePrincipal",
        "tenantId": TENANT,
    }
    people = {"databaseAdministratorsName": "dba", "databaseAdministratorsObjectId": "1d7ad4fe"}
    both = deployed("foundation", "production", **people).of(kind)
    assert [one.properties["principalType"] for one in both] == ["ServicePrincipal", "Group"]
    assert both[1].properties["principalName"] == "dba"


def test_the_vault_is_closed_to_the_world_and_cannot_be_purged() -> None:
    for vault in all_of("Microsoft.KeyVault/vaults"):
        assert vault.properties["publicNetworkAccess"] == "Disabled"
        assert vault.properties["networkAcls"] == {"bypass": "None", "defaultAction": "Deny"}
        assert vault.properties["enableRbacAuthorization"] is True
        assert vault.properties["enablePurgeProtection"] is True
        assert vault.properties["softDeleteRetentionInDays"] == 90
        assert "accessPolicies" not in vault.properties


def test_roles_are_the_least_and_for_whom_needs_them() -> None:
    """By id: a role's name can be given to another one."""
    for environment in ENVIRONMENTS:
        given = deployed("foundation", environment, keyOfficersObjectId="officers").of(
            "Microsoft.Authorization/roleAssignments"
        )
        found = {
            (
                one.properties["roleDefinitionId"].rpartition("/")[2],
                one.properties["principalId"],
                one.scope.rpartition("/")[0],
                one.group.rpartition("/")[2],
            )
            for one in given
        }
        assert found == {
            (SECRETS_USER, object_id(f"tegata-{environment}-vault"), "Microsoft.KeyVault/vaults", "tegata"),
            (SECRETS_OFFICER, "officers", "Microsoft.KeyVault/vaults", "tegata"),
            (ACR_PULL, object_id(f"tegata-{environment}-pull"), "Microsoft.ContainerRegistry/registries", "shared"),
        }
    assert not deployed("application", "production").of("Microsoft.Authorization/roleAssignments")


def test_a_process_can_be_its_own_identity_and_no_other() -> None:
    for resource, container in containers():
        settings = resource.properties["configuration"]["identitySettings"]
        attached = {_name(one) for one in resource.body["identity"]["userAssignedIdentities"]}
        assert {_name(one["identity"]) for one in settings} == attached  # what is not named is given to all
        usable = {_name(one["identity"]) for one in settings if one["lifecycle"] != "None"}
        assert usable == {IDENTITIES[container["name"]]}
        assert attached - usable <= {"vault", "pull"}


def test_the_administrators_identity_is_nowhere_but_at_the_bootstrap() -> None:
    for _, deployment in every_deployment():
        for one in deployment.resources:
            if "-bootstrap" in json.dumps(dict(one.body)) and one.kind != "Microsoft.Resources/deployments":
                assert one.kind.endswith("/administrators") or one.name.endswith("-bootstrap")


def _name(identity: str) -> str:
    return identity.rpartition("-")[2]


def test_images_come_by_the_identity_that_may_pull() -> None:
    for resource, _ in containers():
        (registry,) = resource.properties["configuration"]["registries"]
        assert set(registry) == {"server", "identity"}
        assert _name(registry["identity"]) == "pull"
    for site in all_of("Microsoft.Web/sites"):
        assert site.properties["siteConfig"]["acrUseManagedIdentityCreds"] is True


def test_the_master_key_comes_from_the_vault_to_server_and_worker_alone() -> None:
    for resource, container in containers():
        secrets = resource.properties["configuration"].get("secrets", [])
        assert len(secrets) == (1 if container["name"] in ("server", "worker") else 0)
        for secret in secrets:
            assert set(secret) == {"name", "keyVaultUrl", "identity"}
            assert _name(secret["identity"]) == "vault"
            # Without a version: with one, a new key would never be read.
            assert secret["keyVaultUrl"].endswith(".vault.azure.net/secrets/master-key")


def test_the_server_alone_is_reached_from_outside_and_by_https_alone() -> None:
    for _, deployment in every_deployment():
        for one in deployment.of("Microsoft.App/containerApps"):
            ingress = one.properties["configuration"].get("ingress")
            if one.name.endswith("-server"):
                assert ingress["allowInsecure"] is False
                assert ingress["external"] is True
            else:
                assert ingress is None
        for site in deployment.of("Microsoft.Web/sites"):
            written = site.properties["siteConfig"]
            assert site.properties["httpsOnly"] is True
            assert (written["minTlsVersion"], written["scmMinTlsVersion"]) == ("1.2", "1.2")
            assert written["ftpsState"] == "Disabled"
            assert written["remoteDebuggingEnabled"] is False
        if deployment.of("Microsoft.Web/sites"):
            policies = deployment.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
            assert [one.properties["allow"] for one in policies] == [False, False]


def test_probes_ask_what_the_server_answers() -> None:
    answered = set(HealthEndpoints.routes(HealthEndpoints.__new__(HealthEndpoints)))
    for environment in ENVIRONMENTS:
        (server,) = (
            deployed("application", environment)
            .one("Microsoft.App/containerApps", "-server")
            .properties["template"]["containers"]
        )
        port = {one["value"] for one in server["env"] if one["name"] == "TEGATA_PORT"}
        probes = {one["type"]: one["httpGet"] for one in server["probes"]}
        assert {kind: one["path"] for kind, one in probes.items()} == {
            "Startup": "/livez",
            "Liveness": "/livez",
            "Readiness": "/readyz",
        }
        assert {str(one["port"]) for one in probes.values()} == port
        site = deployed("application", environment, compute="appService").one("Microsoft.Web/sites")
        assert site.properties["siteConfig"]["healthCheckPath"] == "/actuator/health"
        assert {one["path"] for one in probes.values()} | {"/actuator/health"} <= answered


def test_the_network_is_cut_without_overlap_and_the_world_gets_in_at_https() -> None:
    for environment in ENVIRONMENTS:
        made = deployed("foundation", environment)
        network = made.one("Microsoft.Network/virtualNetworks")
        whole = ip_network(network.properties["addressSpace"]["addressPrefixes"][0])
        parts = {one["name"]: one["properties"] for one in network.properties["subnets"]}
        cut = [ip_network(one["addressPrefix"]) for one in parts.values()]
        assert all(one.subnet_of(whole) for one in cut)  # type: ignore[arg-type]
        assert not any(one.overlaps(other) for one in cut for other in cut if one is not other)
        assert all("networkSecurityGroup" in one for one in parts.values())
        assert {name: one["delegations"][0]["properties"]["serviceName"] for name, one in parts.items() if
                "delegations" in one} == {
            "containers": "Microsoft.App/environments",
            "web": "Microsoft.Web/serverFarms",
            "database": "Microsoft.DBforPostgreSQL/flexibleServers",
        }  # fmt: skip
        for group in made.of("Microsoft.Network/networkSecurityGroups"):
            _check_rules(group, parts)


def _check_rules(group: Resource, parts: dict[str, Any]) -> None:
    rules = [one["properties"] for one in group.properties["securityRules"]]
    assert len({one["priority"] for one in rules}) == len(rules)
    last = max(rules, key=lambda one: one["priority"])
    assert (last["access"], last["sourceAddressPrefix"], last["destinationPortRange"]) == ("Deny", "*", "*")
    insiders = {one["addressPrefix"] for one in parts.values()}
    for rule in (one for one in rules if one["access"] == "Allow"):
        sources = set(rule.get("sourceAddressPrefixes", [rule.get("sourceAddressPrefix")]))
        if not sources <= insiders:
            assert group.name.endswith("-containers-nsg")
            assert sources <= {"Internet", "AzureLoadBalancer"}


def test_names_of_database_and_vault_lead_into_the_network() -> None:
    for environment in ENVIRONMENTS:
        made = deployed("foundation", environment)
        zones = {one.name for one in made.of("Microsoft.Network/privateDnsZones")}
        links = made.of("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
        assert {one.name.partition("/")[0] for one in links} == zones
        assert "privatelink.vaultcore.azure.net" in zones
        assert made.one("Microsoft.Network/privateEndpoints/privateDnsZoneGroups").name.endswith("/vault")


def test_everything_is_logged_to_one_place_without_a_shared_key() -> None:
    for environment in ENVIRONMENTS:
        made = deployed("foundation", environment)
        told = {one.scope.rpartition("/")[0] for one in made.of("Microsoft.Insights/diagnosticSettings")}
        assert told == {
            "Microsoft.App/managedEnvironments",
            "Microsoft.DBforPostgreSQL/flexibleServers",
            "Microsoft.KeyVault/vaults",
        }
        place = made.one("Microsoft.OperationalInsights/workspaces")
        assert place.properties["features"]["disableLocalAuth"] is True
        written = made.one("Microsoft.App/managedEnvironments").properties["appLogsConfiguration"]
        assert written == {"destination": "azure-monitor"}


def test_every_alert_is_told_to_somebody() -> None:
    for _, deployment in every_deployment():
        for alert in deployment.of("Microsoft.Insights/metricAlerts"):
            assert alert.properties["enabled"] is True
            assert [one["actionGroupId"].endswith("-alerts") for one in alert.properties["actions"]] == [True]
            assert alert.properties["description"].endswith(".")
    group = deployed("foundation", "production", alertEmails=["a@example.com", "b@example.com"]).one(
        "Microsoft.Insights/actionGroups"
    )
    told = [one["emailAddress"] for one in group.properties["emailReceivers"]]
    assert told == ["a@example.com", "b@example.com"]


def test_the_alert_on_the_vault_hears_refusals_and_no_greetings() -> None:
    """Clients of a vault begin without a token, to hear whom to ask for one: each beginning is a 401."""
    alert = deployed("foundation", "production").one("Microsoft.Insights/metricAlerts", "vault-refusals")
    (criterion,) = alert.properties["criteria"]["allOf"]
    assert criterion["dimensions"] == [{"name": "StatusCode", "operator": "Include", "values": ["403"]}]


@pytest.mark.parametrize(
    ("name", "compute", "alerts"),
    [
        (
            "foundation",
            {},
            {
                "database-down",
                "database-cpu",
                "database-memory",
                "database-storage",
                "database-connections",
                "database-refusals",
                "vault-refusals",
            },
        ),
        (
            "application",
            {"compute": "containerApps"},
            {"server-errors", "server-restarts", "server-replicas", "server-latency", "worker-replicas"},
        ),
        (
            "application",
            {"compute": "appService"},
            {"site-errors", "site-health", "site-latency", "worker-replicas"},
        ),
    ],
)
def test_what_pages_somebody(name: str, compute: dict[str, str], alerts: set[str]) -> None:
    made = deployed(name, "production", **compute)
    found = {one.name.removeprefix("tegata-production-") for one in made.of("Microsoft.Insights/metricAlerts")}
    assert found == alerts
    if name == "application":
        assert made.one("Microsoft.Insights/scheduledQueryRules").properties["enabled"] is True


def test_what_can_be_labelled_is_labelled() -> None:
    bare = ("Microsoft.Authorization/", "Microsoft.Insights/diagnosticSettings", "Microsoft.Resources/")
    children = ("configurations", "databases", "administrators", "privateDnsZoneGroups", "CredentialsPolicies")
    for _, deployment in every_deployment():
        for one in deployment.resources:
            if not one.kind.startswith(bare) and not one.kind.endswith(children):
                assert one.body["tags"]["application"] == "tegata", one.kind
                assert one.body["tags"]["environment"] in ENVIRONMENTS


def _server(deployment: Deployment) -> Resource:
    return deployment.one("Microsoft.App/containerApps", "-server")


def test_a_server_ends_its_requests_before_it_is_ended() -> None:
    for environment in ENVIRONMENTS:
        template = _server(deployed("application", environment)).properties["template"]
        values = {one["name"]: one.get("value", "") for one in template["containers"][0]["env"]}
        needed = int(values["TEGATA_DRAIN_SECONDS"]) + int(values["TEGATA_SHUTDOWN_SECONDS"])
        readiness = next(one for one in template["containers"][0]["probes"] if one["type"] == "Readiness")
        # Traffic stops when the probe has failed often enough, and that must be while the server still answers.
        noticed = readiness["periodSeconds"] * readiness["failureThreshold"]
        assert noticed <= int(values["TEGATA_DRAIN_SECONDS"])
        assert needed < template["terminationGracePeriodSeconds"]
