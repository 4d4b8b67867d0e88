"""A login that stands twice in its secret would go stale in one place; a word that stands there by chance would not."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest

from tegata_credentials.rotation.errors import RotationRefused
from tegata_credentials.rotation.postgres.secret import next_value
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import SecretVersion

STRONG = 'pä/ß w@rd+\\1"2%&😀'
BASE = {"username": "shop_a", "engine": "postgres", "host": "db.example.com", "port": 5432, "dbname": "shop"}


def rotated(password, username="shop_b", **further):
    text = json.dumps(BASE | {"password": password} | further)
    new = next_value(SecretVersion("shop", "v1", HiddenText(text)), username, HiddenText("new"))
    return json.loads(new)


def refused(password, username="shop_b", **further):
    with pytest.raises(RotationRefused) as failed:
        rotated(password, username, **further)
    assert STRONG not in str(failed.value)
    return str(failed.value)


WRITTEN = {
    "as it is": STRONG,
    "percent-encoded": quote(STRONG, safe=""),
    "percent-encoded where it has to be": quote(STRONG, safe="+&"),
    "as a form": quote_plus(STRONG),
    "percent-encoded twice": quote(quote(STRONG, safe=""), safe=""),
    "as JSON": json.dumps(STRONG),
    "as JSON in its own letters": json.dumps(STRONG, ensure_ascii=False),
    "as JSON in JSON": json.dumps({"database": json.dumps({"word": STRONG})}),
    "percent-encoded in JSON": json.dumps({"url": f"postgresql://u:{quote(STRONG, safe='')}@h/d"}),
    "with a backslash before what libpq means otherwise": STRONG.replace("\\", "\\\\").replace("'", "\\'"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("around", ["{}", "postgresql://shop:{}@db.example.com/shop", "some {} words"])
def test_a_strong_password_is_found_however_it_is_written(written, around):
    assert "repeated in note," in refused(STRONG, note=around.replace("{}", written))


@pytest.mark.parametrize(
    ("further", "named"),
    [
        ({"pool": {"write": {"url": f"x{STRONG}y"}}}, "pool.write.url"),
        ({"urls": ["fine", f"x{STRONG}"]}, "urls"),
        ({"b": STRONG, "a": STRONG}, "a, b"),
    ],
    ids=["in an object", "in a list", "twice"],
)
def test_every_place_is_named(further, named):
    assert f"repeated in {named}," in refused(STRONG, **further)


WEAK = ["postgres", "prod", "shop", "1234", "db", "administrator", "a.b"]
BY_CHANCE = {
    "engine": "postgres",
    "masterarn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod-administrator-1234",
    "environment": "prod",
    "url": "postgresql://db.example.com:1234/shop?application_name=prod",
    "note": "ask the administrator of postgres, not the shop; 1234 is the port. password reset: never",
    "ports": [1234, 5432],
    "axb": "axb",
}


@pytest.mark.parametrize("password", WEAK)
def test_a_weak_password_that_stands_elsewhere_by_chance_is_rotated_away(password):
    assert rotated(password, **BY_CHANCE) == BASE | BY_CHANCE | {"username": "shop_b", "password": "new"}


PLACES = {
    "url": "postgresql://shop:{quoted}@db.example.com/shop",
    "jdbc": "jdbc:postgresql://db.example.com/shop?user=shop&password={quoted}&ssl=true",
    "dsn": "host=db.example.com password='{plain}' user=shop",
    "ado": "Host=db.example.com;Password={plain};Username=shop",
    "more": '{"db": {"password": "{plain}"}}',
    "PGPASSWORD": "{plain}",
    "db_password": "{plain}",
}


@pytest.mark.parametrize("password", [*WEAK, "a b", "p@ss"])
@pytest.mark.parametrize("place", PLACES)
def test_a_weak_password_is_found_where_a_password_stands(password, place):
    written = PLACES[place].replace("{plain}", password).replace("{quoted}", quote(password, safe=""))
    assert f"repeated in shop.{place}," in refused(password, shop={place: written})


def test_an_address_that_names_the_user_who_changes_would_go_stale_too():
    assert "repeated in url" in refused(STRONG, url="postgresql://shop_a@db.example.com/shop")
    assert "repeated in url" in refused(STRONG, url="postgresql://shop%5Fa:of-before@db.example.com/shop")
    assert rotated(STRONG, url="postgresql://shop@db.example.com/shop_a")["username"] == "shop_b"
    assert rotated(STRONG, username="shop_a", url="postgresql://shop_a@db.example.com/shop")["password"] == "new"


def test_the_new_password_is_no_part_of_what_is_looked_for():
    assert rotated("old-old-old-1", url="postgresql://db.example.com/new")["url"].endswith("/new")
