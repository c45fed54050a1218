"""Numbers for Prometheus."""

import asyncio

import pytest

from strongroom import errors
from strongroom.server import metrics
from strongroom.store import records


def scrape(counted):
    return asyncio.run(counted.scrape()).decode()


def test_requests_are_counted_by_operation_and_class_of_status():
    counted = metrics.Metrics()
    for status in (200, 206, 404):
        counted.begin()
        counted.finish("GetObject", status, 0.003, 5, 7)

    text = scrape(counted)

    assert 'strongroom_requests_total{operation="GetObject",status="2xx"} 2.0' in text
    assert 'strongroom_requests_total{operation="GetObject",status="4xx"} 1.0' in text
    assert "strongroom_received_bytes_total 15.0" in text
    assert "strongroom_sent_bytes_total 21.0" in text
    assert "strongroom_requests_in_flight 0.0" in text
    assert 'le="0.005",operation="GetObject"} 3.0' in text


def test_a_request_that_was_never_answered_has_no_class():
    counted = metrics.Metrics()
    counted.begin()
    counted.finish("", 0, 1, 0, 0)

    assert 'strongroom_requests_total{operation="none",status="none"} 1.0' in scrape(counted)


def test_the_store_is_asked_at_each_scrape():
    counted = metrics.Metrics()
    totals = iter((records.Usage(1, 2, 3, 4), records.Usage(5, 6, 7, 8)))

    async def usage():
        return next(totals)

    counted.usage = usage

    assert "strongroom_objects 2.0" in scrape(counted)
    assert "strongroom_doomed_blobs 8.0" in scrape(counted)


def test_a_store_that_does_not_answer_fails_the_scrape():
    counted = metrics.Metrics()

    async def usage():
        raise errors.StoreFailed

    counted.usage = usage

    with pytest.raises(errors.StoreFailed):
        scrape(counted)


def test_two_servers_in_one_process_count_apart():
    one, other = metrics.Metrics(), metrics.Metrics()
    one.begin()
    one.finish("X", 200, 0, 0, 0)

    assert "strongroom_requests_total{" not in scrape(other)
    assert "strongroom_build_info{" in scrape(other)
