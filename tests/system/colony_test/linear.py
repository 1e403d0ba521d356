# SPDX-License-Identifier: GPL-2.0-or-later
"""
Is a history linearizable: could what many clients were answered have come
from one server that did one operation after another, each at some moment
between its call and its return?

Keys are independent of each other, so each key's history is judged alone
[Horn and Kroening, "Faster linearizability checking via P-compositionality"].
For a key the search is that of Wing and Gong, as Lowe improved it: take the
calls in order, undo the last choice where none is left, and never try again
what was tried: the same set of operations done, with the same value.

An operation whose answer never came may have happened at any time after its
call, or not at all.
"""

import collections
import dataclasses
import itertools

INFINITY = float('inf')


@dataclasses.dataclass(frozen=True)
class Operation:
    """
    client    who called
    kind      get, set, getset or incr
    key
    argument  of set and getset
    called    when
    returned  when; INFINITY: never
    answer    None for a key that is not there; not looked at if it never came
    """

    client: int
    kind: str
    key: str
    argument: bytes
    called: float
    returned: float = INFINITY
    answer: object = None

    @property
    def known(self):
        """Whether an answer came."""
        return self.returned != INFINITY

    def __str__(self):
        words = ' '.join(str(word) for word in
                         (self.kind, self.key, self.argument)
                         if word is not None)
        answer = repr(self.answer) if self.known else '?'
        return (f'{self.called:.6f} to {self.returned:.6f}, client '
                f'{self.client}: {words} -> {answer}')


class NotLinearizable(AssertionError):
    """
    No order explains the history of a key.

    key   the key
    done  how many of its answers the best attempt explains
    """

    def __init__(self, key, total, done, stuck, value):
        self.key = key
        self.done = done
        lines = '\n'.join(f'    {operation}' for operation in stuck)
        super().__init__(
            f'{key}: no order explains the answers of {total} operations. '
            f'The best attempt explains {done}, has then the value {value!r} '
            f'and can go on with none of:\n{lines}')


def after(operation, value):
    """
    What a server with @value answers and has then; None if that is not what
    it answered.
    """
    if operation.kind == 'get':
        answer = value
    elif operation.kind == 'set':
        answer, value = b'OK', operation.argument
    elif operation.kind == 'getset':
        answer, value = value, operation.argument
    elif operation.kind == 'incr':
        answer = int(value or 0) + 1
        value = b'%d' % answer
    else:
        raise ValueError(f'{operation.kind}: no such kind of operation')
    if operation.known and operation.answer != answer:
        return None
    return (value,)


def check(history, initial=None):
    """
    Raise NotLinearizable unless the Operations of @history can be explained
    by a server that began with @initial, key -> value.  How many answers of
    how many keys were judged.
    """
    keys = collections.defaultdict(list)
    for operation in history:
        keys[operation.key].append(operation)
    initial = initial or {}
    for key, operations in keys.items():
        _check_key(key, operations, initial.get(key))
    return sum(operation.known for operation in history), len(keys)


class _Event:
    """A call or a return, in a list ordered by time."""

    __slots__ = ('operation', 'bit', 'match', 'before', 'behind')

    def __init__(self, operation, bit):
        self.operation = operation
        self.bit = bit          # of a call
        self.match = None       # the return of a call, if it came
        self.before = self.behind = None


def _events(operations):
    """The list; its first element stands before all events."""
    moments = []
    ordered = sorted(operations, key=lambda one: one.called)
    for number, operation in enumerate(ordered):
        call = _Event(operation, 1 << number)
        # At the same instant calls come first: the two overlap.
        moments.append((operation.called, 0, number, call))
        if operation.known:
            call.match = _Event(operation, 0)
            moments.append((operation.returned, 1, number, call.match))
    head = last = _Event(None, 0)
    for *_, event in sorted(moments, key=lambda moment: moment[:3]):
        last.behind, event.before = event, last
        last = event
    return head


def _lift(event):
    """Take a call and its return out of the list."""
    for one in filter(None, (event, event.match)):
        one.before.behind = one.behind
        if one.behind:
            one.behind.before = one.before


def _unlift(event):
    """Put them back: the exact opposite."""
    for one in filter(None, (event.match, event)):
        one.before.behind = one
        if one.behind:
            one.behind.before = one


def _state(done, value):
    """
    What was done, a bit for each operation in the order of their calls, and
    the value; small, because all but the newest were done.
    """
    first = (~done & (done + 1)).bit_length() - 1
    return first, done >> first, value


def _check_key(key, operations, value):
    head = _events(operations)
    answers = sum(operation.known for operation in operations)
    done = explained = 0
    chosen = []                 # what was done, with the value before it
    tried = set()
    best = (-1, None, None)
    event = head.behind
    while explained < answers:
        if event is not None and event.bit:
            result = after(event.operation, value)
            state = result and _state(done | event.bit, *result)
            if state and state not in tried:
                tried.add(state)
                chosen.append((event, value))
                done |= event.bit
                value, = result
                explained += event.operation.known
                _lift(event)
                event = head.behind
            else:
                event = event.behind
            continue
        # A return, or the end: whatever was called before it was tried.
        if explained > best[0]:
            best = (explained, _open_calls(head), value)
        if not chosen:
            raise NotLinearizable(key, len(operations), *best)
        event, value = chosen.pop()
        done &= ~event.bit
        explained -= event.operation.known
        _unlift(event)
        event = event.behind


def _open_calls(head):
    """The calls before the first return: one of them would have to be next."""
    event = head.behind
    calls = []
    while event is not None and event.bit:
        calls.append(event.operation)
        event = event.behind
    return list(itertools.islice(calls, 20))
