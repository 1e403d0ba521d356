# SPDX-License-Identifier: GPL-2.0-or-later
"""Replicas that are compared, and have to be equal."""


class Verified:
    """Of whoever has a primary, the replica that is heard."""

    def verify(self, timeout=60):
        """
        Compare all of memory and devices at a sync point; the data of the
        event that tells the result.
        """
        qmp = self.primary.qmp
        mark = qmp.mark()
        qmp.command('plover-verify')
        _, event = qmp.wait_event('PLOVER_VERIFIED', timeout, since=mark)
        return event['data']

    def assert_equal(self, timeout=60):
        """Verify, and expect no difference."""
        found = self.verify(timeout)
        assert found['pages'] > 0, found
        assert not found['differing'], found
        assert not found['different'] and not found['sections'], found
