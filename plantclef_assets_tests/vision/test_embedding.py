import threading
from itertools import count, islice

import numpy as np
import pytest

from plantclef_assets.vision.data_config import eval_transform
from plantclef_assets.vision.decoding import EMPTY, UndecodableImage, decode_image
from plantclef_assets.vision.embedding import embed_views
from plantclef_assets.vision.resizing import resize_tile
from plantclef_assets.vision.tiling import tile_boxes

from .pictures import encoded, picture


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


def test_the_features_of_different_pictures_differ(one_by_one):
    assert len(np.unique(one_by_one[0], axis=0)) == len(PHOTOGRAPHS)


def test_the_model_always_sees_the_same_shape(small_backbone, monkeypatch):
    shapes = set()
    forward = small_backbone.forward

    def recording(pixels):
        shapes.add(tuple(pixels.shape))
        return forward(pixels)

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
