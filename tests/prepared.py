"""Prepared data sets, described as `train prepare` describes them."""

from affectstream.train.dataset import FORMAT, INFO, DatasetInfo, encode_info
from affectstream.train.describe import describe
from affectstream.train.shards import light_rows


def write_info(folder, shards, *, name="test", source="this test", crop=None):
    """Write `dataset.json` for the finished `shards` in `folder`."""
    facts = describe(light_rows([folder / shard.file for shard in shards]))
    info = DatasetInfo(
        format=FORMAT,
        name=name,
        source=source,
        licence="none",
        rows=facts.rows,
        splits=facts.splits,
        emotions=facts.emotions,
        tasks=facts.tasks,
        modalities=facts.modalities,
        participants=facts.participants,
        shared_participants=(),
        content_sha256=facts.content_sha256,
        split_sha256=facts.split_sha256,
        crop=crop,
        shards=shards,
        parameters={},
        versions={},
    )
    (folder / INFO).write_bytes(encode_info(info))
