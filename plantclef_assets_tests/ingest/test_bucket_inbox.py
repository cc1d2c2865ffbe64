"""An inbox in a bucket, against a real server: what is put there is seen, read, and delivered once."""

from pathlib import Path

import pytest

from plantclef_assets.ingest.deliveries import read_deliveries, write_delivery
from plantclef_assets.ingest.inbox import Delivery, dump_sightings, judge_inbox, load_sightings, open_inbox
from plantclef_assets.ingest.photographs import ChangedInboxError, InboxPlots, ReadingConfig
from plantclef_assets.lake.buckets import OvertakenError
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets_tests.ingest.test_inbox import photograph

pytestmark = pytest.mark.gcs
MAX_PIXELS = 10**6


def put(inbox: str, **contents: bytes) -> None:
    filesystem, root = open_filesystem(inbox)
    for name, content in contents.items():
        filesystem.pipe(f"{root}/{name}.jpg", content)


def test_what_is_put_into_a_bucket_is_taken_once(bucket: str, tmp_path: Path) -> None:
    inbox, lake = f"{bucket}/new", Lake(f"{bucket}/lake", str(tmp_path / "cache"))
    assert open_inbox(inbox)[0] == {}
    put(inbox, **{"a": photograph(1), "later/b": photograph(2), ".hidden": b"x"})
    cursor, taken = "", []
    for now in (0.0, 60.0):
        stamps, open_file = open_inbox(inbox)
        assert list(stamps) == ["a.jpg", "later/b.jpg"]
        look = judge_inbox(stamps, load_sightings(cursor), taken, open_file, now=now, settle_seconds=60)
        cursor = dump_sightings(look.sightings)
    assert [one.name for one in look.ready] == ["a.jpg", "later/b.jpg"]
    delivery = Artifact("inbox_delivery", "00")
    write_delivery(lake, Shard(delivery, {}), look.ready)
    assert read_deliveries(lake, ["00", "01"]) == {"00": look.ready}
    with pytest.raises(OvertakenError):
        write_delivery(lake, Shard(delivery, {}), [Delivery("c.jpg", 1, "0" * 32)])

    make, shard = (
        InboxPlots(lake, inbox, str(tmp_path), ReadingConfig(MAX_PIXELS)),
        Shard(Artifact("inbox_plots", "00"), {}),
    )
    make(shard)
    plots = lake.read(shard.artifact).to_pylist()
    assert {row["plot_id"]: row["data"] for row in plots} == {"a": photograph(1), "b": photograph(2)}

    before = stamps["a.jpg"]
    put(inbox, a=photograph(1))
    assert open_inbox(inbox)[0]["a.jpg"] != before, "another generation is another state, whatever its bytes"
    put(inbox, a=photograph(3))
    with pytest.raises(ChangedInboxError, match=r"a\.jpg in the inbox .* is missing or has changed"):
        make(shard)
