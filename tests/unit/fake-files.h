/*
 * A disk in memory that can fail, be full, and lose its power
 *
 * Stands in for the system's calls that the storage makes. What was written is
 * in a cache until it is synced. A power cut takes away any of the sectors, and
 * of the changes to the directory, that were not; what is left is what the
 * next process finds. Any thread may call.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_FILES_H
#define FAKE_FILES_H

#include "colo-net/apus/runtime/files.h"

#define FAKE_SECTOR 512

typedef struct FakeFiles FakeFiles;

FakeFiles *fake_files_new(uint32_t seed);
void fake_files_free(FakeFiles *files);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeFiles, fake_files_free)

const ApusFileOps *fake_files_ops(FakeFiles *files);

/* How many calls were made that change something or make it safe. */
unsigned fake_files_calls(FakeFiles *files);

/* The @n-th of these from now on fails with @error, once. */
void fake_files_fail(FakeFiles *files, unsigned n, int error);
/*
 * So does the n-th of these and each after it: its effect is in the cache, if
 * anywhere, and the power is off.
 */
void fake_files_cut(FakeFiles *files, unsigned n);
/* Writes write less than they should, at times. */
void fake_files_be_short(FakeFiles *files, gboolean on);
/* Files can have so many bytes in all. */
void fake_files_set_room(FakeFiles *files, uint64_t bytes);

/*
 * The power is on again, after it was cut, or now: what was not safe is lost,
 * or part of it. All descriptors are gone.
 */
void fake_files_power_cut(FakeFiles *files);
/* Only the process has died: nothing is lost, all descriptors are gone. */
void fake_files_kill(FakeFiles *files);

/* Everything is safe now, what a test has changed itself as well. */
void fake_files_settle(FakeFiles *files);

/* Everything is given up and as it is in @from, which has no descriptors. */
void fake_files_copy(FakeFiles *files, FakeFiles *from);

/* The names of all files, in order. */
GPtrArray *fake_files_names(FakeFiles *files);
/* The bytes of the file at @path, to be looked at and changed; or NULL. */
GByteArray *fake_files_bytes(FakeFiles *files, const char *path);
void fake_files_delete(FakeFiles *files, const char *path);

#endif
