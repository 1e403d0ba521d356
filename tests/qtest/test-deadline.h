/*
 * A deadline for whatever a test does next
 *
 * When it passes, the test says what it was waiting for and fails, and no QEMU
 * stays behind, whatever state it is in.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_TEST_DEADLINE_H
#define COLONY_TEST_DEADLINE_H

#include "libqtest.h"

/*
 * From now on, @what (a string that stays valid) has @seconds to be done. The
 * next call ends this one; @what of NULL means no deadline.
 */
void test_deadline(unsigned seconds, const char *what);

/*
 * libqtest asks a QEMU to terminate and waits for it; one that hangs would not.
 * A QEMU named here is killed when a deadline passes.
 */
void test_deadline_kills(QTestState *qts);
void test_deadline_spares(QTestState *qts);

/* End a QEMU named above; until it has ended, a deadline still kills it. */
void test_deadline_quit(QTestState *qts);

#endif
