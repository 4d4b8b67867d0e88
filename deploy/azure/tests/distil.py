"""Write resource_types.json: what Azure's resource types may hold, as far as our templates use them.

    python3 -m venv types && types/bin/pip install -r deploy/azure/tests/requirements.txt
    types/bin/python deploy/azure/tests/distil.py

The source is Microsoft's own libraries for Python, which are generated from the specifications that Azure Resource Manager
itself is documented from. Only names, types, values and what is required or read-only are kept, of the classes that a property
of ours leads to. Wanted: an entry for each `type` and `apiVersion` of the templates.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Type of the template: package of models, class, API version that the package speaks.
CLASSES = {
    "Microsoft.App/containerApps": ("appcontainers.models", "ContainerApp", "2025-07-01"),
    "Microsoft.App/jobs": ("appcontainers.models", "Job", "2025-07-01"),
    "Microsoft.App/managedEnvironments": ("appcontainers.models", "ManagedEnvironment", "2025-07-01"),
    "Microsoft.Authorization/locks": ("resource.locks.models", "ManagementLockObject", "2020-05-01"),
    "Microsoft.Authorization/roleAssignments": (
        "authorization.v2022_04_01.models",
        "RoleAssignmentCreateParameters",
        "2022-04-01",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("postgresqlflexibleservers.models", "Server", "2025-08-01"),
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": (
        "postgresqlflexibleservers.models",
        "AdministratorMicrosoftEntraAdd",
        "2025-08-01",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": (
        "postgresqlflexibleservers.models",
        "ConfigurationForUpdate",
        "2025-08-01",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": (
        "postgresqlflexibleservers.models",
        "Database",
        "2025-08-01",
    ),
    "Microsoft.Insights/actionGroups": ("monitor.v2022_06_01.models", "ActionGroupResource", "2022-06-01"),
    "Microsoft.Insights/diagnosticSettings": (
        "monitor.v2021_05_01_preview.models",
        "DiagnosticSettingsResource",
        "2021-05-01-preview",
    ),
    "Microsoft.Insights/metricAlerts": ("monitor.v2018_03_01.models", "MetricAlertResource", "2018-03-01"),
    "Microsoft.Insights/scheduledQueryRules": (
        "monitor.v2022_06_15.models",
        "ScheduledQueryRuleResource",
        "2022-06-15",
    ),
    "Microsoft.KeyVault/vaults": ("keyvault.models", "VaultCreateOrUpdateParameters", "2025-05-01"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi.v2024_11_30.models", "Identity", "2024-11-30"),
    "Microsoft.Network/networkSecurityGroups": ("network.models", "NetworkSecurityGroup", "2025-05-01"),
    "Microsoft.Network/privateDnsZones": ("privatedns.models", "PrivateZone", "2024-06-01"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": (
        "privatedns.models",
        "VirtualNetworkLink",
        "2024-06-01",
    ),
    "Microsoft.Network/privateEndpoints": ("network.models", "PrivateEndpoint", "2025-05-01"),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": (
        "network.models",
        "PrivateDnsZoneGroup",
        "2025-05-01",
    ),
    "Microsoft.Network/virtualNetworks": ("network.models", "VirtualNetwork", "2025-05-01"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics.models", "Workspace", "2025-07-01"),
    "Microsoft.Web/serverfarms": ("web.models", "AppServicePlan", "2025-03-01"),
    "Microsoft.Web/sites": ("web.models", "Site", "2025-03-01"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web.models",
        "CsmPublishingCredentialsPoliciesEntity",
        "2025-03-01",
    ),
}
