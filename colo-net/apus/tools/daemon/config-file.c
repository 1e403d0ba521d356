/*
 * apusd's configuration: from files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

#define KEY_FILE_MAX 1024 /* bytes: digits, and some white space */

static gboolean refuse(const char *file, GError **errp, const char *format,
                       ...) G_GNUC_PRINTF(3, 4);

static gboolean refuse(const char *file, GError **errp, const char *format,
                       ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG, "%s: %s", file, text);
    return FALSE;
}

/* All of @fd, at most @max bytes. */
static GByteArray *read_bytes(const char *file, int fd, size_t max,
                              GError **errp)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ssize_t n = 1;

    g_byte_array_set_size(bytes, max + 1);
    bytes->len = 0;
    while (n > 0 && bytes->len <= max) {
        n = read(fd, bytes->data + bytes->len, max + 1 - bytes->len);
        bytes->len += MAX(n, 0);
    }
    if (n < 0) {
        refuse(file, errp, "cannot be read: %s", g_strerror(errno));
        return NULL;
    }
    if (bytes->len > max) {
        refuse(file, errp, "is too long: %zu bytes are the most", max);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

/* All of a regular file of at most @max bytes; @status is that file's. */
static GByteArray *read_file(const char *file, size_t max,
                             struct stat *status, GError **errp)
{
    /* Not blocking: it might be a FIFO. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    GByteArray *bytes = NULL;

    if (fd < 0 || fstat(fd, status) < 0) {
        refuse(file, errp, "cannot be read: %s", g_strerror(errno));
    } else if (!S_ISREG(status->st_mode)) {
        refuse(file, errp, "is no regular file");
    } else {
        bytes = read_bytes(file, fd, max, errp);
    }
    if (fd >= 0) {
        close(fd);
    }
    return bytes;
}

/* --- the key ------------------------------------------------------------- */

/* Of a file as psktool makes it, the key of user qemu, as QEMU does. */
static void find_user(const char **text, size_t *size)
{
    static const char user[] = "qemu:";
    const char *end = *text + *size;

    for (const char *line = *text, *next; line; line = next) {
        next = memchr(line, '\n', end - line);
        if ((size_t)(end - line) >= strlen(user) &&
            !memcmp(line, user, strlen(user))) {
            *text = line + strlen(user);
            *size = (next ? next : end) - *text;
            return;
        }
        next = next ? next + 1 : NULL;
    }
}

size_t apusd_key_parse(uint8_t key[APUS_KEY_MAX], const char *text,
                       size_t size)
{
    find_user(&text, &size);
    while (size > 0 && g_ascii_isspace(text[size - 1])) {
        size--;
    }
    if (size % 2 || size / 2 < APUS_KEY_MIN || size / 2 > APUS_KEY_MAX) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (!g_ascii_isxdigit(text[i])) {
            return 0;
        }
    }
    for (size_t i = 0; i < size / 2; i++) {
        key[i] = g_ascii_xdigit_value(text[2 * i]) << 4 |
                 g_ascii_xdigit_value(text[2 * i + 1]);
    }
    return size / 2;
}

/* Whoever can read the key can take part in the group. */
static gboolean check_secrecy(const char *file, const struct stat *status,
                              GError **errp)
{
    if (status->st_uid != 0 && status->st_uid != geteuid()) {
        return refuse(file, errp, "belongs to user %u: the key has to belong "
                      "to root or to user %u, who runs apusd",
                      status->st_uid, geteuid());
    }
    if (status->st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) {
        return refuse(file, errp, "has mode %04o: others could read or change "
                      "the key; use chmod 0600, or 0640 with a group of "
                      "apusd's own", status->st_mode & 07777);
    }
    return TRUE;
}

static gboolean load_key(ApusdConfig *config, GError **errp)
{
    g_autoptr(GByteArray) text = NULL;
    struct stat status;
    size_t size;

    text = read_file(config->key_file, KEY_FILE_MAX, &status, errp);
    if (!text) {
        return FALSE;
    }
    size = apusd_key_parse(config->key, (char *)text->data, text->len);
    explicit_bzero(text->data, text->len);
    if (!check_secrecy(config->key_file, &status, errp)) {
        return FALSE;
    }
    if (!size) {
        return refuse(config->key_file, errp, "is no key: it has to be %d to "
                      "%d hexadecimal digits, such as openssl rand -hex 32 "
                      "makes, alone or in a line after qemu:", 2 * APUS_KEY_MIN, 2 * APUS_KEY_MAX);
    }
    config->apus.key = config->key;
    config->apus.key_size = size;
    return TRUE;
}

ApusdConfig *apusd_config_load(const char *file, ApusdPurpose purpose,
                               GError **errp)
{
    g_autoptr(ApusdConfig) config = NULL;
    g_autoptr(GByteArray) text = NULL;
    struct stat status;

    text = read_file(file, APUSD_CONFIG_MAX, &status, errp);
    if (!text) {
        return NULL;
    }
    config = apusd_config_parse(file, (char *)text->data, text->len, purpose,
                                errp);
    if (!config || (config->key_file && !load_key(config, errp))) {
        return NULL;
    }
    return g_steal_pointer(&config);
}
