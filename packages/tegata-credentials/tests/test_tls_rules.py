"""Which hosts are this machine, which TLS words are too weak, and what reaches the drivers."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata_credentials import CredentialError
from tegata_credentials.asyncpg_options import connect_options
from tegata_credentials.tls import is_local, libpq_is_local, libpq_options

AZURE = "postgresql://app@db.postgres.database.azure.com/app"


def for_asyncpg(dsn: str | None, environ: dict[str, str] | None = None, **given: object) -> dict[str, object]:
    return connect_options(dsn, given, environ or {}, auth_method="managed_identity")


def is_verified(options: dict[str, object]) -> bool:
    context = options.get("ssl")
    return isinstance(context, ssl.SSLContext) and context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "host", ["/var/run/postgresql", "localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1", "[::1]"]
)
def test_this_machine(host):
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    [
        "db.example.com",
        "10.0.0.1",
        "127.1",
        "localhost.example.com",
        "0.0.0.0",
        "::",
        "",
        "localhost@evil",
        "@db.example.com",
        "1.127.0.0",
    ],
)
def test_another_machine_for_all_we_know(host):
    assert not is_local(host)


@given(st.text())
def test_no_host_name_breaks_the_judgement(host):
    assert is_local(host) in (True, False)


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        ({"host": "127.0.0.1"}, {}),
        ({}, {}),
        ({"host": "/tmp"}, {}),
        ({"host": "127.0.0.1,localhost"}, {}),
        ({"host": "db.example.com", "hostaddr": "127.0.0.1"}, {}),
        ({}, {"PGHOST": "localhost"}),
    ],
)
def test_libpq_stays_here(given, environ):
    assert libpq_is_local(given, environ)


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        ({"host": "127.0.0.1,db.example.com"}, {}),
        ({"host": "127.0.0.1", "hostaddr": "10.0.0.1"}, {}),
        ({"host": "127.0.0.1"}, {"PGHOSTADDR": "10.0.0.1"}),
        ({"hostaddr": "127.0.0.1,10.0.0.1"}, {}),
        ({}, {"PGHOST": "db.example.com"}),
        ({"host": "127.0.0.1"}, {"PGSERVICE": "db"}),
        ({"service": "db"}, {}),
    ],
)
def test_libpq_goes_elsewhere(given, environ):
    assert not libpq_is_local(given, environ)


@pytest.mark.parametrize(
    ("dsn", "given", "environ"),
    [
        pytest.param(AZURE, {}, {}, id="nothing said"),
        pytest.param(AZURE + "?sslmode=verify-full", {}, {}, id="said in the URL"),
        pytest.param(AZURE, {"ssl": True}, {}, id="ssl=True"),
        pytest.param(AZURE, {"ssl": "verify-full"}, {}, id="ssl='verify-full'"),
        pytest.param(AZURE, {"ssl": ssl.create_default_context()}, {}, id="a context that verifies"),
        pytest.param(AZURE, {"sslmode": "verify-full"}, {}, id="as SQLAlchemy passes it on"),
        pytest.param(AZURE, {}, {"PGSSLMODE": "disable"}, id="PGSSLMODE is passed over"),
        pytest.param("postgresql://app@127.0.0.1,db.example.com/app", {}, {}, id="one of two hosts is elsewhere"),
        pytest.param("postgresql://app@localhost/app", {"host": "db.example.com"}, {}, id="the argument goes first"),
        pytest.param("postgresql://app@localhost/app", {"host": ["::1", "10.0.0.1"]}, {}, id="a list of hosts"),
        pytest.param("postgresql://app@a@localhost/app", {}, {}, id="two signs @: asyncpg takes the first"),
        pytest.param("postgresql://app@localhost%2Cdb.example.com/app", {}, {}, id="an encoded comma"),
        pytest.param("postgresql:///app?host=db.example.com", {}, {}, id="host in the query"),
        pytest.param("postgresql:///app", {}, {"PGHOST": "db.example.com"}, id="host in the environment"),
        pytest.param("postgresql:///app?service=db", {}, {}, id="a service file"),
        pytest.param("postgresql://app@localhost/app", {"service": "db"}, {}, id="a service file beside a host"),
        pytest.param("postgresql://app@localhost/app", {}, {"PGSERVICE": "db"}, id="a service of the environment"),
    ],
)
def test_asyncpg_gets_a_verifying_context(dsn, given, environ):
    assert is_verified(for_asyncpg(dsn, environ, **given))


@pytest.mark.parametrize(
    ("dsn", "given"),
    [
        pytest.param("postgresql://app@127.0.0.1/app", {}, id="loopback"),
        pytest.param("postgresql://app@[::1]:5433/app", {}, id="loopback in IPv6"),
        pytest.param("postgresql://app@%2Fvar%2Frun/app", {}, id="a socket in the place of the host"),
        pytest.param("postgresql:///app?host=/var/run", {}, id="a socket in the query"),
        pytest.param(None, {"host": "/var/run"}, id="a socket as argument"),
    ],
)
def test_asyncpg_is_left_alone_on_this_machine(dsn, given):
    options = for_asyncpg(dsn, **given)
    assert "ssl" not in options
    assert options == {**given, "dsn": dsn}


@pytest.mark.parametrize("dsn", ["postgresql:///app", "postgresql://app@/app?host=", None])
def test_asyncpg_without_a_host_is_refused(dsn):
    """It would try sockets in /tmp, where anybody may listen."""
    with pytest.raises(CredentialError, match="names no host"):
        for_asyncpg(dsn)


@pytest.mark.parametrize("given", [{}, {"host": ""}, {"dbname": "app"}])
def test_libpq_without_a_host_is_refused(given):
    with pytest.raises(CredentialError, match="names no host"):
        libpq_options(given, {}, allow_unverified=False)


def test_a_password_without_a_host_is_as_ever():
    assert connect_options("postgresql:///app", {}, {}, auth_method="password") == {"dsn": "postgresql:///app"}


WITHOUT_NAMES = ssl.create_default_context()
WITHOUT_NAMES.check_hostname = False
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


@pytest.mark.parametrize(
    ("dsn", "given"),
    [
        *[
            pytest.param(f"{AZURE}?sslmode={mode}", {}, id=mode)
            for mode in ("disable", "prefer", "require", "verify-ca")
        ],
        *[pytest.param(AZURE, {"ssl": mode}, id=f"ssl={mode!r}") for mode in (False, "prefer", "require", "verify-ca")],
        pytest.param(AZURE, {"ssl": WITHOUT_NAMES}, id="a context that does not check the name"),
        pytest.param(AZURE, {"ssl": UNVERIFIED}, id="a context that checks nothing"),
        pytest.param(AZURE, {"sslmode": "require"}, id="as SQLAlchemy passes it on"),
        pytest.param(AZURE, {"ssl": "verify-full", "sslmode": "require"}, id="a strong and a weak word"),
        pytest.param(f"{AZURE}?sslmode=require", {"ssl": True}, id="a weak word in the URL beside ssl=True"),
        pytest.param(f"{AZURE}?sslmode=nonsense", {}, id="an unknown word"),
        pytest.param(f"{AZURE}?ssl_min_protocol_version=TLSv1", {}, id="an old protocol"),
        pytest.param(f"{AZURE}?ssl_max_protocol_version=TLSv1.1", {}, id="nothing but an old protocol"),
    ],
)
def test_asyncpg_is_refused_anything_weaker(dsn, given):
    with pytest.raises(CredentialError):
        for_asyncpg(dsn, **given)


@pytest.mark.parametrize("auth_method", ["password", "secret"])
def test_a_password_may_go_as_the_driver_sends_it(auth_method):
    options = connect_options(f"{AZURE}?sslmode=require", {}, {}, auth_method=auth_method)
    assert options == {"dsn": f"{AZURE}?sslmode=require"}


def test_a_method_of_your_own_is_treated_as_a_token():
    with pytest.raises(CredentialError):
        connect_options(f"{AZURE}?sslmode=require", {}, {}, auth_method="gcp_iam")


def test_words_that_asyncpg_reads_from_a_dsn_only_are_put_there():
    words = {"sslmode": "require", "sslrootcert": "/a b"}
    assert connect_options(None, words, {}, auth_method="password") == {
        "dsn": "postgresql://?sslmode=require&sslrootcert=%2Fa+b"
    }
    assert connect_options("postgresql://h/d?x=1", {"sslmode": "require"}, {}, auth_method="password") == {
        "dsn": "postgresql://h/d?x=1&sslmode=require"
    }


def test_an_unreadable_url_is_refused_without_being_repeated():
    with pytest.raises(CredentialError) as caught:
        for_asyncpg("postgresql://app:geheim@[oops/app?x")
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_sign_too_many_before_the_host_is_no_abstract_socket():
    # libpq has such sockets, but asyncpg and psycopg ask the network for a host of that name.
    assert is_verified(for_asyncpg("postgresql://app@@db.example.com/app"))
    assert libpq_options({"host": "@db.example.com"}, {}, allow_unverified=False)["sslmode"] == "verify-full"


@pytest.mark.parametrize(("word", "least"), [("TLSv1.3", "TLSv1_3"), ("tlsv1.2", "TLSv1_2")])
def test_a_stricter_protocol_is_kept_for_asyncpg(word, least):
    options = for_asyncpg(f"{AZURE}?ssl_min_protocol_version={word}")
    assert isinstance(options["ssl"], ssl.SSLContext)
    assert options["ssl"].minimum_version is ssl.TLSVersion[least]


@pytest.mark.parametrize(("variable", "least"), [("TLSv1.3", "TLSv1.3"), ("TLSv1", "TLSv1.2"), ("", "TLSv1.2")])
def test_a_variable_can_make_the_protocol_stricter_only(variable, least):
    environ = {"PGSSLMINPROTOCOLVERSION": variable}
    options = libpq_options({"host": "db.example.com"}, environ, allow_unverified=False)
    assert options["ssl_min_protocol_version"] == least
    context = for_asyncpg(AZURE, environ)["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert context.minimum_version is ssl.TLSVersion[least.replace(".", "_")]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(CredentialError, match="ssl_min_protocol_version"):
        for_asyncpg(f"{AZURE}?ssl_min_protocol_version=newest")


def test_libpq_gets_every_word_that_matters():
    options = libpq_options({"host": "db.example.com"}, {"PGSSLROOTCERT": "/roots"}, allow_unverified=False)
    assert options == {
        "host": "db.example.com",
        "sslmode": "verify-full",
        "sslrootcert": "/roots",
        "gssencmode": "disable",
        "ssl_min_protocol_version": "TLSv1.2",
    }


@pytest.mark.parametrize(
    "given",
    [
        *[{"sslmode": mode} for mode in ("disable", "allow", "prefer", "require", "verify-ca")],
        {"gssencmode": "prefer"},
        {"gssencmode": "require"},
        {"ssl_min_protocol_version": "TLSv1.1"},
    ],
    ids=lambda given: "=".join(*given.items()),
)
def test_libpq_is_refused_anything_weaker(given):
    with pytest.raises(CredentialError):
        libpq_options({"host": "db.example.com", **given}, {}, allow_unverified=False)


def test_libpq_may_be_weaker_if_the_caller_permits_it():
    given = {"host": "db.example.com", "sslmode": "require"}
    assert libpq_options(given, {}, allow_unverified=True) == given


def test_libpq_is_told_where_the_store_of_the_system_is(tmp_path, monkeypatch):
    # The libpq of psycopg's wheel would look in a directory that its builders chose.
    (tmp_path / "store.pem").write_text("roots")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "store.pem"))
    given = {"host": "db.example.com", "sslrootcert": "system"}
    assert libpq_options(given, {}, allow_unverified=False)["sslrootcert"] == str(tmp_path / "store.pem")
