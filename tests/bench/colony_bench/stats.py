# SPDX-License-Identifier: GPL-2.0-or-later
"""
Percentiles.
"""

import math


def percentile(ordered, percent):
    """The nearest-rank percentile of a sorted, non-empty sequence."""
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def median(values):
    """The median of a non-empty sequence."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def summary(samples):
    """What a row tells of @samples: p50, p99, p999, max, n."""
    ordered = sorted(samples)
    return {'p50': percentile(ordered, 50), 'p99': percentile(ordered, 99),
            'p999': percentile(ordered, 99.9), 'max': ordered[-1],
            'n': len(ordered)}


def weighted_summary(counts):
    """The same of a non-empty histogram: value -> how often it was seen."""
    ordered = sorted(counts.items())
    total = sum(counts.values())

    def at(percent):
        rank, seen = max(math.ceil(total * percent / 100), 1), 0
        for value, count in ordered:
            seen += count
            if seen >= rank:
                return value
        return ordered[-1][0]
    return {'p50': at(50), 'p99': at(99), 'p999': at(99.9),
            'max': ordered[-1][0], 'n': total}
