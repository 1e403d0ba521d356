# SPDX-License-Identifier: GPL-2.0-or-later
"""
Bytes sent and received, as the kernel counts them.
"""

import re


def exchanged(host, port):
    """
    Bytes that the processes of @host have sent to TCP port @port of other
    hosts, and received from there, headers and retransmissions not counted.
    """
    return _count(host, 'dport', '=', f':{port}')


def between(host, other):
    """
    Bytes that the processes of @host have sent to those of @other, and
    received from there, by TCP, likewise.  Of connections that exist.
    """
    return _count(host, 'dst', str(other.address))


def _count(host, *which):
    output = host.run(['ss', '-tinHO', *which])
    return tuple(sum(map(int, re.findall(rf'{name}:(\d+)', output)))
                 for name in ('bytes_acked', 'bytes_received'))
