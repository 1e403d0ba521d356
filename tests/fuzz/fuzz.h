/*
 * What the fuzz targets have in common
 *
 * Each fuzz-NAME.c defines the two functions below and becomes a program with
 * clang's libFuzzer, ASan and UBSan. Called with --seeds=FOLDER it writes its
 * seeds there and exits; called with a file it runs with that input, once.
 *
 * A target asserts what has to be true whatever comes in. Most decode, and
 * encode again what was accepted: of a format with one encoding the same bytes
 * must come out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FUZZ_H
#define FUZZ_H

#include <glib.h>
#include <stdint.h>

/* Called for each input, which is in memory of exactly its size. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Called first, with what main() was called with. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Call fuzz_seed() for inputs from which it is not far to all others. */
void fuzz_seeds(void);
void fuzz_seed(const void *data, size_t size);
/* Likewise, with a byte or more in front of them. */
void fuzz_seed_with(const char *front, size_t front_size,
                    const GByteArray *bytes);

/* A decoder says in one way whether it accepted something. */
void fuzz_outcome(gboolean accepted, const GError *error, GQuark domain);

/* @bytes is what was decoded, and encoded again. */
void fuzz_same(const GByteArray *bytes, const uint8_t *data, size_t size);

#endif
