# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb", "boto3"]
# ///
"""duckdb with its httpfs extension: COPY to and from s3:// in Parquet and CSV."""

import boto3
import duckdb
import rig

job = rig.Rig()
job.client("duckdb", duckdb.__version__)
db = duckdb.connect(config={"extension_directory": str(job.home / "extensions")})


def load() -> None:
    """Load the extension, which DuckDB downloads when it is first asked for."""
    try:
        db.execute("INSTALL httpfs")
        db.execute("LOAD httpfs")
    except duckdb.Error as error:
        raise rig.Skipped(f"httpfs cannot be had: {str(error).splitlines()[0]}") from error


with job.step("COPY to Parquet and CSV, and SELECT from them"):
    load()
    boto3.client(
        "s3",
        endpoint_url=job.endpoint,
        verify=job.ca,
        region_name=job.region,
        aws_access_key_id=job.access_key,
        aws_secret_access_key=job.secret_key,
    ).create_bucket(Bucket="attic")
    db.execute(f"SET ca_cert_file = '{job.ca}'")
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{job.access_key}', SECRET '{job.secret_key}',"
        f" ENDPOINT '{job.host}', REGION '{job.region}', URL_STYLE 'path')"
    )
    db.execute("CREATE TABLE numbers AS SELECT range AS n, n * n AS square FROM range(1000000)")
    for name in ("numbers.parquet", "numbers.csv"):
        db.execute(f"COPY numbers TO 's3://attic/{name}'")
        read = db.read_parquet if name.endswith("parquet") else db.read_csv
        found = read(f"s3://attic/{name}").aggregate("count(*), sum(square)").fetchone()
        assert found == db.sql("SELECT count(*), sum(square) FROM numbers").fetchone()
    assert db.sql("SELECT count(*) FROM glob('s3://attic/*')").fetchone() == (2,)
