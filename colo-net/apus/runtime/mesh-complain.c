/*
 * What the operator is told, and how often
 *
 * Whoever can reach the port can cause complaints as fast as he likes; so each
 * reason is named once in a while only, with how often it was not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mesh.h"

#define ONCE_IN (UINT64_C(10000) * MESH_MILLISECOND)

static MeshComplaint *count(Mesh *mesh, unsigned reason, const MeshPeer *peer)
{
    guint place = APUS_MAX_MEMBERS; /* nobody in particular */

    g_assert(reason < MESH_REASONS);
    if (peer && g_ptr_array_find(mesh->peers, peer, &place)) {
        place = MIN(place, APUS_MAX_MEMBERS);
    }
    return &mesh->complaints[reason][place];
}

void mesh_complain(Mesh *mesh, unsigned reason, const MeshPeer *peer,
                   const char *format, ...)
{
    MeshComplaint *complaint = count(mesh, reason, peer);
    uint64_t now = apus_loop_now(mesh->loop);
    g_autofree char *text = NULL;
    va_list arguments;

    if (complaint->last && now - complaint->last < ONCE_IN) {
        complaint->unsaid++;
        return;
    }
    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (complaint->unsaid) {
        char *more = g_strdup_printf("%s (and %u more of the kind)", text,
                                     complaint->unsaid);

        g_free(text);
        text = more;
    }
    complaint->last = now;
    complaint->unsaid = 0;
    mesh->handlers->complaint(mesh->opaque, text);
}
