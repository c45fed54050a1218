"""Whatever a client does, in whatever order: the store in memory agrees with a few dicts."""

EMPTY = (set(), set(), set())


def test_any_sequence_of_calls_agrees_with_dicts_and_leaves_nothing(store, run_any_sequence):
    run_any_sequence(store.client(), examples=15, steps=30)

    store.run(store.core.collector.collect())
    usage = store.run(store.catalog.usage())
    assert store.remains == EMPTY
    assert (usage.buckets, usage.objects, usage.uploads, usage.doomed_blobs) == (0, 0, 0, 0)
    assert store.reported == []
