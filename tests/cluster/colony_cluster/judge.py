# SPDX-License-Identifier: GPL-2.0-or-later
"""
What must be true of all that the members of a group have written down and
told, whatever happened to them.

  - What was delivered at an index is the same everywhere, and so is the state
    of the VM behind it; nothing is delivered twice or left out in between.
  - Every submission that was acknowledged is in it, where it was said to be.
  - Each is there once.
  - In each term at most one member leads; terms never go back in the log, and
    begin with the leader's ROLE.
  - Once a member could speak in a newer term, none can in an older one.
  - Every submission of a process that was not killed has a fate, and one.
"""

import collections

from .tapes import INPUT, ROLE, SKIPPED, SYNC, TAKEN

Findings = collections.namedtuple(
    'Findings', 'entries acknowledged unknown terms')


class Broken(AssertionError):
    """A promise was not kept."""


def check(runs, expect_failed=(), running=False):
    """
    Judge the @runs, all that there were of a group.  @running: what was
    acknowledged last may not have been delivered yet.
    """
    log = _Log()
    for run in runs:
        log.add(run)
    log.check_order()
    acknowledged, unknown = _check_fates(runs, log, running)
    leaders = _leaders(runs)
    _check_voices(runs)
    _check_events(runs, expect_failed)
    return Findings(len(log.at), acknowledged, unknown, len(leaders))


class _Log:
    """The order that was agreed on, put together from what was delivered."""

    def __init__(self):
        self.at = {}            # index -> (what, who said so)
        self.chains = {}        # likewise

    def add(self, run):
        """What @run was delivered."""
        before = 0
        for entry in run.tapes.entries():
            if entry.kind not in (TAKEN, SKIPPED):
                if entry.index != before + 1:
                    raise Broken(f'{run.name} was delivered {entry.index} '
                                 f'after {before}')
                self._entry(run, entry)
            before = entry.index
            if entry.chain:     # else the state is not known
                self._chain(run, entry)

    def _entry(self, run, entry):
        what = entry.term, entry.kind, entry.length, entry.hash
        old, who = self.at.setdefault(entry.index, (what, run.name))
        if old != what:
            raise Broken(f'{run.name} was delivered {what} at {entry.index}, '
                         f'{who} {old} (term, kind, length, hash)')

    def _chain(self, run, entry):
        old, who = self.chains.setdefault(entry.index,
                                          (entry.chain, run.name))
        if old != entry.chain:
            raise Broken(f'behind {entry.index} the states of {run.name} and '
                         f'{who} differ')

    def check_order(self):
        """No gap, terms that never go back, every submission once."""
        seen = {}
        term = 0
        for place, index in enumerate(sorted(self.at), 1):
            (new_term, kind, _, content), _ = self.at[index]
            if index != place:
                raise Broken(f'nobody was delivered {place}')
            if new_term < term:
                raise Broken(f'{index} is of term {new_term}, the one before '
                             f'of {term}')
            if new_term > term and kind != ROLE:
                raise Broken(f'term {new_term} begins with kind {kind} at '
                             f'{index}, not with a ROLE')
            term = new_term
            if kind in (INPUT, SYNC):
                if content in seen:
                    raise Broken(f'{seen[content]} and {index} are the same '
                                 f'submission')
                seen[content] = index


def _check_fates(runs, log, running):
    acknowledged = unknown = 0
    for run in runs:
        submitted, fates = run.tapes.fates()
        for fate in fates:
            if not fate.committed:
                unknown += 1
                continue
            acknowledged += 1
            if fate.index not in log.at:
                if running and fate.index > len(log.at):
                    continue
                raise Broken(f'{fate.index} was acknowledged to {run.name} '
                             f'and is lost')
            (_, kind, _, content), who = log.at[fate.index]
            if kind != fate.kind or (fate.kind in (INPUT, SYNC) and
                                     content != fate.hash):
                raise Broken(f'at {fate.index}, which was acknowledged to '
                             f'{run.name}, {who} was delivered another entry')
        places = [fate.index for fate in fates if fate.committed]
        if len(set(places)) != len(places):
            raise Broken(f'{run.name} was told one place twice')
        if len(fates) > submitted or (run.stopped and
                                      len(fates) != submitted):
            raise Broken(f'{run.name} made {submitted} submissions and was '
                         f'told {len(fates)} fates')
    return acknowledged, unknown


def _leaders(runs):
    """term -> who led in it, as it said and as its ROLE says."""
    leaders = {}

    def leads(term, member, who):
        old, said = leaders.setdefault(term, (member, who))
        if old != member:
            raise Broken(f'two led in term {term}: member {old} ({said}) and '
                         f'member {member} ({who})')

    for run in runs:
        for event in run.events.all:
            words = event.words
            if (event.name == 'state' and
                    words['state'] in ('elected', 'leader')):
                leads(int(words['term']), run.member.number, run.name)
            elif event.name == 'role':
                leads(int(words['term']), int(words['leader']),
                      f'ROLE {words["index"]} in {run.name}')
    return leaders


def _check_voices(runs):
    """
    Looks take time: one that began before another ended may have said yes
    first.  Only what is certain is an offence.
    """
    terms = {}                  # term -> first yes over, last yes began, who
    for run in runs:
        for voice in run.tapes.voices():
            first, last, who = terms.get(voice.term,
                                         (voice.first, voice.last, run))
            if who is not run:
                raise Broken(f'{who.name} and {run.name} could both speak in '
                             f'term {voice.term}')
            terms[voice.term] = (min(first, voice.first),
                                 max(last, voice.last), run)
    newer = None
    for term in sorted(terms, reverse=True):
        first, last, run = terms[term]
        if newer and last > newer[0]:
            raise Broken(f'{run.name} could speak in term {term} '
                         f'{(last - newer[0]) / 1e6:.3f} ms after '
                         f'{newer[1].name} could in a newer one')
        newer = (min(first, newer[0]), run) if newer else (first, run)


def _check_events(runs, expect_failed):
    for run in runs:
        for event in run.events.all:
            if event.name in ('broken', 'error') or (
                    event.name == 'failed' and
                    run.member not in expect_failed):
                raise Broken(f'{run.name}: {event}')
        code = run.process.poll()
        if code is not None and code != 0 and not run.killed:
            raise Broken(f'{run.name} ended with {code}\n'
                         f'{run.events.tail()}')
