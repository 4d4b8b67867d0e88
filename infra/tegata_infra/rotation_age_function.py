"""Tells the ages of secrets, and of copies that failed; copied into the template, so it has no other file."""

import json
import os
import time

import boto3


def handler(event: object, context: object) -> None:
    """Write the age of each secret's value. A secret that is not there fails the run, after the others were told."""
    client = boto3.client("secretsmanager")
    failed = []
    for name in json.loads(os.environ["SECRETS"]):
        try:
            found = client.describe_secret(SecretId=name)
        except client.exceptions.ClientError as error:
            failed.append(f"{name}: {error.response['Error']['Code']}")
            continue
        since = found.get("LastRotatedDate") or found["CreatedDate"]
        metrics = [
            {"Namespace": os.environ["NAMESPACE"], "Dimensions": [dimensions], "Metrics": [{"Name": told}]}
            for told, dimensions in (("SecretAgeDays", ["Secret"]), ("SecretCopiesFailed", []))
        ]
        days = (time.time() - since.timestamp()) / 86400
        copies = sum(copy["Status"] == "Failed" for copy in found.get("ReplicationStatus", []))
        about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": metrics}
        line = {"_aws": about, "Secret": name, "SecretAgeDays": round(days, 2), "SecretCopiesFailed": copies}
        print(json.dumps(line), flush=True)
    if failed:
        raise RuntimeError("; ".join(failed))
