/*
 * A client of QMP
 *
 * Everything happens in the thread-default main context of whoever made it, and
 * nothing waits: a reply, or the end of the connection, comes as a callback.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_QMP_H
#define COLONY_QMP_H

#include <json-glib/json-glib.h>

typedef struct ColonyQmp ColonyQmp;

typedef struct ColonyQmpOps {
    /* The greeting was answered: commands may be sent. */
    void (*ready)(void *opaque);
    /* @data: may be NULL; it is the caller's. @time: us since the epoch */
    void (*event)(void *opaque, const char *name, JsonObject *data,
                  gint64 time);
    /*
     * The connection is no more, or did not come about; all commands have
     * failed before. colony_qmp_free() may be called from here, and from any
     * other callback.
     */
    void (*closed)(void *opaque, const GError *error);
} ColonyQmpOps;

/*
 * @result: NULL if @error is set, which has the command's name and QEMU's own
 * words. Its code is G_IO_ERROR_FAILED, or by QEMU's class _NOT_SUPPORTED
 * (CommandNotFound), _PERMISSION_DENIED (DeviceNotActive: who asks is told whom
 * to ask instead), _NOT_FOUND (DeviceNotFound).
 */
typedef void ColonyQmpReply(void *opaque, JsonNode *result,
                            const GError *error);

/* Connects to the UNIX socket @path; @timeout_ms is for connect and greeting */
ColonyQmp *colony_qmp_new(const char *path, unsigned timeout_ms,
                          const ColonyQmpOps *ops, void *opaque);
/* Commands under way fail with G_IO_ERROR_CANCELLED: send no others then. */
void colony_qmp_free(ColonyQmp *qmp);

gboolean colony_qmp_is_ready(const ColonyQmp *qmp);

/*
 * @arguments: taken over; NULL: none. @reply: may be NULL. Fails with
 * G_IO_ERROR_TIMED_OUT after @timeout_ms; what comes later is dropped.
 */
void colony_qmp_command(ColonyQmp *qmp, const char *name,
                        JsonObject *arguments, unsigned timeout_ms,
                        ColonyQmpReply *reply, void *opaque);
/* The same of { "execute", "arguments" }, as command.h has them. */
void colony_qmp_run(ColonyQmp *qmp, JsonNode *command, unsigned timeout_ms,
                    ColonyQmpReply *reply, void *opaque);

#endif
