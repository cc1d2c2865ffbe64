import threading
from itertools import count, islice
from time import sleep

from plantclef_assets.models.prefetch import chunks, prefetch


def test_results_come_in_the_order_of_the_items():
    prepared = prefetch(range(20), lambda item: item**2, threads=3, ahead=5)
    assert [(item, future.result()) for item, future in prepared] == [(item, item**2) for item in range(20)]


def test_results_are_there_after_the_stream_has_ended():
    prepared = list(prefetch(range(20), lambda item: sleep(0.001) or -item, threads=2, ahead=8))
    assert [future.result() for _, future in prepared] == [-item for item in range(20)]


def test_an_endless_stream_is_read_only_as_far_as_needed_and_threads_end():
    read = []

    def items():
        for item in count():
            read.append(item)
            yield item

    before = threading.active_count()
    stream = prefetch(items(), str, threads=2, ahead=4)
    assert [item for item, _ in islice(stream, 3)] == [0, 1, 2]
    assert len(read) == 6
    stream.close()
    assert threading.active_count() == before


def test_chunks_have_the_size_asked_for_but_the_last():
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunks([], 2)) == []
