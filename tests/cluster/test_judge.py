# SPDX-License-Identifier: GPL-2.0-or-later
"""
The judge notices each broken promise, in tapes made up for that.
"""

import struct
from types import SimpleNamespace

import pytest

from colony_cluster import judge
from colony_cluster.events import Event
from colony_cluster.tapes import (HEADER, INPUT, ROLE, TAKEN, Entry, Fate,
                                  Tapes, Voice)


def write(path, form, records, counter=0):
    """A tape."""
    form = struct.Struct(form)
    path.write_bytes(HEADER.pack(b'APUSTAPE', form.size, len(records),
                                 counter) +
                     b''.join(form.pack(*record) for record in records))


class Story:
    """Two members, of which 1 led in term 1 and 2 in term 2."""

    def __init__(self, folder):
        self.folder = folder
        log = [Entry(1, 1, 100, 11, 0, ROLE, 48),
               Entry(2, 1, 200, 12, 0, INPUT, 64),
               Entry(3, 2, 101, 13, 0, ROLE, 48),
               Entry(4, 2, 201, 14, 0, INPUT, 64)]
        self.entries = {1: log[:3], 2: list(log)}
        self.fates = {1: [Fate(2, 200, 0, INPUT, 1)],
                      2: [Fate(4, 201, 0, INPUT, 1)]}
        self.submitted = {1: 1, 2: 1}
        self.voices = {1: [Voice(1, 10, 50, 5)], 2: [Voice(2, 60, 90, 5)]}
        self.events = {1: ['5 state state=leader term=1',
                           '5 role index=1 term=1 leader=1 secondary=0',
                           '60 role index=3 term=2 leader=2 secondary=0'],
                       2: ['58 state state=leader term=2']}
        self.code = {1: 0, 2: 0}

    def judge(self, **options):
        """Have it judged."""
        runs = []
        for number in 1, 2:
            folder = self.folder / str(number)
            folder.mkdir()
            write(folder / 'entries', 'QQQQQII', self.entries[number])
            write(folder / 'fates', 'QQQII', self.fates[number],
                  self.submitted[number])
            write(folder / 'voices', 'QQQQ', self.voices[number])
            events = [Event.parse(line) for line in self.events[number]]
            runs.append(SimpleNamespace(
                name=f'run-{number}', tapes=Tapes(folder), stopped=True,
                killed=False, member=SimpleNamespace(number=number),
                events=SimpleNamespace(all=events, tail=lambda: ''),
                process=SimpleNamespace(
                    poll=lambda code=self.code[number]: code)))
        return judge.check(runs, **options)


@pytest.fixture
def story(tmp_path):
    """One without an offence."""
    return Story(tmp_path)


def refused(story, text):
    """The judge says so."""
    with pytest.raises(judge.Broken, match=text):
        story.judge()


def test_nothing_is_wrong(story):
    assert story.judge() == (4, 2, 0, 2)


def test_state_may_be_taken_over(story):
    story.entries[2][0:3] = [Entry(3, 0, 0, 13, 0, TAKEN, 0)]
    story.judge()


def test_entry_differs(story):
    story.entries[2][1] = Entry(2, 1, 999, 12, 0, INPUT, 64)
    refused(story, 'was delivered .* at 2')


def test_state_differs(story):
    story.entries[2][1] = Entry(2, 1, 200, 99, 0, INPUT, 64)
    refused(story, 'behind 2 the states')


def test_state_was_taken_over_wrongly(story):
    story.entries[2][0:3] = [Entry(3, 0, 0, 99, 0, TAKEN, 0)]
    refused(story, 'behind 3 the states')


def test_entry_is_left_out(story):
    del story.entries[2][1]
    refused(story, 'was delivered 3 after 1')


def test_entry_comes_twice(story):
    story.entries[2].insert(1, story.entries[2][1])
    refused(story, 'was delivered 2 after 2')


def test_submission_is_there_twice(story):
    story.entries[2].append(Entry(5, 2, 200, 15, 0, INPUT, 64))
    refused(story, '2 and 5 are the same submission')


def test_acknowledged_submission_is_lost(story):
    del story.entries[2][3]
    refused(story, '4 was acknowledged to run-2 and is lost')


def test_last_acknowledged_submission_is_not_delivered_yet(story):
    del story.entries[2][3]
    story.judge(running=True)


def test_acknowledged_submission_is_another(story):
    story.fates[2][0] = Fate(4, 999, 0, INPUT, 1)
    refused(story, 'at 4, .* another entry')


def test_one_place_is_acknowledged_twice(story):
    story.fates[2].append(story.fates[2][0])
    story.submitted[2] = 2
    refused(story, 'one place twice')


def test_submission_has_no_fate(story):
    story.submitted[1] = 2
    refused(story, 'made 2 submissions and was told 1')


def test_terms_go_back(story):
    for number in 1, 2:
        story.entries[number][2] = Entry(3, 0, 101, 13, 0, ROLE, 48)
    refused(story, '3 is of term 0')


def test_term_begins_without_a_role(story):
    for number in 1, 2:
        story.entries[number][2] = Entry(3, 2, 101, 13, 0, INPUT, 48)
    refused(story, 'term 2 begins with kind 1')


def test_two_lead_in_a_term(story):
    story.events[2].append('70 state state=elected term=1')
    refused(story, 'two led in term 1')


def test_two_roles_in_a_term(story):
    story.events[1].append('70 role index=5 term=2 leader=1 secondary=0')
    refused(story, 'two led in term 2')


def test_two_voices_in_a_term(story):
    story.voices[2].append(Voice(1, 95, 96, 1))
    refused(story, 'could both speak in term 1')


def test_two_voices_at_a_time(story):
    story.voices[1][0] = Voice(1, 10, 61, 5)
    refused(story, 'run-1 could speak in term 1')


def test_member_crashed(story):
    story.code[2] = -11
    refused(story, 'run-2 ended with -11')


def test_member_failed(story):
    story.events[1].append('70 failed disk on fire')
    refused(story, 'run-1: .* failed')
