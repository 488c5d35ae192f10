"""Data and models in a bucket: what docs/scale.md shows, with an S3 server on this machine."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pandas as pd
import pytest
from conftest import commit, ran, run
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret"}
KEYS |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint():
    """The address of a server with an empty bucket, facemask."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client(address).create_bucket(Bucket="facemask")
    yield address
    server.stop()


def client(address):
    return boto3.client(
        "s3", endpoint_url=address, region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id="someone", aws_secret_access_key="secret",
    )  # fmt: skip


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def dvc(folder, *arguments):
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=os.environ | {"PATH": paths},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def add_remote(folder, endpoint):
    dvc(folder, "remote", "add", "--default", "store", "s3://facemask/store")
    dvc(folder, "remote", "modify", "store", "endpointurl", endpoint)


def test_a_second_clone_pulls_what_was_pushed_and_computes_nothing(copy, endpoint, tmp_path):
    add_remote(copy, endpoint)
    commit(copy, "store")
    assert "pushed" in dvc(copy, "push")
    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "-q", str(copy), str(other))
    dvc(other, "pull", "models/scratch_1")
    file = "models/scratch_1/model.keras"
    assert (other / file).read_bytes() == (copy / file).read_bytes()
    dvc(other, "pull", "--allow-missing")  # of pipelines that nobody has run
    assert ran(dvc(other, "repro")) == []


def test_raw_data_may_lie_in_a_bucket(copy, endpoint, voc):
    files = client(endpoint)
    for path in voc.rglob("*.*"):
        files.upload_file(str(path), "facemask", f"raw/{path.relative_to(voc).as_posix()}")
    dvc(copy, "remote", "add", "data", "s3://facemask/raw")
    dvc(copy, "remote", "modify", "data", "endpointurl", endpoint)
    dvc(copy, "import-url", "remote://data", "mine")
    dvc(copy, "exp", "run", "-S", "dataset=kaggle", "-S", "datasets.kaggle.source=mine", "parse")
    assert list(pd.read_csv(copy / "data/images.csv")["image"]) == ["a.png", "b.png", "c.png"]
    # The bucket's owner adds an image.
    for kind, suffix in (("images", "png"), ("annotations", "xml")):
        source = voc / f"{kind}/a.{suffix}"
        files.upload_file(str(source), "facemask", f"raw/{kind}/d.{suffix}")
    dvc(copy, "update", "mine.dvc")
    dvc(copy, "repro", "parse")
    assert len(pd.read_csv(copy / "data/images.csv")) == 4
