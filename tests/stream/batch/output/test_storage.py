"""Results on an object store, and a batch on a Ray cluster."""

import copy
import os
import socket
import sys
import threading
from types import SimpleNamespace

import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.choose import Choice
from affectstream.stream import OptionError, OutputError, Recognizer, SourceOptions
from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.storage import FolderStorage, ObjectStorage, storage_at
from affectstream.stream.batch.plan.find import find_tasks
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.batch.run import BatchOptions, score_batch
from affectstream.stream.batch.workers import cluster
from affectstream.stream.batch.workers.worker import Settings
from affectstream.stream.summary.files import SUMMARY_FILES
from tests.stream.batch.test_run import contents, status
from tests.support.command import run_command
from tests.support.media import Muxing, write_video


def fetched(url, folder):
    """A copy in `folder` of what lies at `url`."""
    storage = ObjectStorage(url)
    storage._files.get(storage._root, str(folder), recursive=True)
    return folder


def test_an_object_store_gets_what_a_folder_gets_and_the_same_command_goes_on(
    damaged, tmp_path, bucket, capsys
):
    line = ("score", damaged, "--workers", 1, "-f", "jsonl,parquet,vtt", "-o")
    assert run_command(*line, tmp_path / "out") == 3
    assert run_command(*line, bucket) == 3
    copy = fetched(bucket, tmp_path / "copy")
    assert contents(copy) == contents(tmp_path / "out")
    assert status(copy) == status(tmp_path / "out")
    assert not list(copy.rglob(".*"))
    capsys.readouterr()
    ObjectStorage(bucket)._files.rm_file(f"{bucket}/one.srt/run.json")
    assert run_command(*line, bucket) == 3
    assert "4 of 5 recordings are scored already" in capsys.readouterr().err
    assert contents(fetched(bucket, tmp_path / "again")) == contents(tmp_path / "out")


@pytest.mark.parametrize("formats", ["jsonl,parquet,report", "jsonl,parquet"])
def test_an_object_store_gets_the_summary_of_a_folder(talks, tmp_path, bucket, formats):
    line = ("score", talks, "--workers", 1, "-f", formats, "-o")
    assert run_command(*line, tmp_path / "study") == 0
    assert run_command(*line, bucket) == 0
    copy = fetched(bucket, tmp_path / "copy")
    for name in SUMMARY_FILES:
        ours, theirs = tmp_path / "study" / name, copy / name
        assert ours.read_bytes() == theirs.read_bytes(), name
    for folder in ("day1/two.srt", "day1/three.vtt"):
        for path in (copy / folder).iterdir():
            ObjectStorage(bucket)._files.rm_file(f"{bucket}/{folder}/{path.name}")
    assert run_command("score", talks / "one.srt", *line[2:], bucket) == 0
    assert not [p.name for p in fetched(bucket, tmp_path / "one").iterdir() if "summary" in p.name]


def test_run_json_is_sent_last_and_removed_first(talks, tmp_path, bucket):
    storage = ObjectStorage(bucket)
    for name in ("run.json", "events.jsonl", "old.txt"):
        storage._files.pipe_file(f"{bucket}/one.srt/{name}", b"{}")
    sent = []
    files = storage._files
    for method in ("pipe_file", "rm_file"):
        whole = getattr(files, method)

        def record(path, *rest, whole=whole, method=method):
            sent.append((method, path.rpartition("/")[2]))
            return whole(path, *rest)

        setattr(files, method, record)
    new = tmp_path / "new/one.srt"
    new.mkdir(parents=True)
    for name in ("run.json", "events.jsonl", ".lock"):
        (new / name).touch()
    storage.publish(tmp_path / "new", "one.srt")
    assert sent[0] == ("rm_file", "run.json") and sent[-1] == ("pipe_file", "run.json")
    assert ("pipe_file", ".lock") not in sent
    left = {path.rpartition("/")[2] for path in files.find(f"{bucket}/one.srt")}
    assert left == {"run.json", "events.jsonl"}


def test_a_store_that_does_not_answer_is_named(talks, bucket, capsys):
    assert run_command("score", talks / "one.srt", "-o", "s3://nowhere/study") == 4
    assert "cannot write s3://nowhere/study" in " ".join(capsys.readouterr().err.split())


def test_addresses(tmp_path):
    (tmp_path / "table.csv").touch()
    with pytest.raises(OutputError, match=r"table\.csv: it is a file; expected a folder"):
        storage_at(tmp_path / "table.csv")
    assert storage_at("a/b").local == storage_at("file://a/b").local
    assert isinstance(storage_at("a"), FolderStorage)
    pytest.importorskip("fsspec")
    with pytest.raises(OptionError, match="expected a folder, or an address"):
        storage_at("xyz://bucket")


# --- Ray ---


@pytest.fixture
def ray(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # A local cluster would switch tokens on for the whole process; the server behind `ray://` ignores that.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return pytest.importorskip("ray", reason="the 'cluster' extra is not installed")


@pytest.mark.slow
def test_a_local_cluster_writes_what_processes_write(damaged, tmp_path, ray):
    line = ("score", damaged, "-f", "jsonl,parquet,vtt")
    assert run_command(*line, "--workers", 1, "-o", tmp_path / "one") == 3
    assert run_command(*line, "--workers", 2, "--cluster", "local", "-o", tmp_path / "out") == 3
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


class FakeRay:
    """A cluster of one node with eight cores, which keeps what each task asked for."""

    def __init__(self):
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.asked, self.gpus = {}, {}
        self._options = {}

    def init(self, *address, **options):
        pass

    def shutdown(self):
        pass

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 8.0}}]

    def cluster_resources(self):
        return {"CPU": 8.0}

    def put(self, value):
        return value

    def remote(self, *function, **options):
        if not function:
            return lambda function: self
        task, settings, *_ = function
        self.asked[task.name] = (self._options["num_cpus"], settings.ranges)
        self.gpus[task.name] = self._options["num_gpus"]
        return task.name

    def options(self, **options):
        one = copy.copy(self)
        one._options = options
        return one

    def wait(self, running, **options):
        return running[:1], running[1:]

    def get(self, name):
        return Outcome(name, "complete")


@pytest.mark.parametrize(
    ("device", "asked", "gpus"), [("cpu", (4, 1), (0, 0)), ("cuda:0", (4, 1), (1.0, 0.25))]
)
def test_only_long_recordings_reserve_several_cores(
    talks, tmp_path, monkeypatch, device, asked, gpus
):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    names = ("one.srt", "day1/two.srt")
    tasks = [Task(talks / name, name, SourceOptions()) for name in names]
    settings = Settings(POCKET, Choice(device, ""), 1, 1, str(tmp_path), ("jsonl",), ())
    how = {"processes": 1, "chosen": False, "retry_failed": False}
    found = cluster.score_on_cluster(
        list(zip(tasks, (600.0, 30.0), strict=True)), settings, "auto", **how
    )
    assert [one.name for one in found] == ["one.srt", "day1/two.srt"]
    assert fake.asked == dict(zip(names, zip(asked, asked, strict=True), strict=True))
    assert tuple(fake.gpus.values()) == gpus


@pytest.mark.slow
def test_a_task_shares_a_long_recording_among_the_cores_of_its_node(tmp_path, ray, monkeypatch):
    """Ranges have 20 s or more, so a recording of 48 s has two."""
    muxing = Muxing(video_options={"g": "24"})
    write_video(tmp_path / "long.mp4", 48 * 12, rate=12, muxing=muxing)
    used = []
    results = cluster._results

    def record(ray, jobs, settings, retry_failed):
        used.extend(ranges for _, ranges in jobs)
        return results(ray, jobs, settings, retry_failed)

    monkeypatch.setattr(cluster, "_results", record)
    line = ("score", tmp_path / "long.mp4", "-f", "jsonl,parquet,vtt")
    assert run_command(*line, "--workers", 1, "-o", tmp_path / "one") == 0
    assert run_command(*line, "--workers", 2, "--cluster", "local", "-o", tmp_path / "two") == 0
    assert used == [2]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_a_cluster_is_reached_by_its_address(talks, tmp_path, ray):
    """``ray://``, which needs more packages than Ray itself."""
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "ray_client_server_port": port}
    )
    line = ("score", talks, "-f", "jsonl,parquet,vtt")
    try:
        address = ("--cluster", f"ray://127.0.0.1:{port}")
        assert run_command(*line, *address, "-o", tmp_path / "out") == 0
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert run_command(*line, "--workers", 1, "-o", tmp_path / "one") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


@pytest.mark.slow
def test_a_node_that_dies_loses_and_doubles_nothing(damaged, tmp_path, ray):
    """Two nodes; one is killed while it scores. Ray gives its recordings to the other one."""
    from ray.cluster_utils import Cluster

    for number in range(6):
        write_video(damaged / f"video{number}.mp4", 60)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = nodes.add_node(num_cpus=1)
    output = tmp_path / "out"
    killed = threading.Event()

    def kill():
        while len(status(output)) < 2 and not killed.wait(0.05):
            pass
        nodes.remove_node(node, allow_graceful=False)
        killed.set()

    try:
        with Recognizer.open(threads=1) as recognizer:
            tasks = find_tasks([damaged], SourceOptions())
            how = BatchOptions(("jsonl", "parquet", "vtt"), progress=False, workers=1)
            undisturbed = score_batch(recognizer, tasks, FolderStorage(tmp_path / "one"), how)
            killer = threading.Thread(target=kill)
            killer.start()
            on_ray = BatchOptions(how.formats, progress=False, cluster=nodes.address)
            result = score_batch(recognizer, tasks, FolderStorage(output), on_ray)
            assert killed.is_set()
            killer.join()
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert [one.name for one in result.outcomes] == [one.name for one in undisturbed.outcomes]
    assert [one.status for one in result.outcomes] == [one.status for one in undisturbed.outcomes]
    assert contents(output) == contents(tmp_path / "one")
    assert os.path.lexists(output / "failures.csv")
