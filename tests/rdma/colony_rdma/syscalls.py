# SPDX-License-Identifier: GPL-2.0-or-later
"""
System calls that a thread in a guest makes, counted by the guest's kernel:
histograms of tracing events, so that who is counted does not wait for it.
"""

import collections
import re

EVENTS = '/sys/kernel/tracing/events'
# The first counts all calls; the others tell for which descriptor.
CALLS = 'raw_syscalls/sys_enter'
WITH_DESCRIPTOR = {'sys_read': 'syscalls/sys_enter_read',
                   'sys_write': 'syscalls/sys_enter_write',
                   'sys_ioctl': 'syscalls/sys_enter_ioctl'}

BEGIN = f'''
set -e
mount -t tracefs tracing {EVENTS[:-len("/events")]}
cd {EVENTS}
echo 'hist:keys=common_pid.execname,id.syscall:size=8192' > {CALLS}/trigger
for call in {" ".join(WITH_DESCRIPTOR.values())}; do
    echo 'hist:keys=common_pid,fd:size=8192' > $call/trigger
done
'''
LOOK = f'''
cd {EVENTS}
for call in {CALLS} {" ".join(WITH_DESCRIPTOR.values())}; do
    echo "== $call"
    cat $call/hist
done
echo "== time"
cat /proc/uptime
echo "== descriptors"
ls -l /proc/[0-9]*/task/[0-9]*/fd/ 2> /dev/null
true
'''


class Look:
    """
    What was counted up to a moment.

    time     of the guest, in seconds
    calls    (thread, call, descriptor or None) -> times
    threads  name -> numbers
    targets  (thread, descriptor) -> what it is
    """

    def __init__(self, text):
        self.calls = {}
        self.threads = {}
        self.targets = {}
        parts = re.split(r'^== (\S+)\n', text, flags=re.M)
        parts = dict(zip(parts[1::2], parts[2::2]))
        for name, thread, call, count in re.findall(
                r'common_pid: (.+?)\s*\[\s*(\d+)\], id: (\w+).*'
                r'hitcount:\s+(\d+)', parts[CALLS]):
            self.threads.setdefault(name, set()).add(int(thread))
            if call not in WITH_DESCRIPTOR:
                self.calls[int(thread), call, None] = int(count)
        for call, event in WITH_DESCRIPTOR.items():
            for thread, descriptor, count in re.findall(
                    r'common_pid:\s+(\d+), fd:\s+(\d+).*hitcount:\s+(\d+)',
                    parts[event]):
                self.calls[int(thread), call, int(descriptor)] = int(count)
        self.time = float(parts['time'].split()[0])
        for thread, rest in re.findall(r'/task/(\d+)/fd/:\n((?:.+\n?)*)',
                                       parts['descriptors']):
            for descriptor, target in re.findall(r' (\d+) -> (.+)', rest):
                self.targets[int(thread), int(descriptor)] = target


def begin(guest):
    """Count from now on, as long as the guest lives; once."""
    guest.run(['sh', '-c', BEGIN])


def look(guest):
    """A Look."""
    return Look(guest.run(['sh', '-c', LOOK]))


def per_second(before, after, name):
    """
    What threads with this name have called between two looks: words for the
    call -> times for each second.
    """
    found = collections.Counter()
    for key, count in after.calls.items():
        thread, call, descriptor = key
        if thread in after.threads[name]:
            if descriptor is not None:
                target = (after.targets.get((thread, descriptor)) or
                          before.targets.get((thread, descriptor), 'unknown'))
                call = f'{call} {target}'
            found[call] += count - before.calls.get(key, 0)
    return {call: count / (after.time - before.time)
            for call, count in found.items() if count}
