# SPDX-License-Identifier: GPL-2.0-or-later
"""
Bytes sent, as the kernel counts them.
"""

import re


def sent(host, port):
    """
    Bytes that the processes of @host have sent to TCP port @port of other
    hosts, headers and retransmissions not counted.
    """
    output = host.run(['ss', '-tinHO', 'dport', '=', f':{port}'])
    return sum(map(int, re.findall(r'bytes_acked:(\d+)', output)))
