/*
 * What libraries forget to free when what they are given is wrong: json-glib what
 * it had read before the error, GIO's module for GnuTLS the error of a handshake.
 * The stacks have to be right for that to be seen, which takes time for each
 * allocation: a handshake has many, and a deadline, so its test looks at fewer
 * frames.
 *
 * Included by a test program's main file.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_LIBRARY_LEAKS_H
#define TESTS_LIBRARY_LEAKS_H

#ifndef LIBRARY_LEAKS_FRAMES
#define LIBRARY_LEAKS_FRAMES "30"
#endif

const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0:malloc_context_size="
           LIBRARY_LEAKS_FRAMES;
}

const char *__lsan_default_suppressions(void)
{
    return "leak:json_parser_load_from_data\nleak:libgiognutls\n";
}

#endif
