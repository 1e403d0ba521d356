# SPDX-License-Identifier: GPL-2.0-or-later
"""
What may happen to a replica, and when.

A fault is a kind, a victim and a moment.  The moment is a random time or a
step of COLO's checkpoint, of a sync or of a disk, on either side, recognised
by the trace event that QEMU logs there.  The fault strikes tens of
microseconds after the line was logged (about a millisecond when all CPUs are
busy); the thread that logged it runs on meanwhile.  So a named moment means
"right after this step", and often "within the next one": between two steps of
a checkpoint lie 0.1 to 10 ms, between those of a sync often less than 0.1 ms.
"""

import dataclasses
import threading
import time

# Steps of a checkpoint in the order in which they are taken.
STEPS = {
    'request-sent': ('primary', "Send 'checkpoint-request'"),
    'request-received': ('secondary', "Receive 'checkpoint-request'"),
    'secondary-stopped': ('secondary', "Change 'run' => 'stop'"),
    'reply-sent': ('secondary', "Send 'checkpoint-reply'"),
    'reply-received': ('primary', "Receive 'checkpoint-reply'"),
    'primary-stopped': ('primary', "Change 'run' => 'stop'"),
    'state-announced': ('primary', "Send 'vmstate-send'"),
    'state-expected': ('secondary', "Receive 'vmstate-send'"),
    'devices-announced': ('primary', "Send 'vmstate-size'"),
    'devices-expected': ('secondary', "Receive 'vmstate-size'"),
    'state-received': ('secondary', "Send 'vmstate-received'"),
    'memory-applying': ('secondary', 'colo_flush_ram_cache_begin'),
    'receipt-seen': ('primary', "Receive 'vmstate-received'"),
    'memory-applied': ('secondary', 'colo_flush_ram_cache_end'),
    'secondary-resumed': ('secondary', "Change 'stop' => 'run'"),
    'loaded-sent': ('secondary', "Send 'vmstate-loaded'"),
    'loaded-received': ('primary', "Receive 'vmstate-loaded'"),
    'primary-resumed': ('primary', "Change 'stop' => 'run'"),
}
# The same of a sync (x-plover).
SYNC_STEPS = {
    'asked': ('primary', "plover_send 'SYNC'"),
    'heard': ('secondary', "plover_receive 'SYNC'"),
    'map-told': ('secondary', "plover_send 'MAP'"),
    'map-known': ('primary', "plover_receive 'MAP'"),
    'leader-stopped': ('primary', 'plover_leader_stop'),
    'union-told': ('primary', "plover_send 'MAP'"),
    'leader-resumed': ('primary', 'plover_leader_resume'),
    'hashes-told': ('secondary', "plover_send 'HASHES'"),
    'hashes-known': ('primary', "plover_receive 'HASHES'"),
    'pages-sent': ('primary', "plover_send 'PAGES'"),
    'pages-staged': ('secondary', "plover_receive 'PAGES'"),
    'devices-sent': ('primary', "plover_send 'DEVICES'"),
    'devices-staged': ('secondary', "plover_receive 'DEVICES'"),
    'end-sent': ('primary', "plover_send 'END'"),
    'all-staged': ('secondary', 'plover_staged'),
    'applying': ('secondary', 'plover_apply_begin'),
    'staged-known': ('primary', "plover_receive 'STAGED'"),
    'applied': ('secondary', 'plover_apply_end'),
    'applied-told': ('secondary', "plover_send 'APPLIED'"),
}
# What gannet's disks do meanwhile; with several disks each of them does.
DISK_STEPS = {
    'disk-sealed': ('primary', 'gannet_seal '),
    'disk-applied': ('secondary', 'gannet_apply '),
    'disk-writes-back': ('secondary', 'gannet_write_back '),
}
RANDOM = 'random'
KINDS = ('kill', 'freeze', 'cut')
VICTIMS = ('primary', 'secondary')


@dataclasses.dataclass(frozen=True)
class Fault:
    """
    kind    kill (-9), freeze (SIGSTOP, never continued) or cut (the host's
            only link goes down)
    victim  primary or secondary
    step    a key of STEPS, SYNC_STEPS or DISK_STEPS, or RANDOM
    """

    kind: str
    victim: str
    step: str = RANDOM

    def __str__(self):
        return f'{self.kind}-{self.victim}-{self.step}'


def arm(pair, fault, random):
    """
    Prepare @fault, for one of the next few checkpoints or a time within the
    next half second, as drawn from @random.  An Event that is set when it
    has happened.
    """
    happened = threading.Event()
    victim = getattr(pair, fault.victim)
    strike = {'kill': victim.strike_dead, 'freeze': victim.freeze,
              'cut': victim.host.prepared_cut()}[fault.kind]

    def act(line='no particular event'):
        strike()
        pair.lab.note(f'{time.monotonic():.6f} {fault}, right after: {line}')
        happened.set()

    if fault.step == RANDOM:
        threading.Timer(random.uniform(0, 0.5), act).start()
    else:
        side, event = (STEPS | SYNC_STEPS | DISK_STEPS)[fault.step]
        getattr(pair, side).at(event, act, nth=random.randint(1, 4))
    return happened
