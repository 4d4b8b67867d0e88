"""What the documentation says of the templates is made from them: pictures, costs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from tegata_infra import cost, diagram
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS
from tegata_infra.cost import UnpricedError, add_up, build_page, price

from .templates import Assembly, Resource

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_the_picture_is_that_of_the_templates(read_assembly, deployment: str) -> None:
    drawn = diagram.draw(read_assembly(deployment, "production"), diagram.TITLES[deployment])
    kept = (diagram.IMAGES / f"aws-{deployment}.svg").read_text()
    assert drawn == kept, "make synth && (cd infra && ../.venv/infra/bin/python -m tegata_infra.diagram)"


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_each_group_and_each_rule_is_in_the_picture(read_assembly, deployment: str) -> None:
    assembly = read_assembly(deployment, "production")
    picture = ET.fromstring(diagram.draw(assembly, "x"))
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert {group["GroupName"] for group in assembly.all("AWS::EC2::SecurityGroup")} <= set(texts)
    arrows = [element for element in picture.iter(f"{SVG}path") if element.get("marker-end")]
    assert len(arrows) == len(diagram.list_rules(assembly))
    assert "(nothing)" not in texts


def test_boxes_do_not_lie_upon_each_other(idp: Assembly) -> None:
    picture = ET.fromstring(diagram.draw(idp, "x"))
    boxes = [
        tuple(float(element.get(name, 0)) for name in ("x", "y", "width", "height"))
        for element in picture.iter(f"{SVG}rect")
        if element.get("rx")
    ]
    for number, (x, y, width, height) in enumerate(boxes):
        for left, top, _, _ in boxes[number + 1 :]:
            assert not (x <= left < x + width and y <= top < y + height)


def test_the_costs_are_those_of_the_templates(read_assembly) -> None:
    page = build_page({(d, e): read_assembly(d, e) for d in DEPLOYMENTS for e in ENVIRONMENTS})
    assert page == cost.PAGE.read_text(), "make synth && (cd infra && ../.venv/infra/bin/python -m tegata_infra.cost)"


def test_a_type_without_a_price_is_no_free_lunch(idp: Assembly) -> None:
    gold = Resource("Data", "Gold", "AWS::Gold::Bar", {"Properties": {}})
    with pytest.raises(UnpricedError, match="Gold"):
        price(gold, idp)
    database = next(each for each in idp.all("AWS::RDS::DBInstance") if each.get("MultiAZ"))
    larger = {**database.body, "Properties": {**database.properties, "DBInstanceClass": "db.r6g.16xlarge"}}
    with pytest.raises(UnpricedError, match="16xlarge"):
        price(replace(database, body=larger), idp)


def test_two_zones_cost_twice(idp: Assembly) -> None:
    database = next(each for each in idp.all("AWS::RDS::DBInstance") if each.get("MultiAZ"))
    (cost_of_two,) = price(database, idp)
    (cost_of_one,) = price(replace(database, body={"Properties": {**database.properties, "MultiAZ": False}}), idp)
    assert cost_of_two.dollars == pytest.approx(2 * cost_of_one.dollars)
    # 730 hours of 0.45, and 100 GB of 0.115.
    assert cost_of_one.dollars == pytest.approx(730 * 0.45 + 11.5)


def test_production_costs_more_than_dev(read_assembly) -> None:
    dev, staging, production = (sum(add_up(read_assembly("idp", each)).values()) for each in ENVIRONMENTS)
    assert dev < staging < production
