"""A server that is stopped in order has delivered what its workers recorded, and no key with it."""

import base64
import json

from strongroom.testing import Strongroom

KEY = b"K" * 32
OWN = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
PERMIT = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::logs/*",
        }
    ],
}


def lines_of(s3):
    found = s3.list_objects_v2(Bucket="logs").get("Contents", [])
    return [
        line
        for each in found
        for line in s3.get_object(Bucket="logs", Key=each["Key"])["Body"].read().splitlines()
    ]


def test_records_of_all_workers_are_there_after_an_ordered_stop():
    with Strongroom(durable=True, args=["--workers", "2"]) as server:
        s3 = server.boto3_client()
        for name in ("films", "logs"):
            s3.create_bucket(Bucket=name)
        s3.put_bucket_policy(Bucket="logs", Policy=json.dumps(PERMIT))
        target = {"TargetBucket": "logs", "TargetPrefix": "films/"}
        s3.put_bucket_logging(Bucket="films", BucketLoggingStatus={"LoggingEnabled": target})
        s3.put_object(Bucket="films", Key="a", Body=b"film", **OWN)
        for _ in range(20):
            # Each on a connection of its own, so that both workers have some.
            other = server.boto3_client()
            assert other.get_object(Bucket="films", Key="a", **OWN)["Body"].read() == b"film"
            other.close()
        assert lines_of(s3) == []
        s3.close()

        server.restart()
        s3 = server.boto3_client()
        lines = lines_of(s3)
        s3.close()

    gets = [line for line in lines if b" REST.GET.OBJECT a " in line]
    assert len(gets) == 20
    assert len({line.split(b" ")[6] for line in gets}) == 20
    assert all(b'"GET /films/a HTTP/1.1" 200 - 4 4 ' in line for line in gets)
    assert base64.b64encode(KEY)[:20] not in b"".join(lines)
