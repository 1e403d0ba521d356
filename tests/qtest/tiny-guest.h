/*
 * A guest of 200 bytes for tests that need a guest which does something
 *
 * It is the machine's firmware (-bios), so it runs at once, and it is the same
 * on every x86 machine. Each vCPU runs one program, for ever, with interrupts
 * off, in 32-bit mode without paging.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_TINY_GUEST_H
#define COLONY_TINY_GUEST_H

#define TINY_GUEST_MAX_CPUS     2
#define TINY_GUEST_MAX_RANGES   4
#define TINY_GUEST_PAGE         4096

/* Where TINY_GUEST_MODIFY writes a byte for each call that ran stale code */
#define TINY_GUEST_STALE_PORT   0xe9

typedef enum TinyGuestProgram {
    /* does nothing */
    TINY_GUEST_HALT,
    /*
     * adds one to the first word of each page of each range, in order, over
     * and over: at any instant, a page has counted as often as the page
     * before it, or once less
     */
    TINY_GUEST_COUNT,
    /*
     * keeps rewriting a function in the first page of range 0, calls it 64
     * times after each change, and reports a result that is not the newest at
     * TINY_GUEST_STALE_PORT; counts its changes in the page behind
     */
    TINY_GUEST_MODIFY,
    /* prints dots on COM1 as fast as it takes them */
    TINY_GUEST_PRINT,
} TinyGuestProgram;

typedef struct TinyGuestRange {
    uint32_t start;     /* guest physical address, in bytes */
    uint32_t pages;
} TinyGuestRange;

typedef struct TinyGuestCpu {
    TinyGuestProgram program;
    uint32_t pause;     /* turns of an empty loop after each round */
    TinyGuestRange ranges[TINY_GUEST_MAX_RANGES];
} TinyGuestCpu;

typedef struct TinyGuest {
    TinyGuestCpu cpu[TINY_GUEST_MAX_CPUS];
} TinyGuest;

/* Write the firmware image of @guest to the file @path, for -bios. */
void tiny_guest_write(const TinyGuest *guest, const char *path);

#endif
