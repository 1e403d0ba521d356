# SPDX-License-Identifier: GPL-2.0-or-later
"""
The judge of histories (colony_test/linear.py) accepts what a server can have
answered, and nothing else.
"""

import itertools
import random

import pytest

from colony_test.linear import (INFINITY, NotLinearizable, Operation, after,
                                check)


def op(kind, argument, called, returned=INFINITY, answer=None, key='k',
       client=0):
    """Short for an Operation."""
    return Operation(client, kind, key, argument, called, returned, answer)


def write(value, called, returned=INFINITY, **more):
    """Of a set."""
    return op('set', value, called, returned, b'OK', **more)


def read(value, called, returned, **more):
    """Of a get."""
    return op('get', None, called, returned, value, **more)


GOOD = {
    'nothing': [],
    'in a row': [write(b'1', 0, 1), read(b'1', 2, 3), write(b'2', 4, 5),
                 read(b'2', 6, 7)],
    'a read overlaps a write, old value': [
        write(b'1', 0, 1), write(b'2', 2, 9), read(b'1', 3, 4)],
    'a read overlaps a write, new value': [
        write(b'1', 0, 1), write(b'2', 2, 9), read(b'2', 3, 4)],
    'old value first, then new': [
        write(b'1', 0, 1), write(b'2', 2, 9), read(b'1', 3, 4),
        read(b'2', 5, 6)],
    'overlapping writes in either order': [
        write(b'1', 0, 9), write(b'2', 0, 9), read(b'2', 10, 11)],
    'an unknown write happened': [
        write(b'1', 0, 1), write(b'2', 2), read(b'1', 3, 4),
        read(b'2', 5, 6)],
    'an unknown write did not happen': [
        write(b'1', 0, 1), write(b'2', 2), read(b'1', 3, 4),
        read(b'1', 5, 6)],
    'an unknown write happened much later': [
        write(b'9', 0), write(b'1', 1, 2), read(b'1', 3, 4),
        read(b'9', 5, 6)],
    'counted': [op('incr', None, 0, 5, 2), op('incr', None, 0, 5, 1),
                read(b'2', 6, 7)],
    'counted by one whose answer never came': [
        op('incr', None, 0), op('incr', None, 1, 2, 2)],
    'exchanged': [write(b'1', 0, 1), op('getset', b'2', 2, 3, b'1'),
                  op('getset', b'3', 4, 5, b'2'), read(b'3', 6, 7)],
    'keys are independent': [
        write(b'1', 0, 1, key='x'), read(None, 2, 3, key='y')],
    'call and return at one instant overlap': [
        write(b'1', 0, 1), write(b'2', 1, 2), read(b'1', 2, 3)],
}
BAD = {
    'a lost write': [write(b'1', 0, 1), write(b'2', 2, 3), read(b'1', 4, 5)],
    'a lost first write': [write(b'1', 0, 1), read(None, 2, 3)],
    'a stale read after a new one': [
        write(b'1', 0, 1), write(b'2', 2, 9), read(b'2', 3, 4),
        read(b'1', 5, 6)],
    'a value that nobody wrote': [write(b'1', 0, 1), read(b'7', 2, 3)],
    'a value from the future': [read(b'1', 0, 1), write(b'1', 2, 3)],
    'an unknown write happened before its call': [
        read(b'1', 0, 1), write(b'1', 2)],
    'an unknown write happened twice': [
        write(b'2', 0), read(b'2', 1, 2), write(b'1', 3, 4),
        read(b'1', 5, 6), read(b'2', 7, 8)],
    'one count, two answers': [op('incr', None, 0, 5, 1),
                               op('incr', None, 0, 5, 1)],
    'a count that was skipped': [op('incr', None, 0, 1, 1),
                                 op('incr', None, 2, 3, 3)],
    'a count that was taken back': [op('incr', None, 0, 1, 1),
                                    op('incr', None, 2, 3, 2),
                                    read(b'1', 4, 5)],
    'exchanged twice for one': [
        write(b'1', 0, 1), op('getset', b'2', 2, 5, b'1'),
        op('getset', b'3', 2, 5, b'1')],
    'two readers disagree on an order': [
        write(b'1', 0, 9), write(b'2', 0, 9), read(b'1', 10, 11),
        read(b'2', 12, 13)],
    'one bad key among good ones': [
        write(b'1', 0, 1, key='x'), read(b'1', 2, 3, key='x'),
        write(b'1', 0, 1, key='y'), read(None, 2, 3, key='y')],
}


@pytest.mark.parametrize('name', GOOD)
def test_good_history_is_accepted(name):
    history = GOOD[name]
    judged, keys = check(history)
    assert judged == sum(one.known for one in history)
    assert keys == len({one.key for one in history})


@pytest.mark.parametrize('name', BAD)
def test_bad_history_is_rejected(name):
    with pytest.raises(NotLinearizable):
        check(BAD[name])


def test_initial_value_is_taken_into_account():
    history = [read(b'7', 0, 1), op('incr', None, 2, 3, 8)]
    check(history, {'k': b'7'})
    with pytest.raises(NotLinearizable):
        check(history)


def test_error_says_where_the_history_went_wrong():
    with pytest.raises(NotLinearizable) as caught:
        check([write(b'1', 0, 1), read(b'1', 2, 3), read(b'5', 4, 5)])
    assert (caught.value.key, caught.value.done) == ('k', 2)
    assert "has then the value b'1'" in str(caught.value)
    assert "get k -> b'5'" in str(caught.value)


def explained_by_some_order(history):
    """The definition, by trying all orders of all subsets."""
    unknown = [one for one in history if not one.known]
    known = [one for one in history if one.known]
    for count in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, count):
            for order in itertools.permutations(known + list(some)):
                if _is_explained_by(order):
                    return True
    return False


def _is_explained_by(order):
    value = None
    for place, one in enumerate(order):
        if any(late.returned < one.called for late in order[place + 1:]):
            return False
        result = after(one, value)
        if not result:
            return False
        value, = result
    return True


def draw(dice):
    """A short history of one key, good or bad."""
    history = []
    for number in range(dice.randint(1, 6)):
        called = dice.randrange(10)
        returned = (INFINITY if dice.random() < 0.2
                    else called + dice.randint(0, 4) + 0.5)
        kind = dice.choice(('get', 'set', 'getset', 'incr'))
        argument = b'%d' % (10 * number) if 'set' in kind else None
        answer = {'set': b'OK', 'incr': dice.choice((1, 2, 11, 21))}.get(
            kind, dice.choice((None, b'0', b'10', b'20', b'1', b'2')))
        history.append(op(kind, argument, called, returned, answer))
    return history


def test_random_histories_are_judged_by_the_definition():
    dice = random.Random(1)
    seen = {True: 0, False: 0}
    while min(seen.values()) < 200:
        history = draw(dice)
        right = explained_by_some_order(history)
        seen[right] += 1
        try:
            check(history)
            assert right, history
        except NotLinearizable:
            assert not right, history


class Server:
    """Answers operations in order; each takes effect at a random moment."""

    def __init__(self, dice):
        self._dice = dice
        self._values = {}
        self._clock = 0.0
        self.history = []

    def run(self, clients, operations, keys):
        """What @clients see who call one operation after another."""
        free = [0.0] * clients
        for number in range(operations):
            client = min(range(clients), key=free.__getitem__)
            self._clock = max(self._clock, free[client]) + 0.001
            key = f'key{self._dice.randrange(keys)}'
            kind = self._dice.choice(('get', 'set', 'getset'))
            argument = b'%d' % number if 'set' in kind else None
            answer = (b'OK' if kind == 'set' else self._values.get(key))
            if argument:
                self._values[key] = argument
            returned = self._clock + self._dice.uniform(0, 0.05)
            self.history.append(Operation(
                client, kind, key, argument,
                max(free[client], self._clock - 0.05), returned, answer))
            free[client] = returned + 1e-6


def test_long_history_is_judged_in_time():
    server = Server(random.Random(2))
    server.run(clients=64, operations=20000, keys=8)
    assert check(server.history) == (20000, 8)


@pytest.mark.parametrize('place', (10, 5000, 9990))
def test_one_stale_read_in_a_long_history_is_found(place):
    server = Server(random.Random(3))
    server.run(clients=16, operations=10000, keys=4)
    history = server.history
    last = max(one.returned for one in history[:place])
    old = next(one for one in history if one.kind == 'set')
    # Overwritten long ago, or it would be no stale read.
    history.append(Operation(99, 'get', old.key, None,
                             last + 1, last + 1.0001, old.argument))
    history.sort(key=lambda one: one.called)
    with pytest.raises(NotLinearizable):
        check(history)
