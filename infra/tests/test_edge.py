"""The edge: rows of seed 001's load balancer, listeners, target group and firewall, where the errata do not differ."""

from __future__ import annotations

from typing import Any

import pytest

from .templates import Assembly, Resource, walk

LOAD_BALANCER = {
    "Name": "idp-server-alb",
    "Scheme": "internet-facing",
    "Type": "application",
    "IpAddressType": "ipv4",
}

ATTRIBUTES = {
    "deletion_protection.enabled": "true",
    "access_logs.s3.enabled": "true",
    "access_logs.s3.prefix": "front",
    "routing.http.drop_invalid_header_fields.enabled": "true",
    "routing.http.desync_mitigation_mode": "defensive",
    "routing.http.xff_header_processing.mode": "append",
    "routing.http2.enabled": "true",
    "idle_timeout.timeout_seconds": "60",
}

TARGET_GROUP = {
    "Name": "idp-server-tg",
    "Protocol": "HTTP",
    "Port": 8080,
    "TargetType": "ip",
    "HealthCheckPath": "/actuator/health",
    "HealthCheckIntervalSeconds": 30,
    "HealthCheckTimeoutSeconds": 5,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 3,
    # What the seed does not say.
    "HealthCheckProtocol": "HTTP",
    "Matcher": {"HttpCode": "200"},
    "ProtocolVersion": "HTTP1",
}

COUNTED = {
    "NoUserAgent_HEADER",
    "SizeRestrictions_QUERYSTRING",
    "SizeRestrictions_BODY",
    "EC2MetaDataSSRF_QUERYARGUMENTS",
    "EC2MetaDataSSRF_BODY",
    "GenericRFI_QUERYARGUMENTS",
    "GenericRFI_BODY",
    "CrossSiteScripting_BODY",
}

RULES = [
    "rate-of-sign-ins",
    "rate-of-tokens",
    "rate-of-all",
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
]


def attributes(resource: Resource, name: str) -> dict[str, Any]:
    """Return a list of keys and values as what it is."""
    return {entry["Key"]: entry["Value"] for entry in resource.get(name, [])}


@pytest.fixture(scope="session")
def front(idp: Assembly) -> Resource:
    return idp.one("AWS::ElasticLoadBalancingV2::LoadBalancer")


@pytest.fixture(scope="session")
def group(idp: Assembly) -> Resource:
    return idp.one("AWS::ElasticLoadBalancingV2::TargetGroup")


@pytest.fixture(scope="session")
def acl(idp: Assembly) -> Resource:
    return idp.one("AWS::WAFv2::WebACL")


def find_rule(acl: Resource, name: str) -> dict[str, Any]:
    return next(rule for rule in acl["Rules"] if rule["Name"] == name)


@pytest.mark.parametrize("row", LOAD_BALANCER)
def test_a_row_of_the_load_balancer(front: Resource, row: str) -> None:
    assert front[row] == LOAD_BALANCER[row]


@pytest.mark.parametrize("row", ATTRIBUTES)
def test_an_attribute_of_the_load_balancer(front: Resource, row: str) -> None:
    assert attributes(front, "LoadBalancerAttributes")[row] == ATTRIBUTES[row]


def test_the_load_balancer_stands_in_the_public_subnets_behind_its_group(idp: Assembly, front: Resource) -> None:
    subnets = [idp.find(front.stack, subnet) for subnet in front["Subnets"]]
    assert {subnet.tags["Name"] for subnet in subnets if subnet} == {"idp-server-public-1a", "idp-server-public-1c"}
    (group,) = [idp.find(front.stack, each) for each in front["SecurityGroups"]]
    assert group is not None
    assert group.tags["Name"] == "idp-server-alb-sg"
    assert (front.tags["Name"], front.tags["Environment"]) == ("idp-server-alb", "production")


def test_https_goes_to_the_containers(idp: Assembly, front: Resource, group: Resource) -> None:
    listener = idp.one("AWS::ElasticLoadBalancingV2::Listener", Port=443)
    assert listener["Protocol"] == "HTTPS"
    assert listener["Certificates"] == [{"CertificateArn": {"Ref": "CertificateArn"}}]
    assert idp.find(listener.stack, listener["LoadBalancerArn"]) == front
    (action,) = listener["DefaultActions"]
    assert (action["Type"], idp.find(listener.stack, action["TargetGroupArn"])) == ("forward", group)


def test_http_is_redirected_for_good(idp: Assembly) -> None:
    listener = idp.one("AWS::ElasticLoadBalancingV2::Listener", Port=80)
    (action,) = listener["DefaultActions"]
    assert (listener["Protocol"], action["Type"]) == ("HTTP", "redirect")
    assert action["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}


def test_https_speaks_the_tls_that_fapi_allows_and_does_not_name_its_server(each: Assembly) -> None:
    """Errata B32. TLS 1.3, and of 1.2 what RFC 9325 §4.2 recommends; the list is AWS's, by name."""
    front = each.one("AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme="internet-facing")
    (listener,) = (
        listener
        for listener in each.all("AWS::ElasticLoadBalancingV2::Listener", Protocol="HTTPS")
        if each.find(listener.stack, listener["LoadBalancerArn"]) == front
    )
    assert listener["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
    assert attributes(listener, "ListenerAttributes")["routing.http.response.server.enabled"] == "false"


@pytest.mark.parametrize("row", TARGET_GROUP)
def test_a_row_of_the_target_group(group: Resource, row: str) -> None:
    assert group[row] == TARGET_GROUP[row]


def test_the_target_group_is_in_the_network_and_balances_by_what_is_under_way(idp: Assembly, group: Resource) -> None:
    vpc = idp.find(group.stack, group["VpcId"])
    assert vpc == idp.one("AWS::EC2::VPC")
    found = attributes(group, "TargetGroupAttributes")
    assert found["load_balancing.algorithm.type"] == "least_outstanding_requests"
    assert found["deregistration_delay.timeout_seconds"] == "30"
    assert found["stickiness.enabled"] == "false"


def test_accesses_are_logged_where_only_the_load_balancer_writes(idp: Assembly, front: Resource) -> None:
    bucket = idp.find(front.stack, attributes(front, "LoadBalancerAttributes")["access_logs.s3.bucket"])
    assert bucket is not None
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    rule = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 30
    kept = bucket.body["DeletionPolicy"], bucket.body["UpdateReplacePolicy"]
    # Also when a deployment is rolled back: the load balancer's test file is in it, so it could not be deleted.
    assert kept == ("Retain", "Retain")
    policy = next(each for each in idp.all("AWS::S3::BucketPolicy") if idp.find(each.stack, each["Bucket"]) == bucket)
    statements = policy["PolicyDocument"]["Statement"]
    denied = [each["Condition"] for each in statements if each["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in denied
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denied
    writers = [each for each in statements if each["Effect"] == "Allow" and each["Action"] == "s3:PutObject"]
    assert len(writers) == 2
    # ELB's own account in the region, or the service that delivers logs: for this account's prefix alone.
    for writer in writers:
        who = next(iter(writer["Principal"].values()))
        assert "582318560864" in str(who) or who == "delivery.logs.amazonaws.com"
        assert "/front/AWSLogs/" in str(writer["Resource"])


def test_the_firewall_has_the_name_of_the_seed_and_stands_before_the_load_balancer(
    idp: Assembly, acl: Resource, front: Resource
) -> None:
    assert (acl["Name"], acl["Scope"], acl["DefaultAction"]) == ("idp-server-waf", "REGIONAL", {"Allow": {}})
    association = idp.one("AWS::WAFv2::WebACLAssociation")
    assert idp.find(association.stack, association["WebACLArn"]) == acl
    assert idp.find(association.stack, association["ResourceArn"]) == front


def test_the_rules_of_the_firewall_stand_in_their_order(acl: Resource) -> None:
    assert [rule["Name"] for rule in sorted(acl["Rules"], key=lambda rule: rule["Priority"])] == RULES


def test_everything_of_the_firewall_is_counted_and_no_request_is_shown(acl: Resource) -> None:
    """Errata B33: the configuration is required. Samples of requests would hold codes and names."""
    seen = [acl["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in acl["Rules"])]
    assert [(each["CloudWatchMetricsEnabled"], each["SampledRequestsEnabled"]) for each in seen] == [(True, False)] * 6
    assert len({each["MetricName"] for each in seen}) == 6


@pytest.mark.parametrize("name", RULES[3:])
def test_a_group_of_managed_rules_blocks_by_its_own_judgement(acl: Resource, name: str) -> None:
    rule = find_rule(acl, name)
    assert rule["OverrideAction"] == {"None": {}}
    assert rule["Statement"]["ManagedRuleGroupStatement"]["VendorName"] == "AWS"


def test_what_oauth_sends_is_counted_and_not_blocked(acl: Resource) -> None:
    managed = find_rule(acl, "AWSManagedRulesCommonRuleSet")["Statement"]["ManagedRuleGroupStatement"]
    overrides = {each["Name"]: each["ActionToUse"] for each in managed["RuleActionOverrides"]}
    assert overrides == {key: {"Count": {}} for key in COUNTED}


def test_an_address_that_asks_too_often_is_told_to_wait(acl: Resource) -> None:
    limits = {}
    for name in RULES[:3]:
        rule = find_rule(acl, name)
        rate = rule["Statement"]["RateBasedStatement"]
        assert (rate["AggregateKeyType"], rate["EvaluationWindowSec"]) == ("IP", 300)
        response = rule["Action"]["Block"]["CustomResponse"]
        assert response["ResponseCode"] == 429
        assert response["ResponseHeaders"] == [{"Name": "Retry-After", "Value": "60"}]
        limits[name] = rate["Limit"]
    assert limits == {"rate-of-sign-ins": 300, "rate-of-tokens": 1000, "rate-of-all": 2000}


def test_the_log_of_the_firewall_has_what_was_blocked_and_nothing_that_lets_somebody_in(
    idp: Assembly, acl: Resource
) -> None:
    logging = idp.one("AWS::WAFv2::LoggingConfiguration")
    assert idp.find(logging.stack, logging["ResourceArn"]) == acl
    redacted = [field.get("SingleHeader", {}).get("Name", *field) for field in logging["RedactedFields"]]
    assert redacted == ["authorization", "cookie", "dpop", "QueryString"]
    assert logging["LoggingFilter"]["DefaultBehavior"] == "DROP"
    group = idp.one("AWS::Logs::LogGroup", LogGroupName="aws-waf-logs-idp-server")
    assert group["RetentionInDays"] == 30
    (destination,) = logging["LogDestinationConfigs"]
    assert destination["Fn::Join"][1][-1].endswith(":log-group:aws-waf-logs-idp-server")


def test_images_can_be_looked_through_and_never_replaced(idp: Assembly) -> None:
    repository = idp.one("AWS::ECR::Repository")
    assert (repository["RepositoryName"], repository["ImageTagMutability"]) == ("idp-server", "IMMUTABLE")
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert (repository["EmptyOnDelete"], repository.body["DeletionPolicy"]) == (False, "RetainExceptOnCreate")


def test_a_front_for_development_can_be_torn_down(read_assembly) -> None:
    dev = read_assembly("idp", "dev")
    front = dev.one("AWS::ElasticLoadBalancingV2::LoadBalancer")
    assert (front["Name"], attributes(front, "LoadBalancerAttributes")["deletion_protection.enabled"]) == (
        "idp-server-dev-alb",
        "false",
    )
    assert dev.one("AWS::ECR::Repository")["EmptyOnDelete"] is True
    assert dev.one("AWS::WAFv2::WebACL")["Name"] == "idp-server-dev-waf"


def test_staging_has_the_same_edge_as_production(idp: Assembly, read_assembly) -> None:
    """What a request meets is the same: only names and the tag differ."""

    def shape(assembly: Assembly) -> dict[str, list[str]]:
        found = [each for each in assembly.resources if each.stack.endswith("-Edge")]
        return {each.id: sorted("/".join(path) for path, _ in walk(each.properties)) for each in found}

    staging = read_assembly("idp", "staging")
    assert shape(staging) == shape(idp)
    assert (
        staging.one("AWS::WAFv2::WebACL")["Rules"][0]["Statement"]
        == idp.one("AWS::WAFv2::WebACL")["Rules"][0]["Statement"]
    )
