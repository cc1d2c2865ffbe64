import threading
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch

from plantclef_assets.images.decoding import EMPTY, UndecodableImage, decode_image
from plantclef_assets.images.resizing import resize_tile
from plantclef_assets.images.tiling import TileConfig, tile_boxes
from plantclef_assets.lake.schemas import BASE_TILE_EMBEDDINGS, FINETUNED_TILE_EMBEDDINGS, PLOT_IMAGES, VALIDATION_PLOTS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models import embedding
from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.data_config import eval_transform
from plantclef_assets.models.device_batches import DeviceBatch
from plantclef_assets.models.device_resizing import DividedTransform
from plantclef_assets.models.embedding import EmbeddedTiles, Embedding, embed_views
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets_tests.images.pictures import encoded, picture


def photograph_views(data):
    return [decode_image(data)]


PHOTOGRAPHS = [encoded(picture(140, 126 + seed, seed), "JPEG") for seed in range(11)]


@pytest.fixture(scope="module")
def one_by_one(small_backbone):
    """The features of each photograph, embedded alone."""
    transform = eval_transform(small_backbone.info.data_config)
    rows = [small_backbone.forward(transform(photograph_views(data)[0])[None]) for data in PHOTOGRAPHS]
    return [np.concatenate([row[part].numpy() for row in rows]) for part in (0, 1)]


@pytest.mark.parametrize("torch_threads", [1, 2])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (2, 3), (4, 2), (11, 1), (16, 4), (32, 2)])
def test_features_are_bit_equal_however_they_are_batched(
    small_backbone, one_by_one, set_torch_threads, torch_threads, batch_size, threads
):
    set_torch_threads(torch_threads)
    stream = embed_views(small_backbone, PHOTOGRAPHS, photograph_views, batch_size=batch_size, threads=threads)
    embedded = list(stream)
    assert [e.item for e in embedded] == PHOTOGRAPHS
    cls, dct = np.concatenate([e.cls for e in embedded]), np.concatenate([e.dct for e in embedded])
    assert cls.dtype == dct.dtype == np.float32
    assert np.array_equal(cls, one_by_one[0])
    assert np.array_equal(dct, one_by_one[1])


@pytest.mark.parametrize("torch_threads", [1, 2])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (3, 2), (11, 1), (16, 4)])
def test_cls_alone_is_bit_equal_too(small_backbone, one_by_one, set_torch_threads, torch_threads, batch_size, threads):
    set_torch_threads(torch_threads)
    options = {"batch_size": batch_size, "threads": threads, "dct": False}
    embedded = list(embed_views(small_backbone, PHOTOGRAPHS, photograph_views, **options))
    assert np.array_equal(np.concatenate([e.cls for e in embedded]), one_by_one[0])
    assert {e.dct.shape for e in embedded} == {(1, 0)}


def test_what_the_device_transforms_has_the_same_features(small_backbone, monkeypatch):
    """Squares of several sizes and oblong pictures share batches; the device's half is done on the CPU."""
    pictures = [picture(side, side + (side % 2), side) for side in (126, 128, 131, 128, 60, 131, 126)]
    options = {"batch_size": 3, "threads": 2}
    expected = list(embed_views(small_backbone, pictures, lambda image: [image], **options))
    made = []

    def divided(config, _device):
        made.append(DividedTransform(config, torch.device("cuda")))
        return made[-1]

    monkeypatch.setattr(embedding, "DividedTransform", divided)
    embedded = list(embed_views(small_backbone, pictures, lambda image: [image], **options))
    assert {made[0].prepare(image).finished for image in pictures} == {True, False}
    for ours, theirs in zip(embedded, expected, strict=True):
        assert np.array_equal(ours.cls, theirs.cls)
        assert np.array_equal(ours.dct, theirs.dct)


class Cramped(Backbone):
    """A backbone whose device has room for few pictures."""

    room = 3

    def forward(self, pixels, *, dct=True):
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(pixels, dct=dct)


@pytest.fixture
def cramped(small_weights):
    whole = load_backbone(SMALL_VIT, small_weights)
    return Cramped(whole.model, whole.info, whole.device, whole.precision)


def test_out_of_memory_halves_the_batches_and_goes_on(cramped, one_by_one):
    lines, failed = [], []
    items = [*PHOTOGRAPHS[:5], b"", *PHOTOGRAPHS[5:]]
    options = {"batch_size": 8, "threads": 2, "log": lines.append}
    undecodable = lambda item, error: failed.append(item)  # noqa: E731
    embedded = list(embed_views(cramped, items, photograph_views, on_undecodable=undecodable, **options))
    assert [e.item for e in embedded] == PHOTOGRAPHS
    assert failed == [b""]
    assert np.array_equal(np.concatenate([e.cls for e in embedded]), one_by_one[0])
    assert np.array_equal(np.concatenate([e.dct for e in embedded]), one_by_one[1])
    assert lines == [
        "The device has no room for batches of 8 pictures; continuing with 4.",
        "The device has no room for batches of 4 pictures; continuing with 2.",
    ]
    assert len(list(embed_views(cramped, PHOTOGRAPHS, photograph_views, **options))) == len(PHOTOGRAPHS)
    assert len(lines) == 2  # the next stream begins with what is known to fit


def test_no_room_for_one_picture_is_said_clearly(cramped):
    cramped.room = 0
    with pytest.raises(
        torch.OutOfMemoryError, match=r"single picture of 126 × 126 px.*PLANTCLEF_BATCH_SIZE.*input size"
    ):
        list(embed_views(cramped, PHOTOGRAPHS[:3], photograph_views, batch_size=2))


def test_features_are_fetched_when_the_next_batch_is_under_way(small_backbone, one_by_one, monkeypatch):
    """The schedule of CUDA, without CUDA: pinned memory and events are stood in for."""
    steps = []

    class Overlapping(DeviceBatch):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._overlaps = True

    class Event:
        def record(self, _stream):
            steps.append("launch")

        def synchronize(self):
            steps.append("fetch")

    empty = torch.empty
    monkeypatch.setattr(embedding, "DeviceBatch", Overlapping)
    monkeypatch.setattr(torch, "empty", lambda *sizes, pin_memory, **options: empty(*sizes, **options))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    embedded = list(embed_views(small_backbone, PHOTOGRAPHS[:5], photograph_views, batch_size=2))
    assert [e.item for e in embedded] == PHOTOGRAPHS[:5]
    assert np.array_equal(np.concatenate([e.cls for e in embedded]), one_by_one[0][:5])
    assert steps == ["launch", "launch", "fetch", "launch", "fetch", "fetch"]


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device: run on a machine with an NVIDIA GPU"
)
@pytest.mark.parametrize("dct", [True, False])
def test_on_cuda_the_features_are_those_of_the_cpu(small_weights, one_by_one, dct):
    backbone = load_backbone(SMALL_VIT, small_weights, device="cuda", precision="fp32")
    embedded = list(embed_views(backbone, PHOTOGRAPHS, photograph_views, batch_size=2, dct=dct))
    assert [e.item for e in embedded] == PHOTOGRAPHS
    cls = np.concatenate([e.cls for e in embedded])
    assert np.abs(cls - one_by_one[0]).max() <= 1e-4 * np.abs(one_by_one[0]).max()


def test_the_features_of_different_pictures_differ(one_by_one):
    assert len(np.unique(one_by_one[0], axis=0)) == len(PHOTOGRAPHS)


def test_the_model_always_sees_the_same_shape(small_backbone, monkeypatch):
    shapes = set()
    forward = small_backbone.forward

    def recording(pixels, **options):
        shapes.add(tuple(pixels.shape))
        return forward(pixels, **options)

    monkeypatch.setattr(small_backbone, "forward", recording)
    assert len(list(embed_views(small_backbone, PHOTOGRAPHS[:5], photograph_views, batch_size=4))) == 5
    assert shapes == {(4, 3, 126, 126)}


def test_the_tiles_of_a_plot_come_from_one_decode_and_batches_span_plots(small_backbone):
    decodes = []
    tilings = ("full", "2x3")

    def plot_views(plot):
        decodes.append(plot)
        image = decode_image(plot[1])
        return [resize_tile(image, tile, 64) for tiling in tilings for tile in tile_boxes(*image.size, tiling)]

    plots = [("a", encoded(picture(200, 180, 1), "PNG")), ("b", encoded(picture(90, 120, 2), "PNG"))]
    embedded = list(embed_views(small_backbone, plots, plot_views, batch_size=4))
    assert decodes == plots
    assert [(e.item, e.cls.shape, e.dct.shape) for e in embedded] == [(p, (7, 192), (7, 64)) for p in plots]
    transform = eval_transform(small_backbone.info.data_config)
    whole = picture(90, 120, 2)
    for row, tile in enumerate([*tile_boxes(90, 120, "full"), *tile_boxes(90, 120, "2x3")]):
        expected = small_backbone.forward(transform(resize_tile(whole, tile, 64))[None])[0][0].numpy()
        assert np.array_equal(embedded[1].cls[row], expected)


def test_a_bad_image_is_reported_and_the_others_go_on(small_backbone, one_by_one):
    items = [(0, PHOTOGRAPHS[0]), (1, b""), (2, PHOTOGRAPHS[2]), (3, PHOTOGRAPHS[3][:500]), (4, PHOTOGRAPHS[4])]
    failed = []
    embedded = list(
        embed_views(
            small_backbone,
            items,
            lambda item: photograph_views(item[1]),
            batch_size=2,
            on_undecodable=lambda item, error: failed.append((item[0], error.reason)),
        )
    )
    assert failed == [(1, EMPTY), (3, "truncated")]
    assert [e.item[0] for e in embedded] == [0, 2, 4]
    assert np.array_equal(np.concatenate([e.cls for e in embedded]), one_by_one[0][[0, 2, 4]])


def test_without_a_listener_a_bad_image_is_raised(small_backbone):
    with pytest.raises(UndecodableImage, match="empty"):
        list(embed_views(small_backbone, [b""], photograph_views))


def test_other_errors_are_raised(small_backbone):
    def broken(_item):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(embed_views(small_backbone, [1], broken, on_undecodable=lambda *_: None))


def test_an_item_may_have_no_views(small_backbone):
    items = [[], [picture(20, 20)], []]
    shapes = [e.cls.shape for e in embed_views(small_backbone, items, lambda item: item)]
    assert shapes == [(0, 192), (1, 192), (0, 192)]


def test_an_endless_stream_is_read_only_as_far_as_needed_and_threads_end(small_backbone):
    taken = []
    before = threading.active_count()

    def endless():
        for number in count():
            taken.append(number)
            yield number

    stream = embed_views(small_backbone, endless(), lambda _: [picture(20, 20)], batch_size=2, threads=2)
    assert [e.item for e in islice(stream, 4)] == [0, 1, 2, 3]
    assert len(taken) <= 4 + 2 * 2 + 1
    stream.close()
    assert threading.active_count() == before


def test_an_error_of_the_stream_itself_is_raised_after_what_came_before(small_backbone):
    def breaking():
        yield from range(6)
        raise ConnectionError("the source broke off")

    before = threading.active_count()
    embedded = []
    with pytest.raises(ConnectionError, match="broke off"):
        for one in embed_views(small_backbone, breaking(), lambda _: [picture(20, 20)], batch_size=1, threads=1):
            embedded.append(one.item)
    assert embedded == [0, 1, 2, 3, 4]
    assert threading.active_count() == before


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"threads": 0}])
def test_impossible_sizes_are_refused(small_backbone, wrong):
    with pytest.raises(ValueError, match="at least 1"):
        list(embed_views(small_backbone, [], photograph_views, **wrong))


SIZES = {"a": (200, 180), "b": (90, 120)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with two plots."""
    lake = Lake(str(tmp_path))
    with write_shard(lake, Shard(Artifact("plot_images", "00"), {}), PLOT_IMAGES) as table:
        for seed, (plot, (width, height)) in enumerate(SIZES.items()):
            data = encoded(picture(width, height, seed), "PNG")
            table.add([{"plot_id": plot, "width": width, "height": height, "data": data}])
            table.rows_in += 1
    return lake


def embed(lake, backbone, tilings, spec=BASE_TILE_EMBEDDINGS, asset="base_tile_embeddings", source="plot_images"):
    """Give the rows of the shard, and how many pictures the model was shown."""
    shown = []
    embedding = Embedding(backbone, batch_size=4, threads=1, advance=shown.append)
    EmbeddedTiles(lake, embedding, spec, source, TileConfig(tuple(tilings), 64, 10**6))(
        Shard(Artifact(asset, "00"), {})
    )
    return lake.read(Artifact(asset, "00")).to_pylist(), sum(shown)


def test_tiles_that_several_tilings_share_are_embedded_once(lake, small_backbone):
    rows, shown = embed(lake, small_backbone, ["3x3", "1x1+2x2+3x3", "full", "w5000s2500"])
    assert shown == 2 * 14
    assert len(rows) == 2 * (9 + 14 + 1 + 1)
    by_box = {}
    for row in rows:
        by_box.setdefault((row["plot_id"], row["x"], row["y"], row["width"], row["height"]), []).append(row)
    assert len(by_box) == 2 * 14
    for same in by_box.values():
        assert len({tuple(row["cls"]) for row in same}) == len({tuple(row["dct"]) for row in same}) == 1
    assert len({tuple(row["cls"]) for row in rows}) == 2 * 14


def test_the_features_of_a_tile_do_not_depend_on_the_tilings_beside_it(lake, small_backbone):
    alone = {name: embed(lake, small_backbone, [name])[0] for name in ("3x3", "2x2", "w100s60")}
    together, _ = embed(lake, small_backbone, ["1x1+3x3", "3x3", "2x2+full", "w100s60", "2x2"])
    for tiling, expected in alone.items():
        rows = [row for row in together if row["tiling"] == tiling]
        assert rows == expected


def test_plots_of_another_asset_are_embedded_alike(lake, small_backbone):
    plots = [row | {"species_ids": [1], "objects": []} for row in lake.read(Artifact("plot_images", "00")).to_pylist()]
    with write_shard(lake, Shard(Artifact("validation_plots", "00"), {}), VALIDATION_PLOTS) as table:
        table.add(plots)
    tilings = ["2x2", "full"]
    surveyed = embed(lake, small_backbone, tilings)
    of_validation = "base_validation_tile_embeddings"
    assert embed(lake, small_backbone, tilings, asset=of_validation, source="validation_plots") == surveyed
    assert lake.exists(Artifact(of_validation, "00"))


def test_shared_tiles_without_dct(lake, small_backbone):
    rows, shown = embed(
        lake, small_backbone, ["full", "1x1+2x1"], FINETUNED_TILE_EMBEDDINGS, "finetuned_tile_embeddings"
    )
    assert (len(rows), shown) == (8, 6)
    assert np.array_equal(rows[0]["cls"], rows[1]["cls"])


def test_every_plot_has_the_windows_of_its_size(lake, small_backbone):
    rows, _ = embed(lake, small_backbone, ["w100s50"])
    assert [(row["plot_id"], row["tile_index"], row["x"], row["y"]) for row in rows] == [
        *(("a", index, x, y) for index, (y, x) in enumerate((y, x) for y in (0, 50, 80) for x in (0, 50, 100))),
        ("b", 0, 0, 0),
        ("b", 1, 0, 20),
    ]
