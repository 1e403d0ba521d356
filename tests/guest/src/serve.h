/*
 * Line server shared by the guest's helper programs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One thread serves any number of TCP connections, and optionally UDP, on
 * one port.  For each line received (for UDP: each datagram, a final newline
 * is optional) the callback writes one line of answer.  A connection whose
 * line is longer than SERVE_LINE is closed; so is one that does not read its
 * answers (more than SERVE_BACKLOG bytes pending).
 */

#ifndef COLONY_GUEST_SERVE_H
#define COLONY_GUEST_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SERVE_LINE = 4096,
    SERVE_BACKLOG = 1 << 20,
};

/*
 * Answers one request.
 *
 * line: the request without its newline, NUL-terminated
 * reply: where the answer goes, without a newline; holds size bytes
 *
 * Returns the length of the answer, at most size; negative: no answer.
 */
typedef int ServeReply(const char *line, char *reply, size_t size);

/* Serves for ever; exits with a message on stderr when it cannot listen. */
_Noreturn void serve(uint16_t port, bool udp, ServeReply *reply);

/* Prints "PROGRAM: message" to stderr and exits with status 1. */
_Noreturn void die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/*
 * Parses options of the form --name=NUMBER.  Returns whether arg has this
 * name; a value that is not a number from min to max is an error (die).
 */
bool number_option(const char *arg, const char *name, unsigned long min,
                   unsigned long max, unsigned long *value);

#endif
