"""The lake under kills, rivals, a full disk, a vanished disk, and on an object store."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.errors import SourceUnavailable
from pipelines.lake import Lake
from pipelines.tables import BARS

START = datetime(2024, 1, 30, tzinfo=UTC)
STEP = timedelta(hours=1)
ROOT = Path(__file__).resolve().parents[3]

# Rewrites two months of bars again and again, each time with one volume everywhere.
WRITER = """
import sys
from datetime import datetime, timedelta, timezone
import polars as pl
from pipelines.lake import Lake
from pipelines.tables import BARS
lake, frame = Lake(sys.argv[1]), pl.read_parquet(sys.argv[2])
end = frame["known_at"].max()
start = frame["known_at"].min() - timedelta(hours=1)
stands = lake.read("bars", end=end)
volume = 1.0 if stands.is_empty() else stands["volume"][0] + 1
print("ready", flush=True)
while True:
    lake.replace(BARS, frame.with_columns(volume=pl.lit(volume)), start=start, end=end)
    print(volume, flush=True)
    volume += 1
"""


def child(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def end_of(frame):
    return frame["known_at"].sort()[-1]


@pytest.fixture
def bars(make_bars):
    return make_bars(START, hours=24 * 4, taker_buy_volume=None)


def test_a_kill_at_any_moment_leaves_a_whole_version(bars, tmp_path):
    bars.write_parquet(tmp_path / "frame.parquet")
    uri, draw, newest = tmp_path / "lake", random.Random(11), 0.0
    for _ in range(6):
        with child(WRITER, uri, tmp_path / "frame.parquet") as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.0, 0.15))
            os.kill(writer.pid, signal.SIGKILL)
            told = writer.stdout.read().split()
        rows = Lake(str(uri)).read("bars", end=end_of(bars))
        volumes = rows["volume"].unique().to_list()
        if told or rows.height:
            assert_frame_equal(rows.drop("volume"), bars.drop("volume"))
            # What was told as written stands; the one under way stands whole or not at all.
            assert (
                volumes in ([float(told[-1])], [float(told[-1]) + 1]) if told else len(volumes) == 1
            )
            assert volumes[0] >= newest
            newest = volumes[0]
    lake = Lake(str(uri))
    assert newest > 0
    lake.replace(BARS, bars, start=START, end=end_of(bars))
    lake.maintain(retention_days=0)
    # Files a killed writer left behind, in no version, are swept.
    files = [file for file in uri.rglob("*.parquet") if "_delta_log" not in file.parts]
    assert len(files) == 2
    assert_frame_equal(lake.read("bars", end=end_of(bars)), bars)


def test_rivals_that_write_the_same_hours_write_them_once(bars, tmp_path):
    hours = [START + (i + 1) * STEP for i in range(12)]

    def write(_):
        lake = Lake(str(tmp_path / "lake"))
        for known in hours:
            rows = bars.filter(pl.col("known_at") == known)
            lake.replace(BARS, rows, start=known - STEP, end=known)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    written = Lake(str(tmp_path / "lake")).read("bars", end=hours[-1])
    assert_frame_equal(written, bars.filter(pl.col("known_at") <= hours[-1]))
    assert Lake(str(tmp_path / "lake")).version("bars") == len(hours) - 1


def test_rivals_that_write_different_rows_lose_none(bars, tmp_path):
    def write(symbol):
        lake = Lake(str(tmp_path / "lake"))
        for factor in (1.0, 2.0, 3.0):
            rows = bars.filter(pl.col("symbol") == symbol).with_columns(volume=pl.lit(10 * factor))
            lake.replace(BARS, rows, start=START, end=end_of(bars), where={"symbol": [symbol]})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("BTC/USDT", "ETH/USDT")))
    written = Lake(str(tmp_path / "lake")).read("bars", end=end_of(bars))
    assert_frame_equal(written, bars.with_columns(volume=pl.lit(30.0)))


FULL_DISK = """
import resource, sys
import polars as pl
from datetime import timedelta
from pipelines.errors import SourceUnavailable
from pipelines.lake import Lake
from pipelines.tables import BARS
frame = pl.read_parquet(sys.argv[2])
lake, end = Lake(sys.argv[1]), frame["known_at"].max()
start = frame["known_at"].min() - timedelta(hours=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    lake.replace(BARS, frame.with_columns(volume=pl.lit(11.0)), start=start, end=end)
except SourceUnavailable as error:
    print("unavailable", error)
"""


@pytest.mark.parametrize("room", [0, 2000, 6000])
def test_a_full_disk_is_unavailable_and_the_previous_version_stands(room, bars, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    lake.replace(BARS, bars, start=START, end=end_of(bars))
    bars.write_parquet(tmp_path / "frame.parquet")
    with child(FULL_DISK, lake.uri, tmp_path / "frame.parquet", room) as process:
        told, errors = process.communicate(timeout=60)
    assert told.startswith("unavailable bars: the lake did not answer"), errors
    assert "check the disk's space" in told
    assert lake.version("bars") == 0
    assert_frame_equal(lake.read("bars", end=end_of(bars)), bars)


def test_a_lake_that_vanishes_is_unavailable_and_not_empty(bars, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    lake.replace(BARS, bars, start=START, end=end_of(bars))
    lake.read("bars", end=end_of(bars))
    shutil.rmtree(tmp_path / "lake")
    with pytest.raises(SourceUnavailable, match="has vanished"):
        lake.read("bars", end=end_of(bars))


# In a process of its own: some calls of delta-rs hold the interpreter while they wait for an answer.
OBJECT_STORE = """
import logging, sys
import boto3
from moto.server import ThreadedMotoServer
logging.disable()
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
url = "http://127.0.0.1:%d" % server.get_host_and_port()[1]
keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
client.create_bucket(Bucket="hourglass")
print(url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def bucket():
    """Options of an S3 stand-in on the loopback, with one empty bucket."""
    with child(OBJECT_STORE, stdin=subprocess.PIPE) as server:
        yield {
            "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        server.kill()


def test_an_object_store_behaves_as_a_folder_does(bars, bucket):
    lake, end = Lake("s3://hourglass/lake", bucket), end_of(bars)
    assert lake.read("bars", end=end).is_empty()
    assert lake.replace(BARS, bars, start=START, end=end)
    assert not lake.replace(BARS, bars, start=START, end=end)
    changed = bars.with_columns(volume=pl.lit(11.0))
    assert lake.replace(BARS, changed, start=START, end=end)
    other = Lake("s3://hourglass/lake", bucket)
    assert_frame_equal(other.read("bars", end=end), changed)
    assert_frame_equal(other.read("bars", end=end, version=0), bars)
    (info,) = other.describe()
    assert (info.name, info.rows, info.version) == ("bars", 192, 1)
    other.maintain(retention_days=0)
    assert_frame_equal(lake.read("bars", end=end), changed)


def test_an_object_store_that_is_not_there_is_unavailable(bars):
    gone = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true"}
    gone |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    gone |= {"max_retries": "0", "retry_timeout": "1s"}
    with pytest.raises(SourceUnavailable):
        Lake("s3://hourglass/lake", gone).read("bars", end=end_of(bars))
