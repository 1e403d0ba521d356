/*
 * The file with the group's key
 *
 * Members prove to each other that they have the key; it encrypts nothing. The
 * text is what apusd takes as its key-file and QEMU as a secret.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_KEY_FILE_H
#define COLONY_KEY_FILE_H

#include <glib.h>

/*
 * Whether @path has a key, and keeps it: @error is of G_FILE_ERROR, "[policy]
 * key-file: PATH: what is wrong; what to do". @path may be NULL: TRUE then.
 * Reads the file; any thread.
 */
gboolean colony_key_file_check(const char *path, GError **error);

#endif
