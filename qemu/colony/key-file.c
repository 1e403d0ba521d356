/*
 * The file with the group's key
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "key-file.h"

/* What members take: 16 to 64 bytes. */
#define DIGITS_MIN 32
#define DIGITS_MAX 128
#define TEXT_MAX 1024 /* bytes: digits, and some white space */

/* Whoever can read the key can take part in the group. */
static char *find_exposure(const struct stat *status)
{
    if (!S_ISREG(status->st_mode)) {
        return g_strdup("is no regular file");
    }
    /* Root asks for the user that the supervisor will run as. */
    if (status->st_uid != 0 && geteuid() != 0 && status->st_uid != geteuid()) {
        return g_strdup_printf("belongs to user %u; the key has to belong to "
                               "root, or to user %u, who reads it",
                               status->st_uid, geteuid());
    }
    if (status->st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) {
        return g_strdup_printf("has mode %04o, so that others could read or "
                               "change the key; use chmod 0600, or 0640 with "
                               "the group colony", status->st_mode & 07777);
    }
    return NULL;
}

static gboolean is_key(const char *text, gssize size)
{
    while (size > 0 && g_ascii_isspace(text[size - 1])) {
        size--;
    }
    if (size % 2 || size < DIGITS_MIN || size > DIGITS_MAX) {
        return FALSE;
    }
    while (size > 0 && g_ascii_isxdigit(text[size - 1])) {
        size--;
    }
    return size == 0;
}

/* What is wrong with the file, or NULL. */
static char *find_fault(int fd)
{
    char text[TEXT_MAX + 1];
    struct stat status;
    char *wrong;
    gssize size;

    if (fd < 0 || fstat(fd, &status) < 0) {
        return g_strdup(g_strerror(errno));
    }
    wrong = find_exposure(&status);
    if (wrong) {
        return wrong;
    }
    size = read(fd, text, sizeof(text));
    if (size < 0) {
        return g_strdup(g_strerror(errno));
    }
    if (size > TEXT_MAX || !is_key(text, size)) {
        wrong = g_strdup_printf("is no key; it has to be %d to %d hexadecimal "
                                "digits, such as openssl rand -hex 32 makes",
                                DIGITS_MIN, DIGITS_MAX);
    }
    explicit_bzero(text, sizeof(text));
    return wrong;
}

gboolean colony_key_file_check(const char *path, GError **error)
{
    g_autofree char *wrong = NULL;
    int fd;

    if (!path) {
        return TRUE;
    }
    /* Not blocking: it might be a FIFO. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    wrong = find_fault(fd);
    if (fd >= 0) {
        close(fd);
    }
    if (wrong) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "[policy] key-file: %s: %s", path, wrong);
        return FALSE;
    }
    return TRUE;
}
