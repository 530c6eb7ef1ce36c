"""A server of this machine that speaks S3."""

import secrets

import pytest


@pytest.fixture
def bucket(monkeypatch):
    """The address of a bucket on a server of this machine that speaks S3."""
    pytest.importorskip("s3fs", reason="the 's3' extra is not installed")
    server = pytest.importorskip("moto.server", reason="moto serves S3 in this test")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    serving = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    serving.start()
    host, port = serving.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = (
        f"results-{secrets.token_hex(4)}"  # the server keeps buckets as long as the process lives
    )
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}/study"
    s3fs.S3FileSystem.clear_instance_cache()
    serving.stop()
