"""The order in which views are predicted, so that their features are computed once."""

import random
from collections import OrderedDict

from tools.prediction.view_features import order_of_reuse


def misses(needs: list[list[int]], capacity: int) -> int:
    """Views that a memory of those used last has to read, tasks in the given order."""
    kept, count = OrderedDict(), 0
    for views in needs:
        for view in views:
            count += view not in kept
            kept[view] = None
            kept.move_to_end(view)
        while len(kept) > capacity:
            kept.popitem(last=False)
    return count


def scattered_row(count: int) -> list[list[int]]:
    """References of a row of cameras with their four neighbours, numbered at random as photos in a folder may be."""
    names = list(range(count))
    random.Random(1).shuffle(names)
    rows = [[names[j] for j in sorted(range(count), key=lambda j: abs(j - i))[:5]] for i in range(count)]
    return sorted(rows)


def test_every_task_comes_once():
    """Whatever the tasks share: nothing, everything, a view named twice; none at all."""
    for needs in ([], [[1]], [[1], [2], [3]], [[1, 2], [2, 1]], [[4, 4], [5, 4]], scattered_row(30)):
        for capacity in (1, 5, 100):
            assert sorted(order_of_reuse(needs, capacity)) == list(range(len(needs)))


def test_neighbours_follow_each_other():
    """Of a row in disorder hardly a view is read twice with room for eight; in the order of the names most are."""
    needs = scattered_row(60)
    ordered = [needs[i] for i in order_of_reuse(needs, 8)]
    assert misses(needs, 8) > 200
    assert misses(ordered, 8) < 75


def test_without_a_choice_the_order_stays():
    """Tasks that share nothing come in their order."""
    assert order_of_reuse([[3], [1], [2]], 4) == [0, 1, 2]
