"""Files that are written completely or not at all."""

import os

import pytest

from affectstream.engines.cache.atomic import write_atomic


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_or_a_device_is_refused_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe; expected a file"):
        write_atomic(tmp_path / "pipe", b"text")
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1
    write_atomic(tmp_path / "file", b"old")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
