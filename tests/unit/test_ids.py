import re

from core.ids import new_id


def test_an_id_is_its_kind_and_128_random_bits():
    assert re.fullmatch(r"mem_[0-9a-f]{32}", new_id("mem"))


def test_ids_fit_the_columns_they_are_stored_in():
    assert len(new_id("store")) <= 40
    assert len(new_id("lease")) <= 40


def test_ids_do_not_repeat():
    assert len({new_id("mem") for _ in range(20_000)}) == 20_000


def test_ids_say_nothing_of_their_order():
    made = [new_id("mem") for _ in range(200)]
    assert made not in (sorted(made), sorted(made, reverse=True))
