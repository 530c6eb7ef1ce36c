"""Addresses and devices: how they are opened, and what messages say of them."""

import av
import pytest

from affectstream.stream.errors import AffectstreamError, OptionError, SourceError
from affectstream.stream.live.capture import alsa, devices
from affectstream.stream.live.capture.address import SCHEMES, opening_of, redact
from affectstream.stream.live.capture.diagnosis import diagnose
from affectstream.stream.live.source import LiveOptions


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://ann:p%40ss@cam.example:8554/a?token=s3cret#x", "rtsp://cam.example:8554/a"),
        ("http://ann:pw@[::1]:80/live.flv?sig=abc", "http://[::1]:80/live.flv"),
        ("rtmp://host/live/streamkey", "rtmp://host/live/..."),
        ("udp://127.0.0.1:5600?pkt_size=1316", "udp://127.0.0.1:5600"),
        ("rtsp://ann:secret@host:notaport/x", "rtsp://..."),
        ("rtsp://ann:12/34@host/x", "rtsp://..."),  # "ann" and 12 are taken for host and port
        ("rtsp://ann:12#34@host/x", "rtsp://..."),
        ("rtsp://ann:12?34@host/x", "rtsp://..."),
        ("udp://@239.0.0.1:5600", "udp://239.0.0.1:5600"),
        ("srt://host:9000?passphrase=secret", "srt://host:9000"),
    ],
)
def test_names_hold_no_credentials(url, name):
    assert redact(url) == name


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("rtsp://ann:hunter2#2@host/x", "written %2F"),
        ("http://", "names no host"),
        ("", "--source is empty"),
    ],
)
def test_an_address_that_leads_nowhere_is_reported_without_its_password(url, message):
    with pytest.raises(AffectstreamError, match=message) as caught:
        opening_of(url)
    assert "hunter2" not in str(caught.value)


def test_no_message_repeats_a_password():
    opening = opening_of("rtsp://ann:hunter2@127.0.0.1:1/x?token=hunter2")
    with pytest.raises(ConnectionRefusedError, match="hunter2") as caught:  # which is why
        av.open(opening.url, timeout=(2, 2))
    message = diagnose(caught.value, opening, opened=False, after_s=0.1)
    assert "hunter2" not in message
    assert "refused" in message


def test_what_a_url_is_opened_with():
    assert opening_of("udp://127.0.0.1:1").format == "mpegts"
    assert opening_of("https://h/live/a.m3u8?x=1").is_paced
    assert (
        opening_of("rtsp://h/a", options={"rtsp_transport": "udp"}).options["rtsp_transport"]
        == "udp"
    )
    assert opening_of("rtmp://h/a/b", listen=True).options["listen"] == "1"
    played = opening_of("talk.mp4")
    assert played.is_paced and played.is_recording
    assert played.options["protocol_whitelist"] == "file"
    assert set(SCHEMES) == {
        "rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp",
    }  # fmt: skip


def test_what_cannot_be_opened_is_reported():
    with pytest.raises(SourceError, match=r"ffmpeg -i 'srt://HOST:PORT' -c copy -f mpegts"):
        opening_of("srt://user:pw@host:9000")
    with pytest.raises(SourceError, match=r"gopher:// is not known; expected one of rtsp"):
        opening_of("gopher://host/x")
    with pytest.raises(OptionError, match="udp:// cannot wait for a publisher"):
        opening_of("udp://127.0.0.1:1", listen=True)
    with pytest.raises(OptionError, match="nothing to open"):
        LiveOptions().openings()


def test_a_camera_that_is_not_there_is_reported_with_a_command_that_lists_cameras():
    with pytest.raises(SourceError, match=r"camera /dev/video97: not found; .*v4l2-ctl"):
        devices.camera("97")


def test_missing_sound_configuration_names_its_package(monkeypatch, tmp_path):
    monkeypatch.delenv("ALSA_CONFIG_PATH", raising=False)
    monkeypatch.setattr(alsa, "CONFIGURATION", tmp_path / "alsa.conf")
    monkeypatch.setattr(devices.sys, "platform", "linux")
    with pytest.raises(SourceError, match="apt-get install libasound2-data"):
        devices.microphone()


def test_the_microphone_takes_the_place_of_a_files_own_sound(monkeypatch):
    monkeypatch.setenv("ALSA_CONFIG_PATH", "/etc/hostname")
    pictures, sounds = LiveOptions(source="talk.mp4", mic="hw:1").openings()
    assert (pictures.wants, sounds.wants) == (("video",), ("voice",))
    assert sounds.url == "hw:1"
