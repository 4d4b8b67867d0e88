"""Policies as YAML: one meaning or a refusal that says where."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify import AccessPolicy
from tegata_verify.policy_file import MAX_BYTES, PolicyFileError, parse_policy, read_policy

# A busy machine must not fail this: without it an example may take a fifth of a second.
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("roles:\n  viewer: ['*:read']\nroles: {}\n", "policy, line 3: roles: is there twice"),
        ("roles:\n  viewer: []\n  viewer: []\n", "line 3: roles.viewer: is there twice"),
        ("roles:\n  viewer: [*:read]\n", "line 2: .*"),
        ("roles:\n  viewer: [*read]\n", "line 2: .*alias to YAML; write wildcards in quotes"),
        ("roles: &r\n  viewer: []\n", "line .*anchors"),
        ("roles:\n  viewer: !!python/object/apply:os.system ['true']\n", "line 2: anchors .* and tags"),
        ("roles:\n  no: []\n", "line 2: roles: 'no' is not a text to YAML; write it in quotes"),
        ("roles:\n  viewer: [2020-01-01]\n", r"line 2: roles.viewer\[0\]: '2020-01-01' is not a text to YAML"),
        ("roles:\n  viewer:\n", "line 2: roles.viewer: is empty"),
        ("roles:\n  viewer: [Read]\n", r"line 2: roles.viewer\[0\]: 'Read' is no permission"),
        ("scope: {}\n", "line 1: scope: not known here"),
        ("scopes:\n  read:\n    methods: [GET]\n", "line 2: scopes.read: permissions are missing"),
        ("roles:\n  ? [a]\n  : []\n", "line 2: roles: has a name that is not a text"),
        ("roles: {a: []\n", "is not YAML"),
        ("roles: {}\n---\nroles: {}\n", "is not YAML"),
        ("roles: {}\n\x00", "characters that are not text"),
        ("[[[[[[[[[[[[]]]]]]]]]]]]", "nested deeper than 8"),
        ("[" * 100_000, "nested deeper than 8"),
        ("- roles", "the policy: is a list"),
        (b"\xff\xfe", "not UTF-8"),
        (b" " * (MAX_BYTES + 1), "larger than 256 KiB"),
    ],
)
def test_a_text_that_could_mean_two_things_is_refused_with_its_line(text, message):
    with pytest.raises(PolicyFileError, match=message):
        parse_policy(text)


def test_an_empty_file_is_a_policy_that_allows_nothing(tmp_path):
    path = tmp_path / "access-policy.yaml"
    path.write_text("# nothing yet\n")
    assert read_policy(path).scopes == frozenset()


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "access-policy.yaml"
    path.write_text("rolls: {}\n")
    with pytest.raises(PolicyFileError, match=r"^access-policy.yaml, line 1: rolls"):
        read_policy(path)


@given(st.text(alphabet=":{}[]-,*&!'\"# \nroleswgtGET", max_size=60))
@relaxed
def test_any_text_is_a_policy_or_a_policy_file_error(text):
    try:
        policy = parse_policy(text)
    except PolicyFileError:
        return
    assert isinstance(policy, AccessPolicy)
