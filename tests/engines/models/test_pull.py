"""Fetching public models, from a real server on loopback that serves well, badly, or not at all."""

import contextlib
import hashlib
import http.server
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are made with the package onnx")

from msgspec import structs
from typer.testing import CliRunner

from affectstream.engines import Bundle, BundleError
from affectstream.engines.bundle.folder import POCKET, read_manifest
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.bundle.swap import swap_model
from affectstream.engines.cache.home import home
from affectstream.engines.cli import application
from affectstream.engines.errors import UsageError
from affectstream.engines.manifest import FaceCrop, Measurement
from affectstream.engines.models.pull import RETRY_WAITS_S, PullError, pull_file
from affectstream.engines.models.registry import (
    MODELS_VARIABLE,
    REGISTRY_FILE,
    DetectorInput,
    PublicFaceDetector,
    model,
    models,
)
from tests.support import small_bundles

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
FEEDING = DetectorInput(320, 0.6, 0.3, "bgr", "nchw")


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under any path, or each of several by its name; `script` says what each request in
    turn gets instead."""

    def __init__(self, content=CONTENT, script=(), ranges=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.script, self.ranges = content, list(script), ranges
        self.requests = []  # (path, Range header) of each request

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/model.onnx"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        do = server.script.pop(0) if server.script else "serve"
        if isinstance(do, int):
            self.send_error(do)
        elif do == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.onnx")
            self.end_headers()
        elif do == "hang up":
            self.close_connection = True
        elif isinstance(do, bytes):
            self.wfile.write(do)
            self.close_connection = True
        elif callable(do):
            do(self)
        else:
            self.serve(cut=do == "cut")

    def serve(self, cut):
        whole = self.server.content
        if isinstance(whole, dict):
            whole = whole[self.path.removeprefix("/")]
        begin = 0
        offset = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if offset and self.server.ranges:
            begin = int(offset[1])
            if begin >= len(whole):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(whole)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(whole) - 1}/{len(whole)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(whole) - begin))
        self.end_headers()
        body = whole[begin:]
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def serve():
    running = []

    def start(**how):
        server = Server(**how)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def entry(url, content=CONTENT):
    return PublicFaceDetector(
        summary="a test",
        file="model.onnx",
        url=url,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        licence="none",
        detector=FEEDING,
    )


def left(chosen):
    """Files in the model's folder, but for the lock."""
    return sorted(p.name for p in chosen.path.parent.iterdir() if p.suffix != ".lock")


def test_a_model_is_fetched_once_and_found_again(serve):
    server = serve()
    chosen = entry(server.url)
    seen = []
    path = pull_file("m", chosen, progress=seen.append)
    assert path == chosen.path and path.read_bytes() == CONTENT
    assert seen == sorted(seen) and seen[-1] == len(CONTENT)
    assert pull_file("m", chosen) == path
    assert len(server.requests) == 1
    assert left(chosen) == ["model.onnx"]


def test_a_damaged_model_is_fetched_again(serve):
    chosen = entry(serve().url)
    pull_file("m", chosen).write_bytes(CONTENT[:-1] + b"?")
    assert pull_file("m", chosen).read_bytes() == CONTENT


def test_an_interrupted_download_continues(serve):
    server = serve(script=["cut", "cut", "serve"])
    waits = []
    assert pull_file("m", entry(server.url), wait=waits.append).read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [header for _, header in server.requests] == [
        None,
        f"bytes={half}-",
        f"bytes={half + quarter}-",
    ]
    assert waits == list(RETRY_WAITS_S[:2])


def test_a_later_process_continues_it_too(serve):
    server = serve()
    chosen = entry(server.url)
    chosen.path.parent.mkdir(parents=True)
    chosen.path.with_suffix(".part").write_bytes(CONTENT[:1000])
    assert pull_file("m", chosen).read_bytes() == CONTENT
    assert server.requests == [("/model.onnx", "bytes=1000-")]


def test_without_ranges_the_download_starts_again(serve):
    server = serve(script=["cut"], ranges=False)
    chosen = entry(server.url)
    assert pull_file("m", chosen, wait=lambda s: None).read_bytes() == CONTENT


def test_a_damaged_part_is_dropped(serve):
    server = serve()
    chosen = entry(server.url)
    chosen.path.parent.mkdir(parents=True)
    chosen.path.with_suffix(".part").write_bytes(b"?" * 1000)
    assert pull_file("m", chosen, wait=lambda s: None).read_bytes() == CONTENT
    assert [header for _, header in server.requests] == ["bytes=1000-", None]


def test_a_part_that_is_too_long_is_dropped(serve):
    server = serve()
    chosen = entry(server.url)
    chosen.path.parent.mkdir(parents=True)
    chosen.path.with_suffix(".part").write_bytes(CONTENT + b"more")
    assert pull_file("m", chosen).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_with_longer_pauses(serve):
    server = serve(script=[503, "hang up", 429])
    waits = []
    assert pull_file("m", entry(server.url), wait=waits.append).read_bytes() == CONTENT
    assert waits == sorted(waits) == list(RETRY_WAITS_S[:3])


def test_a_redirect_is_followed(serve):
    server = serve(script=["redirect"])
    assert pull_file("m", entry(server.url)).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/model.onnx", "/elsewhere.onnx"]


def redirect_to(address):
    return f"HTTP/1.1 302 Found\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("scheme", ["ftp", "https", "file", "HTTPS"])
def test_a_redirect_to_another_scheme_is_not_followed(serve, scheme):
    other = serve()
    server = serve(script=[redirect_to(f"{scheme}://127.0.0.1:{other.server_port}/m")])
    with pytest.raises(PullError, match="does not begin with http://, which is not followed"):
        pull_file("m", entry(server.url), wait=lambda s: None)
    assert other.requests == []


def test_a_redirect_to_no_address_is_an_error(serve):
    server = serve(script=[redirect_to("http://[::1/m")])
    with pytest.raises(PullError, match="cannot be reached"):
        pull_file("m", entry(server.url), wait=lambda s: None)


def drip(begin, piece):
    """Sends `begin`, then `piece` again and again until the client is gone, at most for a minute."""

    def handle(handler):
        with contextlib.suppress(OSError):
            handler.wfile.write(begin)
            for _ in range(3000):
                handler.wfile.write(piece)
                time.sleep(0.02)
        handler.close_connection = True

    return handle


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT), b"x"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["content", "header", "continue"],
)
def test_a_download_has_a_deadline(serve, begin, piece):
    server = serve(script=[drip(begin, piece)])
    with pytest.raises(PullError, match=r"did not send its 300000 bytes within .* run the command"):
        pull_file("m", entry(server.url), wait=lambda s: None, limit_s=0.3)
    assert len(server.requests) < 2


def test_the_deadline_is_for_all_attempts(serve):
    server = serve(script=[503] * 5)
    with pytest.raises(PullError, match=r"did not send its 300000 bytes within 0\.2 s"):
        pull_file("m", entry(server.url), wait=time.sleep, limit_s=0.2)
    assert len(server.requests) < 5


def test_what_a_slow_server_sent_before_the_deadline_is_kept(serve):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
    server = serve(script=[drip(head + CONTENT[:1000], b"")])
    chosen = entry(server.url)
    with pytest.raises(PullError, match="it continues there"):
        pull_file("m", chosen, limit_s=2.0)
    assert pull_file("m", chosen).read_bytes() == CONTENT
    assert [offset for _, offset in server.requests] == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 \x1b[31mEVIL\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 \x1b[31mEVIL\r\nContent-Length: 0\r\n\r\n",
        b"\x1b[31mEVIL\x9b\r\n\r\n",
        b"HTTP/1.1 99999999999999 \x1b[31mEVIL\r\n\r\n",
        redirect_to("file:///\x1b[31mEVIL"),
        redirect_to("http://127.0.0.1:\x1b[31mEVIL/"),
        redirect_to("http://[\x1b[31mEVIL/"),
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 99999999-99999999/300000\r\n\r\nx",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-1/" + b"9" * 5000 + b"\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[31m\r\n",
    ],
)
def test_nothing_raw_from_a_server_reaches_a_message(serve, answer):
    chosen = entry(serve(script=[answer] * 10).url)
    with pytest.raises(PullError) as refused:
        pull_file("m", chosen, wait=lambda s: None)
    message = str(refused.value)
    assert message.isascii() and message.isprintable() and len(message) < 800


def test_a_wrong_hash_is_refused_and_nothing_kept(serve):
    server = serve(content=b"?" * len(CONTENT))
    chosen = entry(server.url)
    with pytest.raises(PullError, match=r"has SHA-256 \w{64}, expected \w{64}: it was not kept"):
        pull_file("m", chosen)
    assert left(chosen) == []
    assert len(server.requests) == 1


def test_a_page_of_another_size_is_refused_at_once(serve):
    server = serve(content=b"<html>please log in</html>")
    with pytest.raises(PullError, match=f"has 26 bytes, expected {len(CONTENT)}"):
        pull_file("m", entry(server.url))
    assert len(server.requests) == 1


def test_not_found_is_not_asked_again(serve):
    server = serve(script=[404])
    with pytest.raises(PullError, match="answers 404") as refused:
        pull_file("m", entry(server.url))
    assert len(server.requests) == 1
    assert "by hand: download http://127.0.0.1" in str(refused.value)


def test_without_a_network_the_error_has_the_steps_by_hand(serve):
    server = serve()
    chosen = entry(server.url)
    server.shutdown()
    server.server_close()
    waits = []
    with pytest.raises(PullError, match="cannot be reached") as refused:
        pull_file("m", chosen, wait=waits.append)
    assert waits == list(RETRY_WAITS_S)
    for word in (chosen.url, chosen.sha256, str(chosen.size), "engines pull m --from FOLDER"):
        assert word in str(refused.value)


def test_an_offline_folder_is_enough(serve, tmp_path, monkeypatch):
    chosen = entry("http://127.0.0.1:9/unused")
    (tmp_path / "model.onnx").write_bytes(CONTENT)
    assert pull_file("m", chosen, folder=tmp_path).read_bytes() == CONTENT
    chosen.path.unlink()
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path))
    assert pull_file("m", chosen).read_bytes() == CONTENT
    assert (tmp_path / "model.onnx").exists()


def test_an_offline_folder_is_checked(tmp_path):
    chosen = entry("http://127.0.0.1:9/unused")
    with pytest.raises(PullError, match=r"model\.onnx is not there; by hand"):
        pull_file("m", chosen, folder=tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"?")
    with pytest.raises(PullError, match=r"is not m: its SHA-256 is"):
        pull_file("m", chosen, folder=tmp_path)
    assert left(chosen) == []


def test_a_proxy_of_the_environment_is_used(serve, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/model.onnx"))
    assert pull_file("m", entry("http://models.invalid/model.onnx")).read_bytes() == CONTENT
    assert proxy.requests == [("http://models.invalid/model.onnx", None)]


def test_two_pulls_at_once_fetch_once(serve):
    server = serve()
    chosen = entry(server.url)
    threads = [threading.Thread(target=pull_file, args=("m", chosen)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chosen.path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_an_unwritable_home_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("AFFECTSTREAM_HOME", str(tmp_path / "file"))
    with pytest.raises(PullError, match="cannot hold m"):
        pull_file("m", entry("http://127.0.0.1:9/unused"))


def test_the_registry_is_complete():
    assert {"yunet", "yunet-dynamic"} <= models().keys()
    for name, listed in models().items():
        part = getattr(listed.put_into(read_manifest(POCKET), name).engines, listed.role)
        assert (part.model, part.sha256, part.file) == (name, listed.sha256, listed.file)
        assert listed.url.startswith("https://") and listed.licence and listed.summary
    with pytest.raises(UsageError, match="not in the registry: choose from yunet, yunet-dynamic"):
        model("yolo")


def test_the_command_lists_and_refuses():
    shown = CliRunner().invoke(application, ["pull", "--list"])
    assert shown.exit_code == 0
    for listed in models().values():
        assert listed.url in shown.output and listed.sha256 in shown.output
    assert isinstance(CliRunner().invoke(application, ["pull", "yolo"]).exception, UsageError)


def test_a_bundle_that_takes_a_model_names_the_command_where_it_is_missing(tmp_path):
    folder = tmp_path / "bundle"
    manifest = swap_model(folder, "yunet", model("yunet"), "pocket")
    assert manifest.name == "pocket+yunet"
    assert not [result for result in manifest.results if result.part == "face_detector"]
    assert "face_detector: MIT" in manifest.licences.weights
    card = (folder / "CARD.md").read_text()
    assert card.startswith("# Card of the bundle `pocket+yunet`")
    assert "| face_detector | yunet | 8f2383e4dd3cfbb4553ea871810" in card
    assert "recall at IoU 0.5" not in card and "| face_encoder | fer2013 valid | accuracy" in card
    with (
        pytest.raises(
            BundleError, match=r"yunet, which was not pulled yet: affectstream engines pull yu"
        ),
        Bundle.open(folder),
    ):
        pass


def test_a_model_that_was_changed_in_its_place_is_found(tmp_path):
    folder = tmp_path / "bundle"
    swap_model(folder, "yunet", model("yunet"), "pocket")
    model("yunet").path.parent.mkdir(parents=True)
    model("yunet").path.write_bytes(b"?")
    with (
        pytest.raises(BundleError, match=r"was changed.*fetch it again: affectstream engines pull"),
        Bundle.open(folder),
    ):
        pass


@pytest.mark.parametrize("name", ["pocket", "./pocket", str(POCKET)])
def test_the_bundle_of_the_package_is_not_changed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    before = (POCKET / "bundle.json").read_bytes()
    for there in (False, True):
        with pytest.raises(UsageError, match="'pocket' always means the bundle in the package"):
            swap_model(Path(name), "yunet", model("yunet"), "pocket")
        assert [path.name for path in tmp_path.rglob("*")] == ["pocket"] * there
        (tmp_path / "pocket").mkdir(exist_ok=True)
    assert (POCKET / "bundle.json").read_bytes() == before


def test_a_folder_that_is_no_bundle_stays_as_it_is(tmp_path):
    with pytest.raises(BundleError, match=r"has no bundle\.json: it is not a bundle"):
        swap_model(tmp_path, "yunet", model("yunet"), "pocket")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match=r"cannot be written: .*nothing was changed"):
        swap_model(tmp_path / "file" / "x", "yunet", model("yunet"), "pocket")

    def full(manifest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("affectstream.engines.bundle.swap.encode_manifest", full)
    with pytest.raises(BundleError, match="No space left on device; nothing was changed"):
        swap_model(tmp_path / "bundle", "yunet", model("yunet"), "pocket")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_bundle_without_faces_has_no_place_for_a_detector(tmp_path):
    import json
    import shutil

    folder = Path(shutil.copytree(POCKET, tmp_path / "bundle"))
    raw = json.loads((folder / "bundle.json").read_text())
    for role in ("face_detector", "face_geometry", "face_encoder"):
        del raw["engines"][role]
    del raw["crop"]
    (folder / "bundle.json").write_text(json.dumps(raw))
    with pytest.raises(BundleError, match="has no face_detector that yunet could replace"):
        swap_model(folder, "yunet", model("yunet"), "pocket")


# --- encoders, which their own makers describe ---


@pytest.fixture
def theirs(tmp_path):
    """A bundle with other encoders than those of `plain`: larger pictures, longer utterances."""
    template = tuple((2 * x, 2 * y) for x, y in small_bundles.FACE.template)
    crop = FaceCrop(size=96, template=template)
    return small_bundles.plain(tmp_path / "theirs", crop=crop, max_tokens=9)


def describe(listed, role, folder, url, more=""):
    """Write a `models.toml` in `listed` that tells of an encoder in `folder`."""

    def file(name):
        content = (folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return (
            f'file = "{name}"\nurl = "{url}/{name}"\nsha256 = "{digest}"\nsize = {len(content)}\n'
        )

    listed.mkdir(exist_ok=True)
    text = f'[mine]\nrole = "{role}"\nsummary = "a test"\nlicence = "MIT"\n' + file(f"{role}.onnx")
    if role == "text_encoder":
        text += 'max_tokens = 9\nlanguages = ["de"]\n[mine.tokenizer]\n' + file("tokenizer.json")
    if role == "face_encoder":
        template = [[2 * x, 2 * y] for x, y in small_bundles.FACE.template]
        text += f"[mine.crop]\nsize = 96\ntemplate = {template}\n"
    (listed / REGISTRY_FILE).write_text(text + more)


@pytest.mark.parametrize("role", ["face_encoder", "voice_encoder", "text_encoder"])
def test_an_own_encoder_takes_its_role(role, theirs, serve, tmp_path, monkeypatch):
    server = serve(content={path.name: path.read_bytes() for path in theirs.iterdir()})
    describe(tmp_path / "listed", role, theirs, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "listed"))
    base = small_bundles.plain(tmp_path / "base")
    measured = [
        Measurement(part, "a test", "accuracy", 0.5, 10)
        for part in (*ENCODER_ROLES.values(), "all")
    ]
    small_bundles.rewrite(base, results=tuple(measured))
    arguments = ["pull", "mine", "--into", str(tmp_path / "new"), "--bundle", str(base)]
    done = CliRunner().invoke(application, arguments)
    assert done.exit_code == 0, done.output
    with Bundle.open(tmp_path / "new") as bundle:
        manifest = bundle.manifest
        assert getattr(manifest.engines, role).model == "mine"
        shapes = {n: spec.shape for n, spec in bundle.engines[role].inputs.items()}
        if role == "face_encoder":
            assert manifest.crop.size == 96 and shapes == {"pixels": ("N", 96, 96, 3)}
        if role == "text_encoder":
            assert manifest.languages == ("de",) and shapes["ids"] == ("N", 9)
            assert bundle.tokenizer.encode("yes no").ids == [4, 5]
    assert not {role, "all"} & {result.part for result in manifest.results}
    assert len(manifest.results) == 2
    assert f"| {role} | mine | " in (tmp_path / "new" / "CARD.md").read_text()
    # The encoder is named, not copied: without it the bundle says what to do.
    (home() / "models").rename(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"public model mine, .*: affectstream engines pull mine"):
        read_manifest(tmp_path / "new")


def test_a_tokenizer_that_is_missing_is_fetched_again(theirs, serve, tmp_path, monkeypatch):
    server = serve(content={path.name: path.read_bytes() for path in theirs.iterdir()})
    describe(tmp_path / "listed", "text_encoder", theirs, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "listed"))
    assert CliRunner().invoke(application, ["pull", "mine"]).exit_code == 0
    model("mine").tokenizer.path.unlink()
    assert "mine  [not pulled]" in CliRunner().invoke(application, ["pull", "--list"]).output
    assert CliRunner().invoke(application, ["pull", "mine"]).exit_code == 0
    requests = [path for path, _ in server.requests]
    assert requests == ["/text_encoder.onnx", "/tokenizer.json", "/tokenizer.json"]


@pytest.mark.parametrize(
    ("role", "file", "reason"),
    [
        (
            "voice_encoder",
            POCKET / "voice_encoder.onnx",
            "embeddings have 192 numbers, the head takes 1",
        ),
        ("voice_encoder", None, r"does not fit: .*voice_encoder needs samples \(N, 16000\), found"),
        (
            "text_encoder",
            POCKET / "text_encoder.onnx",
            "embeddings have 128 numbers, the head takes 1",
        ),
        ("face_encoder", POCKET / "fusion.onnx", "does not fit: .*face_encoder needs embedding"),
        ("face_encoder", POCKET / "CARD.md", "does not fit: .*face_encoder.onnx"),
    ],
    ids=["width", "window", "width-text", "no-encoder", "no-graph"],
)
def test_an_encoder_that_does_not_fit_is_refused(theirs, tmp_path, role, file, reason):
    if file is None:
        longer = small_bundles.plain(tmp_path / "longer", span=(2_000_000, 500_000, 4))
        file = longer / "voice_encoder.onnx"
    (theirs / f"{role}.onnx").write_bytes(file.read_bytes())
    describe(theirs, role, theirs, "https://example.org")
    base = small_bundles.plain(tmp_path / "base")
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    arguments = ["pull", "mine", "--from", str(theirs), "--into"]
    for folder in (base, tmp_path / "new"):
        done = CliRunner().invoke(application, [*arguments, str(folder), "--bundle", str(base)])
        assert isinstance(done.exception, BundleError), done.output
        assert re.search(reason, str(done.exception)), done.exception
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_bundle_of_members_names_them(tmp_path):
    members = [small_bundles.plain(tmp_path / "both" / name) for name in ("first", "second")]
    both = small_bundles.compound(tmp_path / "both", members, [0.5, 0.5])
    with pytest.raises(
        BundleError, match=r"has no face_detector .* members have their own: .*first"
    ):
        swap_model(both, "yunet", model("yunet"), "pocket")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("voice_encoder", "hand_encoder"), "Invalid value 'hand_encoder' - at `.*role`"),
        (('licence = "MIT"\n', ""), "missing required field `licence`"),
        (("[mine]", "[yunet]"), "yunet is the name of a public model"),
        (("[mine]", "[mine"), "is not a list of models"),
        (("[mine]", "x = " + "[" * 3000 + "]" * 3000 + "\n[mine]"), "is not a list of models"),
        (("[mine]", "x = " + "9" * 5000 + "\n[mine]"), "is not a list of models"),
        *(
            (("https://example.org/voice_encoder.onnx", url), "url .*: expected such as https://")
            for url in (
                "file:///etc/passwd",
                "http://127.0.0.1/a b",
                "http://127.0.0.1/\\r\\nX: y",
                "http://127.0.0.1/x\\n",
                "http://127.0.0.1:99999/x",
                "http://[::1/x",
                "http:///x",
                "http://me:secret@127.0.0.1/x",
                "http://127.0.0.1/é",
            )
        ),
        (("voice_encoder.onnx", "../voice_encoder.onnx"), "file"),
        (("voice_encoder.onnx", "voice_encoder.onnx\\n"), "file"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[1][:30],
)
def test_errors_of_an_own_list_name_the_file(theirs, tmp_path, change, reason):
    describe(tmp_path, "voice_encoder", theirs, "https://example.org")
    path = tmp_path / REGISTRY_FILE
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UsageError, match=reason) as refused:
        models(tmp_path)
    assert str(path) in str(refused.value)


def test_an_own_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / REGISTRY_FILE).write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="is not a list of models"):
        models(tmp_path)


def test_a_model_with_weights_in_another_file_is_not_put_into_a_bundle(theirs, tmp_path):
    graph = onnx.load(str(theirs / "voice_encoder.onnx"))
    tensor = graph.graph.initializer.add(name="unused", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/dev/zero")
    (theirs / "voice_encoder.onnx").write_bytes(graph.SerializeToString())
    describe(theirs, "voice_encoder", theirs, "https://example.org")
    base = small_bundles.plain(tmp_path / "base")
    arguments = ["pull", "mine", "--from", str(theirs), "--into", str(tmp_path / "new")]
    done = CliRunner().invoke(application, [*arguments, "--bundle", str(base)])
    assert isinstance(done.exception, BundleError)
    assert "mine does not fit: " in str(done.exception) and "keeps weights" in str(done.exception)
    assert not (tmp_path / "new").exists()


def test_a_list_with_a_huge_size_is_an_error(serve):
    chosen = structs.replace(entry(serve().url), size=1 << 80)
    with pytest.raises(PullError, match="has 300000 bytes"):
        pull_file("m", chosen)


def test_the_card_names_every_model_once(theirs, tmp_path):
    folder = tmp_path / "new"
    base = small_bundles.plain(tmp_path / "base")
    (base / "CARD.md").write_text("# Card of the bundle `base`\n")
    for role in ("voice_encoder", "text_encoder", "text_encoder"):
        describe(theirs, role, theirs, "https://example.org")
        chosen = model("mine", theirs)
        for file in chosen.files:
            pull_file("mine", file, folder=theirs)
        assert swap_model(folder, "mine", chosen, base).name == "base+mine"
    card = (folder / "CARD.md").read_text()
    assert card.startswith("# Card of the bundle `base+mine` 0.1.0")
    for line in (
        "# Card of the bundle `base`\n",
        "| voice_encoder | mine |",
        "| text_encoder | mine |",
    ):
        assert card.count(line) == 1


@pytest.mark.data
def test_the_real_yunet_scores_a_recording(data_root, tmp_path):
    from affectstream.stream import Recognizer, SourceOptions

    folder = tmp_path / "mine"
    arguments = ["pull", "yunet-dynamic", "--from", str(data_root / "models"), "--into"]
    done = CliRunner().invoke(application, [*arguments, str(folder)])
    assert done.exit_code == 0, done.output
    part = read_manifest(folder).engines.face_detector
    assert part is not None and part.model == "yunet-dynamic"
    options = SourceOptions(end_us=3_000_000)
    with Recognizer.open(folder) as recognizer:
        result = recognizer.score(data_root / "video/talking_1.mp4", options)
    tracks = set(result.readings["track"].to_pylist())
    assert tracks - {None}, "YuNet finds the face of a talking head"
    # And back to another: the first one's traces do not stay.
    again = swap_model(folder, "yunet", model("yunet"), "pocket")
    assert again.name == "pocket+yunet"
    assert again.licences.weights.count("face_detector") == 1


def test_the_command_prints_a_bundle_that_can_be_given_back(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    detector = (POCKET / "face_detector.onnx").read_bytes()
    chosen = entry(serve(content=detector).url, detector)
    monkeypatch.setattr("affectstream.engines.models.registry.model", lambda name, folder: chosen)
    done = CliRunner().invoke(application, ["pull", "yunet", "--into", "mine"])
    assert done.exit_code == 0, done.output
    given = done.output.split("--bundle ")[1].strip()
    assert given == "./mine"
    assert read_manifest(Path(given)).name == "pocket+yunet"
