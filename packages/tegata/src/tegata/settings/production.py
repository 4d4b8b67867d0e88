"""What is refused before anything is served: each problem with its setting and the cure."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from pydantic import SecretStr

from tegata.crypto.envelope import Envelope
from tegata.settings.environment import PREFIX, SettingsError, SettingsUnavailable
from tegata.settings.model import Settings
from tegata.settings.references import problem_of, reference_problem
from tegata_credentials.errors import SecretError

# More free failures than this is no throttling.
_MOST_FREE_FAILURES = 1000


def check_for_production(settings: Settings) -> None:
    """Refuse settings that are unsafe in production, all at once. Raises `SettingsError`."""
    problems = [problem for check in _CHECKS if (problem := check(settings)) is not None]
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))


def _base_url(settings: Settings) -> str | None:
    if settings.base_url is None:
        return "TEGATA_BASE_URL is not set; set it to the https address clients reach the server at"
    scheme = _scheme_of_address(settings.base_url)
    if scheme is None:
        return "TEGATA_BASE_URL is not an address like https://id.example.com"
    if settings.base_url.endswith("/"):
        return "TEGATA_BASE_URL must not end with a slash; issuers are compared character by character"
    if urlsplit(settings.base_url).path:
        return "TEGATA_BASE_URL has a path; pages and cookies need a host of their own, e.g. https://id.example.com"
    if scheme == "http" and not settings.allow_insecure_base_url:
        return (
            "TEGATA_BASE_URL is http; use https, or set TEGATA_ALLOW_INSECURE_BASE_URL=true for a closed test network"
        )
    return None


def _scheme_of_address(url: str) -> str | None:
    """Return the scheme of an http address with nothing behind its path, else None."""
    if not url.isascii() or not url.isprintable() or any(character in url for character in " ?#@"):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts.scheme if host and parts.scheme in {"https", "http"} else None


def _master_key(settings: Settings) -> str | None:
    if settings.master_key is None:
        return "TEGATA_MASTER_KEY (or TEGATA_MASTER_KEY_FILE) is not set; `tegata keys new-master-key` makes one"
    try:
        Envelope.from_text(settings.master_key.get_secret_value())
    except ValueError as error:
        return f"TEGATA_MASTER_KEY cannot be used: {error}; `tegata keys new-master-key` makes one"
    return None


def _database(settings: Settings) -> str | None:
    if settings.database_url is None:
        return "TEGATA_DATABASE_URL (or TEGATA_DATABASE_URL_FILE) is not set; it names the application role"
    if settings.database_transaction_pooler and settings.database_listen_url is None:
        return (
            "TEGATA_DATABASE_LISTEN_URL is not set; behind a transaction pooler it names the same database without the "
            "pooler, for the one connection that hears of changes"
        )
    return None


def _way_into(name: str) -> Callable[[Settings], str | None]:
    def check(settings: Settings) -> str | None:
        return way_problem(settings, name)

    return check


def way_problem(settings: Settings, name: str) -> str | None:
    """Return what is wrong with the database URL of the field `name`, if it is set; operators' commands ask too."""
    url: SecretStr | None = getattr(settings, name)
    if url is None:
        return None
    variable = PREFIX + name.upper()
    # An administrator has a password, and it is used once.
    administrator = name not in _SECRETS
    if not administrator and (problem := _secret_problem(settings, name)) is not None:
        return problem
    return settings.ways_in.problem(variable, url.get_secret_value(), may_hold_password=administrator)


# Which field says where user and password are, by the field of the URL. An administrator's login is its own affair.
_SECRETS = {
    "database_url": "database_secret",
    "database_reader_url": "database_secret",
    "database_listen_url": "database_secret",
    "maintenance_database_url": "maintenance_database_secret",
    "migration_database_url": "migration_database_secret",
}


def secret_of(settings: Settings, name: str) -> str | None:
    """Return the reference to the secret that the login of the URL `name` takes user and password from, if it does."""
    if settings.database_auth != "secret" or name not in _SECRETS:
        return None
    found: str | None = getattr(settings, _SECRETS[name])
    return found


def secret_error(settings: Settings, name: str, error: SecretError) -> SettingsError:
    """Return what is wrong with the setting that names the secret of a login: `error` was met when it was read."""
    problem = problem_of(PREFIX + _SECRETS[name].upper(), str(secret_of(settings, name)), error)
    return (SettingsUnavailable if problem.is_passing else SettingsError)([problem.sentence])


def _secret_problem(settings: Settings, name: str) -> str | None:
    variable = PREFIX + _SECRETS[name].upper()
    reference: str | None = getattr(settings, _SECRETS[name])
    if settings.database_auth != "secret":
        if reference is None:
            return None
        return f"{variable} is set, which takes TEGATA_DATABASE_AUTH=secret; it is {settings.database_auth}"
    if reference is None:
        return (
            f"{variable} is not set: with TEGATA_DATABASE_AUTH=secret it says where the user and password for "
            f"{PREFIX}{name.upper()} are, e.g. awssm:tegata-prod-secret-database"
        )
    return reference_problem(variable, reference)


def _proxies(settings: Settings) -> str | None:
    if any(network.prefixlen == 0 for network in settings.trusted_proxies):
        return "TEGATA_TRUSTED_PROXIES trusts everybody; name the networks of your proxies"
    return None


def _metrics(settings: Settings) -> str | None:
    if any(network.prefixlen == 0 for network in settings.metrics_networks):
        return "TEGATA_METRICS_NETWORKS shows /metrics to everybody; name the networks of your monitoring"
    return None


def _throttle(settings: Settings) -> str | None:
    if settings.throttle_account_failures > _MOST_FREE_FAILURES:
        return f"TEGATA_THROTTLE_ACCOUNT_FAILURES is above {_MOST_FREE_FAILURES}, which is no throttling"
    return None


def published_problem(settings: Settings) -> str | None:
    """Return what is wrong with how long signing keys are published before they sign; operators' commands ask too."""
    given = settings.signing_key_published_seconds
    # Not as long, but longer: an answer that was under way when the key was published is kept from its arrival on, and
    # ages are whole seconds (RFC 9111 §4.2.3).
    if given is None or given > settings.jwks_max_age_seconds:
        return None
    return (
        f"TEGATA_SIGNING_KEY_PUBLISHED_SECONDS is {given}, but others may keep the JWKS for "
        f"{settings.jwks_max_age_seconds} s (TEGATA_JWKS_MAX_AGE_SECONDS) from when it reaches them: they would refuse "
        "tokens of a new key. Make it longer, by a minute if you can"
    )


def _environment(settings: Settings) -> str | None:
    if settings.environment != "production":
        return "TEGATA_ENVIRONMENT is development; `tegata serve` is for production, `tegata dev` for development"
    return None


_WAYS = tuple(name for name in Settings.model_fields if name.endswith("_url") and "database" in name)
_CHECKS: tuple[Callable[[Settings], str | None], ...] = (
    _environment,
    _base_url,
    _master_key,
    _database,
    *(_way_into(name) for name in _WAYS),
    _proxies,
    _metrics,
    _throttle,
    published_problem,
)
