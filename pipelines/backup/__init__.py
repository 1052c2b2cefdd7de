"""Backups of the ledger: `hourglass backup` and `hourglass restore`.

A backup is a folder, or the same as one `.tar.zst`: `manifest.json` and one `<table>.copy` a table in
PostgreSQL's text format, taken in one repeatable-read transaction while trading goes on. The manifest
holds the schema's revision, of every file its columns, rows and sha256, and where the audit chain
ends. A restore checks all of it before it writes, and verifies the whole ledger before it commits.

Not in it are the lake and the databases of MLflow, Optuna and Airflow. The lake is Delta Lake: every
table keeps 30 days of versions (`hourglass tables NAME --at-time T`) and a file is never changed once
it is written, so `rsync -a <home>/lake/ ELSEWHERE` while no step runs, or `aws s3 sync` of its bucket,
copies it. Models are files under MLflow's artifacts, copied the same way.
"""

from pipelines.backup.restoring import restore
from pipelines.backup.writing import backup

__all__ = ["backup", "restore"]
