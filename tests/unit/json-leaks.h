/*
 * For tests that have json-glib parse what is wrong: it forgets to free what it
 * had read before the error. The stacks have to be whole for that to be seen.
 *
 * Included by a test program's main file.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_JSON_LEAKS_H
#define TESTS_JSON_LEAKS_H

const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:json_parser_load_from_data\n";
}

#endif
