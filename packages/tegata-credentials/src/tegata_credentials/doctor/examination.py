"""The order of the questions: each is asked only if the ones it depends on were answered well."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from tegata_credentials.doctor import identity, login, network, presented
from tegata_credentials.doctor.report import Check, Report, failed, ok, skipped
from tegata_credentials.errors import CredentialError
from tegata_credentials.settings import DatabaseSettings, SettingsError
from tegata_credentials.tls import VERIFIED, build_context, is_local

_STS = "https://sts.{region}.amazonaws.com/"


async def examine(
    environ: Mapping[str, str], *, clock: Callable[[], float] = time.time, clock_url: str | None = None
) -> Report:
    """Examine the login that these environment variables describe. Never raises for what it finds.

    Credentials themselves come from where the SDKs look, which is the process's own environment. `clock_url` is a web
    address whose `Date` is compared with our clock if the database cannot be asked.
    """
    report = _Examination(environ, clock, clock_url)
    await report.run()
    return Report(tuple(report.checks), report.claims)


@dataclass(slots=True)
class _Examination:
    environ: Mapping[str, str]
    clock: Callable[[], float]
    clock_url: str | None
    checks: list[Check] = field(default_factory=list)
    claims: Mapping[str, Any] = field(default_factory=dict)

    async def run(self) -> None:
        settings = self._read_settings()
        if settings is None:
            return
        context = self._choose_tls(settings)
        is_reachable, offers_tls = await self._find_way(settings, context)
        secret = await self._get_secret(settings)
        if secret is None or not is_reachable:
            self.checks.append(skipped("login", "not tried, for what is said above"))
            await self._compare_clock(settings)
            return
        if find_spec("asyncpg") is None:
            self.checks.append(failed("login", "kit_incomplete", problem="asyncpg is not installed"))
            return
        unchecked = "verify-ca" if _mode(settings) == "verify-ca" else "require"
        tls = context or (unchecked if offers_tls else "disable")
        outcome = await login.log_in(settings, secret, tls, clock=self.clock)
        if isinstance(outcome, login.Inside):
            near = settings.auth == "password" and is_local(settings.host)
            self.checks += login.judge_inside(outcome, must_be_encrypted=context is not None, is_local_password=near)
            return
        object_id = self.claims.get("oid")
        self.checks.append(login.judge_refusal(outcome, settings, object_id=object_id))
        await self._compare_clock(settings)

    def _read_settings(self) -> DatabaseSettings | None:
        try:
            settings = DatabaseSettings.from_environment(self.environ)
        except SettingsError as error:
            for problem in error.problems:
                reason = "password_in_url" if problem.name == "password_in_url" else "settings_unusable"
                self.checks.append(failed("settings", reason, problem=problem.says))
            if [problem.name for problem in error.problems] != ["password_in_url"]:
                return None
            settings = self._without_password()
        place = f"{settings.user} at {settings.host}:{settings.port}, database {settings.database}"
        self.checks.append(ok("settings", f"{settings.auth}: {place}"))
        return settings

    def _without_password(self) -> DatabaseSettings:
        """Go on as if the password had been removed: it is rarely the only thing to mend."""
        as_password = {**self.environ, "DATABASE_AUTH": "password", "USE_MANAGED_IDENTITY": ""}
        url = DatabaseSettings.from_environment(as_password).url()
        return DatabaseSettings.from_environment({**self.environ, "DATABASE_URL": url})

    def _choose_tls(self, settings: DatabaseSettings) -> ssl.SSLContext | None:
        """Return what the certificate is checked with; None where nothing is checked: a password, or one machine."""
        options = dict(settings.options)
        mode = _mode(settings)
        near = is_local(settings.host)
        if settings.auth != "password" and not near and mode not in ("", VERIFIED):
            self.checks.append(failed("tls", "tls_setting_weak", mode=mode))
        is_wanted = mode == VERIFIED or "sslrootcert" in options
        if settings.host.startswith("/") or not (is_wanted or (settings.auth != "password" and not near)):
            return None
        try:
            return build_context(options, self.environ)
        except CredentialError as error:
            self.checks.append(failed("tls", "tls_files_unreadable", problem=str(error)))
            return ssl.create_default_context()

    async def _find_way(self, settings: DatabaseSettings, context: ssl.SSLContext | None) -> tuple[bool, bool]:
        """Whether a login can be tried at all, and whether the server offers TLS."""
        if settings.host.startswith("/"):
            self.checks.append(skipped("name", "a Unix socket: there is no network between us"))
            return True, False
        name = await network.check_name(settings)
        self.checks.append(name)
        if name.result == "failed":
            return False, False
        way = await network.check_way(settings, context)
        self.checks += way.checks
        if _mode(settings) in ("require", "verify-ca") and way.checks[-1].result == "skipped" and not way.offers_tls:
            # The drivers refuse this server too; nothing is sent that could be read on the way.
            self.checks[-1] = failed("tls", "tls_off")
            return False, False
        return not any(check.result == "failed" for check in way.checks), way.offers_tls

    async def _get_secret(self, settings: DatabaseSettings) -> str | None:
        """Return the password, or a token that was judged; None if there is none, or sending it would be wrong."""
        if settings.auth == "password":
            self.checks.append(ok("identity", "none is needed: the method is password"))
            return settings.password or ""
        check, token = await identity.take_token(settings, self.environ)
        self.checks.append(check)
        if token is None:
            return None
        judged = self._judge_token(settings, token)
        self.checks += judged
        return None if any(each.result == "failed" for each in judged) else token

    def _judge_token(self, settings: DatabaseSettings, token: str) -> list[Check]:
        now = self.clock()
        if settings.auth == "aws_iam":
            signed = presented.read_rds_token(token)
            if signed is not None:
                self.claims = presented.show_rds_token(signed)
                return presented.judge_rds_token(signed, settings, now=now)
        else:
            claims = presented.read_claims(token)
            if claims is not None:
                self.claims = presented.show_claims(claims)
                return presented.judge_claims(claims, now=now)
        return [failed("audience", "token_unreadable")]

    async def _compare_clock(self, settings: DatabaseSettings) -> None:
        """Without the database's clock, compare with that of a web server of the cloud."""
        url = self.clock_url
        if url is None and settings.auth == "managed_identity":
            url = identity.identity_address(self.environ)
        if url is None and settings.auth == "aws_iam" and settings.aws_region:
            url = _STS.format(region=settings.aws_region)
        ahead = None if url is None else await asyncio.to_thread(network.read_date, url, clock=self.clock)
        if ahead is None:
            self.checks.append(skipped("clock", "nobody to compare it with"))
        else:
            self.checks.append(login.judge_clock(ahead, urlsplit(url or "").netloc))


def _mode(settings: DatabaseSettings) -> str:
    """Return the mode of TLS that the URL asks for; `ssl` is SQLAlchemy's name with asyncpg."""
    options = dict(settings.options)
    return options.get("sslmode", options.get("ssl", "")).replace("_", "-")
