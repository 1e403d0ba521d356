/*
 * What libraries forget to free when what they are given is wrong: json-glib what
 * it had read before the error, GIO's module for GnuTLS the error of a handshake.
 * The stacks have to be whole for that to be seen.
 *
 * Included by a test program's main file.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_LIBRARY_LEAKS_H
#define TESTS_LIBRARY_LEAKS_H

const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:json_parser_load_from_data\nleak:libgiognutls\n";
}

#endif
