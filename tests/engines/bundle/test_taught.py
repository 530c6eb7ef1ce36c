"""With which coded recordings a bundle was taught, also one that was put together from several."""

import json

import pytest

from affectstream.engines.bundle.taught import TAUGHT, copy_taught, taught_with
from affectstream.engines.errors import BundleError

FIRST, SECOND, THIRD = ("a" * 64, "b" * 64, "c" * 64)


def bundle(folder, *files, base=(), before=0):
    """A bundle that was taught with these files; `before` recordings taught its base."""
    folder.mkdir()
    document = {
        "base": {"taught_with": before or len(base), "recordings_sha256": base},
        "lesson": {"recordings": len(files), "recordings_sha256": files},
    }
    (folder / TAUGHT).write_text(json.dumps(document))
    return folder


def test_recordings_of_the_base_count_and_each_counts_once(tmp_path):
    assert taught_with(tmp_path).count == 0
    found = taught_with(bundle(tmp_path / "again", FIRST, SECOND, base=(FIRST,)))
    assert (found.files, found.unknown, found.count) == ({FIRST, SECOND}, 0, 2)


def test_recordings_of_earlier_versions_are_counted_without_their_hashes(tmp_path):
    (tmp_path / TAUGHT).write_text('{"lesson": {"recordings": 6}, "base": {"taught_with": 2}}')
    assert (taught_with(tmp_path).files, taught_with(tmp_path).count) == (frozenset(), 8)


def test_a_merged_bundle_counts_the_recordings_of_all(tmp_path):
    parts = [
        bundle(tmp_path / "face", FIRST, SECOND),
        bundle(tmp_path / "voice", SECOND, THIRD, before=4),
        bundle(tmp_path / "words", THIRD),
    ]
    merged = tmp_path / "merged"
    merged.mkdir()
    for part in (*parts, parts[0]):  # of one bundle two modalities may be taken
        copy_taught(part, merged)
    found = taught_with(merged)
    assert (found.files, found.unknown, found.count) == ({FIRST, SECOND, THIRD}, 4, 7)
    assert len(json.loads((merged / TAUGHT).read_text())["merged"]) == 3
    copy_taught(merged, tmp_path)  # and so does what is made of it
    assert taught_with(tmp_path) == found


@pytest.mark.parametrize("text", ["{", "{}", '{"lesson": {"recordings": -1}}'])
def test_damage_is_named(tmp_path, text):
    (tmp_path / TAUGHT).write_text(text)
    with pytest.raises(BundleError, match=r"taught.json cannot be read: .*restore it, or delete"):
        taught_with(tmp_path)
