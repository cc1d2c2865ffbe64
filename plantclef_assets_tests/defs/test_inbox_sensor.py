"""The sensor of the inbox: what it takes is whole and new, is taken once, and is run until it is done."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import DefaultSensorStatus

from plantclef_assets.definitions import build_defs
from plantclef_assets.defs import inbox_sensor as sensors
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.inboxes import SETTLED_AT_ONCE, Sensor, grow, put_photograph, requested_keys
from plantclef_assets_tests.tiny import tiny_settings

Ask = Callable[..., Settings]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tiny_survey: Path, tmp_path: Path, inbox: Path) -> Ask:
    def ask(**changes: object) -> Settings:
        values = {"inbox": str(inbox), "inbox_shards": 3, "inbox_settle_seconds": SETTLED_AT_ONCE} | changes
        return tiny_settings(tiny_survey, tmp_path / "lake", **values)

    return ask


def delivered(settings: Settings, key: str) -> list[str]:
    return Lake(settings.lake).read(Artifact("inbox_delivery", key)).column("source").to_pylist()


def pretend_done(settings: Settings, key: str) -> None:
    path = Path(settings.lake, "inbox_cover", f"{key}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_sensor_is_off_until_somebody_switches_it_on(settings: Ask) -> None:
    (found,) = (one for one in build_defs(settings()).sensors or [] if one.name == "inbox_sensor")
    assert found.name == "inbox_sensor"
    assert found.default_status == DefaultSensorStatus.STOPPED
    assert found.minimum_interval_seconds == 30
    assert "inbox_sensor" not in {one.name for one in build_defs(settings(inbox=None)).sensors or []}


def test_what_arrives_together_is_one_shard_and_one_run(settings: Ask, inbox: Path) -> None:
    put_photograph(inbox / "b" / "B-1.jpg", 1)
    put_photograph(inbox / "A-1.jpg", 2)
    (inbox / "README.txt").write_text("no photograph")
    sensor = Sensor(settings())
    first = sensor.tick()
    assert (requested_keys(first), first.skip_message) == ([], "Nothing new.")
    second = sensor.tick()
    assert requested_keys(second) == ["00"]
    assert delivered(settings(), "00") == ["A-1.jpg", "b/B-1.jpg"]
    record = Lake(settings().lake).record(Artifact("inbox_delivery", "00"))
    assert record is not None
    (request,) = second.run_requests or []
    assert request.run_key == f"00-{record.fingerprint}"
    sensor.tick()
    assert sensor.cursor == "{}", "of what is in the lake nothing has to be remembered"


def test_a_file_that_still_grows_is_waited_for(settings: Ask, inbox: Path) -> None:
    content = put_photograph(inbox / "whole.jpg", 1).read_bytes()
    grow(inbox / "growing.jpg", (put_photograph(inbox.parent / "other.jpg", 2)).read_bytes(), 0.3)
    sensor = Sensor(settings())
    sensor.tick()
    grow(inbox / "growing.jpg", (inbox.parent / "other.jpg").read_bytes(), 0.6)
    assert requested_keys(sensor.tick()) == ["00"]
    assert delivered(settings(), "00") == ["whole.jpg"]
    stopped = sensor.tick()  # an upload that broke off no longer changes, and is no photograph yet
    assert requested_keys(stopped) == ["00"]
    assert not Lake(settings().lake).exists(Artifact("inbox_delivery", "01"))
    pretend_done(settings(), "00")
    assert (sensor.tick().skip_message or "").startswith("growing.jpg: truncated")
    grow(inbox / "growing.jpg", (inbox.parent / "other.jpg").read_bytes(), 1)
    assert sensor.requested() == ["01"]
    assert delivered(settings(), "01") == ["growing.jpg"]
    assert (inbox / "whole.jpg").read_bytes() == content


def test_what_is_not_taken_is_told_and_thumbnails_are_not(settings: Ask, inbox: Path) -> None:
    for name in ("IMG_1.HEIC", "later/more.zip", "rest.tar", "@eaDir/A-1.jpg/SYNOPHOTO_THUMB_XL.jpg", "list.csv"):
        (inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_bytes(b"x")
    sensor = Sensor(settings())
    said = sensor.tick().skip_message or ""
    assert "IMG_1.HEIC: a HEIC picture, which is not read; convert it to JPEG, for example with `heif-convert" in said
    assert "later/more.zip: a packed archive" in said
    assert "rest.tar: an archive, which is not opened in an inbox" in said
    assert "SYNOPHOTO" not in said
    assert "list.csv" not in said
    put_photograph(inbox / "win\\dir\\B-1.jfif", 1)
    put_photograph(inbox / " cafe\u0301.jpg", 2)
    put_photograph(inbox / "IMG_1.JPG.jpg", 3)
    sensor.tick()
    assert requested_keys(sensor.tick()) == ["00"]
    table = Lake(settings().lake).read(Artifact("inbox_delivery", "00"))
    assert table.column("plot_id").to_pylist() == ["B-1", "IMG_1.JPG", "caf\u00e9"]


def test_a_name_that_is_not_utf_8_is_told_and_stops_nothing(settings: Ask, inbox: Path) -> None:
    put_photograph(inbox / "A-1.jpg", 1)
    try:
        put_photograph(inbox / os.fsdecode(b"caf\xe9.jpg"), 2)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    sensor = Sensor(settings())
    assert sensor.requested() == ["00"]
    assert delivered(settings(), "00") == ["A-1.jpg"]
    pretend_done(settings(), "00")
    assert sensor.tick().skip_message == "caf\\xe9.jpg: its name is not UTF-8; rename it."


def test_a_double_delivery_is_not_taken_again(settings: Ask, inbox: Path) -> None:
    content = put_photograph(inbox / "A-1.jpg", 1).read_bytes()
    sensor = Sensor(settings())
    assert sensor.requested() == ["00"]
    pretend_done(settings(), "00")
    (inbox / "A-1.jpg").unlink()
    sensor.tick()
    (inbox / "A-1.jpg").write_bytes(content)
    (inbox / "copy of A-1.jpg").write_bytes(content)
    for forgetful in (sensor, Sensor(settings())):  # also where Dagster's database was lost
        assert forgetful.requested() == []
    assert not Lake(settings().lake).exists(Artifact("inbox_delivery", "01"))


def test_another_photograph_of_a_plot_that_there_is_needs_another_name(settings: Ask, inbox: Path) -> None:
    put_photograph(inbox / "A-1.jpg", 1)
    put_photograph(inbox / "later" / "A-1.png", 2)
    sensor = Sensor(settings())
    assert sensor.requested() == ["00"]
    assert delivered(settings(), "00") == ["A-1.jpg"]
    pretend_done(settings(), "00")
    said = "later/A-1.png: plot A-1 already has another photograph (A-1.jpg); rename this one."
    assert sensor.tick().skip_message == said
    (inbox / "later" / "A-1.png").rename(inbox / "A-2.png")
    assert sensor.requested() == ["01"]


def test_a_photograph_of_the_survey_is_not_delivered(own_lake: Ask, inbox: Path) -> None:
    settings = own_lake(inbox=str(inbox), inbox_settle_seconds=SETTLED_AT_ONCE)
    known = Path(settings.plot_images or "", "PLOT-2-20240501.jpg").read_bytes()
    (inbox / "renamed.jpg").write_bytes(known)
    put_photograph(inbox / "PLOT-1-20240501.jpg", 5)
    put_photograph(inbox / "NEW-1.jpg", 6)
    sensor = Sensor(settings)
    assert sensor.requested() == ["00"]
    assert delivered(settings, "00") == ["NEW-1.jpg"]
    pretend_done(settings, "00")
    said = sensor.tick().skip_message or ""
    assert "renamed.jpg: it is the photograph of plot PLOT-2-20240501 of the survey." in said
    assert "PLOT-1-20240501.jpg: plot PLOT-1-20240501 already has another photograph (in the survey)" in said


def test_a_delivery_whose_run_was_never_asked_for_is_asked_for_again(
    settings: Ask, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_photograph(inbox / "A-1.jpg", 1)
    sensor = Sensor(settings())
    sensor.tick()
    with monkeypatch.context() as patch:
        patch.setattr(sensors, "_request", lambda lake, key: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sensor.tick()
    assert delivered(settings(), "00") == ["A-1.jpg"]
    one, another = sensor.tick(), sensor.tick()
    assert requested_keys(one) == ["00"]
    assert [request.run_key for request in one.run_requests or []] == [
        request.run_key for request in another.run_requests or []
    ], "Dagster runs it once"
    assert not Lake(settings().lake).exists(Artifact("inbox_delivery", "01"))
    pretend_done(settings(), "00")
    assert requested_keys(sensor.tick()) == []


def test_where_the_reserve_is_used_up_a_greater_one_takes_what_waits(settings: Ask, inbox: Path) -> None:
    few = settings(inbox_shards=1)
    sensor = Sensor(few)
    put_photograph(inbox / "A-1.jpg", 1)
    assert sensor.requested() == ["00"]
    pretend_done(few, "00")
    before = Path(few.lake, "inbox_delivery", "00.parquet").read_bytes()
    put_photograph(inbox / "A-2.jpg", 2)
    sensor.tick()
    for _ in range(2):
        said = sensor.tick().skip_message or ""
        assert said.startswith("PLANTCLEF_INBOX_SHARDS: all 1 shards of the inbox are taken, and 1 photographs wait")
    many = Sensor(settings(inbox_shards=200))
    assert many.requested() == ["01"]
    assert Path(few.lake, "inbox_delivery", "00.parquet").read_bytes() == before


def test_nothing_is_taken_before_all_that_came_together_was_read(
    settings: Ask, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        put_photograph(inbox / f"A-{number}.jpg", number)
    sensor = Sensor(settings())
    sensor.tick()
    with monkeypatch.context() as patch:
        patch.setattr(sensors, "_READING_SECONDS", -1.0)
        assert sensor.tick().skip_message == "3 photographs are still to be read."
    assert requested_keys(sensor.tick()) == ["00"]
    assert len(delivered(settings(), "00")) == 3


def test_of_two_sensors_one_takes_a_key(settings: Ask, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_photograph(inbox / "A-1.jpg", 1)
    one, another = Sensor(settings()), Sensor(settings())
    one.tick()
    another.tick()
    before = sensors.read_deliveries(Lake(settings().lake), ["00", "01"])
    assert requested_keys(one.tick()) == ["00"]
    taken = Path(settings().lake, "inbox_delivery", "00.parquet").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(sensors, "read_deliveries", lambda lake, keys: before)
        put_photograph(inbox / "A-2.jpg", 2)
        another.tick()
        assert requested_keys(another.tick()) == ["00"]
    assert Path(settings().lake, "inbox_delivery", "00.parquet").read_bytes() == taken
    assert not [path for path in Path(settings().lake, "inbox_delivery").iterdir() if path.suffix != ".parquet"]


def test_an_inbox_that_is_gone_is_said(settings: Ask, inbox: Path) -> None:
    sensor = Sensor(settings())
    inbox.rmdir()
    assert (sensor.tick().skip_message or "").startswith(f"PLANTCLEF_INBOX: '{inbox}' cannot be listed: ")


def test_a_cursor_that_cannot_be_read_only_costs_time(settings: Ask, inbox: Path) -> None:
    put_photograph(inbox / "A-1.jpg", 1)
    os.utime(inbox / "A-1.jpg")
    sensor = Sensor(settings())
    sensor.cursor = '{"A-1.jpg": 7}'
    assert sensor.requested() == ["00"]
