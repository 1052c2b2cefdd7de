"""Make ready what the containers share: databases, bucket, Airflow's schema and its password.

Run as `python -m pipelines.stack.prepare`, once a deployment; running it again changes nothing. `hourglass up`
needs none of it: it does the same for its own embedded parts.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.context import Context
from pipelines.errors import ConfigError, HourglassError, SourceUnavailable
from pipelines.settings import Settings, load_settings
from pipelines.stack.plan import write_private


def prepare(settings: Settings) -> None:
    """Create databases, tables and buckets that are missing.

    Raises
    ------
    SourceUnavailable
        If the database or the object store does not answer.
    """
    with Context(settings) as context:
        # The ledger brings its own tables to the newest schema when it is opened.
        context.ledger.verify()
    for uri in (settings.lake_uri, settings.artifact_uri):
        if uri.startswith("s3://"):
            _ensure_bucket(urlsplit(uri).netloc)
    _write_password()
    migrated = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=False)
    if migrated.returncode != 0:
        raise SourceUnavailable(
            f"airflow db migrate ended with {migrated.returncode}", remedy="read its output above"
        )


def _ensure_bucket(name: str) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    store = boto3.client("s3")
    try:
        if name not in {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}:
            store.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        raise SourceUnavailable(
            f"the object store refused bucket {name}: {error}",
            remedy="check AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error


def _write_password() -> None:
    """Hand the administrator's password to Airflow's simple auth manager, which reads it from a file."""
    path = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    password = os.environ.get("AIRFLOW_ADMIN_PASSWORD")
    if not path or not password:
        raise ConfigError(
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE or AIRFLOW_ADMIN_PASSWORD is not set",
            remedy="start from docker/compose.yaml",
        )
    write_private(Path(path), json.dumps({"admin": password}))


if __name__ == "__main__":
    try:
        prepare(load_settings())
    except HourglassError as refusal:
        sys.stderr.write(f"{refusal}\n")
        sys.exit(refusal.exit_code)
