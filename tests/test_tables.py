import threading

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from autodropout.tables import Tables


def get(tables, key, num_bytes=10):
    return tables.get(key, num_bytes, lambda: torch.full((num_bytes,), ord(key), dtype=torch.uint8))


def test_a_table_is_built_once():
    tables = Tables()
    one = get(tables, "a")
    assert get(tables, "a") is one
    assert (tables.num_built, tables.num_bytes) == (1, 10)


def test_the_least_recently_used_goes_first_and_the_cap_holds():
    tables = Tables(cap=30, patience=0)
    one, two = get(tables, "a"), get(tables, "b")
    get(tables, "c")
    assert get(tables, "a") is one  # so b is the oldest
    get(tables, "d")
    assert tables.num_bytes == 30
    assert get(tables, "a") is one
    assert get(tables, "b") is not two


def test_a_table_in_use_is_not_given_up_for_another():
    tables = Tables(cap=20, patience=5)
    one, two = get(tables, "a"), get(tables, "b")
    assert [get(tables, "c") for _ in range(3)] == [None] * 3
    assert get(tables, "b") is two
    assert get(tables, "a") is one
    for _ in range(5):
        get(tables, "b")
    assert get(tables, "c") is not None  # nobody asked for a any longer
    assert get(tables, "b") is two
    assert tables.num_bytes == 20


def test_what_is_too_large_is_refused_and_nothing_goes_for_it():
    tables = Tables(cap=30, largest=20, patience=0)
    get(tables, "a", 20)
    assert get(tables, "b", 21) is None
    assert get(Tables(cap=5), "a") is None
    assert tables.num_built == 1


def test_maps_of_changing_size_leave_no_memory_behind():
    tables = Tables(cap=1000, patience=10)
    for number in range(2000):
        tables.get(number, 100, lambda: torch.zeros(100, dtype=torch.uint8))
    assert tables.num_bytes <= 1000
    assert tables.num_built > 100


def test_fake_tables_do_not_stay_and_inference_tables_are_ordinary():
    tables = Tables()
    with FakeTensorMode():
        get(tables, "a")
    assert (tables.num_built, tables.num_bytes) == (0, 0)
    with torch.inference_mode():
        assert not get(tables, "a").is_inference()


def test_threads_build_a_table_once():
    tables = Tables()
    threads = [threading.Thread(target=get, args=(tables, "a", 10**5)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tables.num_built == 1
