"""Names of tenants, clients and users."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.flows.admin import names


@given(st.from_regex(names.TENANT_PATTERN, fullmatch=True).filter(lambda name: name not in names.RESERVED_TENANT_NAMES))
def test_names_of_the_pattern_are_good(name: str) -> None:
    assert re.fullmatch(names.TENANT_PATTERN, name, re.ASCII) is None or names.problem_with_tenant_name(name) is None


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "a" * 64, "日本", "a\n", "a b"])
def test_other_names_of_tenants_are_refused(name: str) -> None:
    assert names.problem_with_tenant_name(name) is not None


@pytest.mark.parametrize("name", sorted(names.RESERVED_TENANT_NAMES))
def test_the_servers_own_paths_are_reserved(name: str) -> None:
    problem = names.problem_with_tenant_name(name)
    assert problem is not None
    assert "reserved" in problem


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/healthz", "/health", "/actuator", "/metrics", "/static", "/admin"]
)
def test_paths_that_the_server_answers_are_among_them(path: str) -> None:
    assert path.removeprefix("/") in names.RESERVED_TENANT_NAMES


@pytest.mark.parametrize("name", ["", " jo", "jo ", "j\no", "jo\x00", "j" * 255, " "])
def test_usernames_that_nobody_could_type_are_refused(name: str) -> None:
    assert names.problem_with_username(name) is not None


@pytest.mark.parametrize("name", ["jo", "jo@example.com", "山田", "o'brien", "first last"])
def test_other_usernames_are_good(name: str) -> None:
    assert names.problem_with_username(name) is None


@pytest.mark.parametrize("name", ["", "a b", "a:b", "-a", "é", "a" * 129, "a/b"])
def test_client_ids_that_need_quoting_are_refused(name: str) -> None:
    assert names.problem_with_client_id(name) is not None
