"""Everything the doctor can find: what it means, and the cure. `{name}` is filled in from the case at hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tegata_credentials.doctor.secret_reasons import SECRETS, Reason

__all__ = ["REASONS", "Reason"]

_AZURE_CLOCK = "Set the machine's clock by NTP; a container takes the clock of its host."

REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        # Settings
        "settings_unusable": Reason("the settings cannot be used: {problem}", "Correct the setting that is named."),
        "password_in_url": Reason(
            "DATABASE_URL still holds a password, although the method needs none",
            "Remove the password from the URL. If it was ever valid, change it in the database: it has been in the "
            "environment, where many can read it.",
        ),
        "tls_setting_weak": Reason(
            "DATABASE_URL asks for sslmode={mode}, which does not prove who answers, and gets the token",
            "Remove it: verify-full is the default for tokens.",
        ),
        "kit_incomplete": Reason(
            "the method cannot be used: {problem}",
            "Install tegata-credentials with the extras that the method needs, or correct what is named.",
        ),
        # The way to the server
        "host_unknown": Reason(
            "the name {host} cannot be resolved",
            "Check the host in DATABASE_URL. With private access, the machine must use the private DNS zone (Azure) or "
            "the VPC's resolver (AWS).",
        ),
        "port_closed": Reason(
            "{host}:{port} refuses connections", "Check the port, and that the server is started and listens there."
        ),
        "port_silent": Reason(
            "{host}:{port} does not answer",
            "Usually a firewall: allow this machine in the server's firewall rules (Azure) or security group (AWS).",
        ),
        "no_postgresql": Reason(
            "what answers at {host}:{port} is no PostgreSQL", "Check host and port in DATABASE_URL."
        ),
        "tls_off": Reason(
            "the server speaks no TLS, so a token would cross the network readable",
            "Switch TLS on in the server (ssl = on; RDS: rds.force_ssl = 1; Azure: require_secure_transport = on).",
        ),
        "tls_untrusted": Reason(
            "the server's certificate is signed by nobody this machine trusts",
            "Give the authority's certificate: add ?sslrootcert=FILE to DATABASE_URL. For RDS it is the bundle "
            "global-bundle.pem from the RDS user guide; Azure's roots are in an up-to-date ca-certificates package.",
        ),
        "tls_files_unreadable": Reason(
            "certificates cannot be used: {problem}",
            "See that the files named in DATABASE_URL or PGSSLROOTCERT are there, in the container too.",
        ),
        "tls_wrong_name": Reason(
            "the server's certificate is for another name than {host}",
            "Use the name that the provider gives to the server, not an address or an alias of your own.",
        ),
        "tls_expired": Reason(
            "the server's certificate is not valid now", "Check this machine's clock first, then renew the certificate."
        ),
        "tls_broken": Reason(
            "TLS with the server does not come about", "Check for a proxy or firewall that ends TLS on the way."
        ),
        # The identity
        "identity_endpoint_missing": Reason(
            "there is no identity endpoint: this does not run in Azure, or no identity is assigned to it",
            "In Azure, switch on an identity (App Service: Settings, Identity). On your own machine, sign in with "
            "`az login`, or set DATABASE_AUTH=password for a local database.",
        ),
        "identity_endpoint_silent": Reason(
            "nothing answers at the identity endpoint that {variable} names",
            "In Azure, restart the service: the platform sets the address at each start. Elsewhere, unset it.",
        ),
        "identity_endpoint_incomplete": Reason(
            "{present} is set, but {absent} is not",
            "Set both or neither: the platform sets them together, and a hand-made environment often loses one.",
        ),
        "assertion_missing": Reason(
            "AZURE_FEDERATED_TOKEN_FILE names a file that is not there",
            'Give the pod the label azure.workload.identity/use: "true" and the annotated service account.',
        ),
        "identity_unavailable": Reason(
            "the identity endpoint gives no token ({why})",
            "Check that the identity is assigned to this service, and that AZURE_CLIENT_ID, if set, is its client id.",
        ),
        "aws_credentials_missing": Reason(
            "no AWS credentials, or they cannot be used ({why})",
            "Give the task, instance or pod an IAM role; on your own machine run `aws sso login`.",
        ),
        "token_unreadable": Reason(
            "what the identity endpoint gives is no token of the expected form",
            "Check what answers at the identity endpoint: a proxy may stand in front of it.",
        ),
        "token_wrong_audience": Reason(
            "the token is for {audience}, not for PostgreSQL",
            "Ask for the scope https://ossrdbms-aad.database.windows.net/.default.",
        ),
        "token_expired": Reason(
            "the token ended {seconds} s ago", "Check the clock; if it is right, the endpoint serves an old token."
        ),
        "token_too_early": Reason("the token begins {seconds} s from now: this machine's clock is slow", _AZURE_CLOCK),
        "token_wrong_user": Reason(
            "the token is for the user {signed_for}, the URL names another",
            "Sign for the user that logs in: an RDS token is for one host, port and user.",
        ),
        "token_wrong_host": Reason(
            "the token is signed for {signed_for}, not for the host and port of the URL",
            "Sign for the endpoint that is connected to; an own DNS name or a tunnel does not work with IAM.",
        ),
        "token_wrong_region": Reason(
            "the token is signed for the region {signed_for}, but the host is in {region}",
            "Sign for {region}; from the settings of this kit the region in the host's name is taken by itself.",
        ),
        "clock_skewed": Reason("this machine's clock is {seconds} s {direction}", _AZURE_CLOCK),
        # Logging in
        "role_not_mapped": Reason(
            "the server refuses the token (SQLSTATE {sqlstate}), although it is for PostgreSQL and alive: the role "
            "{role} is most likely not mapped to this identity (object id {oid})",
            "Map it with the SQL below, and see that Microsoft Entra authentication is on. A role made by CREATE ROLE "
            "alone has no mapping, and an identity made again under the same name is another identity.",
        ),
        "role_lacks_rds_iam": Reason(
            "the server asked for a password (SQLSTATE {sqlstate}): the role {role} is missing or lacks rds_iam",
            "Run the SQL below, and see that IAM database authentication is on for the instance or cluster.",
        ),
        "iam_refused": Reason(
            "RDS refuses the IAM token (SQLSTATE {sqlstate})",
            "The IAM role needs rds-db:connect on arn:aws:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/{role}, with the "
            "resource id (db-… or cluster-…), not the instance's name. Temporary credentials must not have ended.",
        ),
        "password_refused": Reason(
            "the server refuses user and password (SQLSTATE {sqlstate})", "Check both; the URL quotes signs as %XX."
        ),
        "no_login_rule": Reason(
            "the server has no rule that lets {role} in from here (SQLSTATE {sqlstate})",
            "Check the firewall and, on a server of your own, pg_hba.conf; a rule may demand TLS.",
        ),
        "role_cannot_log_in": Reason(
            "the role {role} is NOLOGIN (SQLSTATE {sqlstate})", "ALTER ROLE ... LOGIN, or name another role in the URL."
        ),
        "database_missing": Reason(
            "there is no database {database} (SQLSTATE {sqlstate})", "Check the end of DATABASE_URL."
        ),
        "database_forbidden": Reason(
            "the role {role} may not connect to {database} (SQLSTATE {sqlstate})",
            "GRANT CONNECT ON DATABASE to the role: `tegata-credentials grants` prints it.",
        ),
        "connections_exhausted": Reason(
            "the server has no connection left (SQLSTATE {sqlstate})",
            "Processes times (DB_POOL_SIZE + DB_MAX_OVERFLOW) must stay below max_connections.",
        ),
        "server_not_ready": Reason(
            "the server is starting or stopping (SQLSTATE {sqlstate})", "Wait for it, then run this again."
        ),
        "login_failed": Reason(
            "the login fails ({sqlstate})", "Look the SQLSTATE up in PostgreSQL's appendix A, and in the server's log."
        ),
        "login_silent": Reason(
            "the login takes longer than {seconds:g} s", "See whether the server, or its identity check, is overloaded."
        ),
        # Once inside
        "connection_readable": Reason(
            "the connection is not encrypted", "Switch TLS on in the server, and remove sslmode from the URL."
        ),
        "role_too_powerful": Reason(
            "the role {role} is {attribute}, so row-level security does not bind it",
            "Log in as an ordinary role: `tegata-credentials grants` prints what an application needs.",
        ),
        **SECRETS,
    }
)
