/*
 * Bytes that wait: to be sent, or to be a whole frame
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mesh.h"

void mesh_buffer_clear(MeshBuffer *buffer)
{
    g_free(buffer->data);
    *buffer = (MeshBuffer) { 0 };
}

static void move_to_front(MeshBuffer *buffer)
{
    size_t size = mesh_buffer_size(buffer);

    if (buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, size);
        buffer->start = 0;
        buffer->end = size;
    }
}

void mesh_buffer_reserve(MeshBuffer *buffer, size_t bytes)
{
    size_t wanted = mesh_buffer_size(buffer) + bytes;

    if (buffer->end + bytes <= buffer->capacity) {
        return;
    }
    /* Not over and over: at least as much was used as has to be moved. */
    if (wanted <= buffer->capacity &&
        mesh_buffer_size(buffer) <= buffer->start) {
        move_to_front(buffer);
        return;
    }
    move_to_front(buffer);
    if (wanted > buffer->capacity) {
        buffer->capacity = MAX(wanted, 2 * buffer->capacity);
        buffer->data = g_realloc(buffer->data, buffer->capacity);
    }
}

void mesh_buffer_append(MeshBuffer *buffer, const void *data, size_t size)
{
    mesh_buffer_reserve(buffer, size);
    memcpy(buffer->data + buffer->end, data, size);
    buffer->end += size;
}

void mesh_buffer_append_rest(MeshBuffer *buffer, const struct iovec *pieces,
                             int n, size_t sent)
{
    for (int i = 0; i < n; i++) {
        size_t size = pieces[i].iov_len;
        size_t skipped = MIN(sent, size);

        sent -= skipped;
        if (size > skipped) {
            mesh_buffer_append(buffer,
                               (uint8_t *)pieces[i].iov_base + skipped,
                               size - skipped);
        }
    }
}

void mesh_buffer_use(MeshBuffer *buffer, size_t size)
{
    buffer->start += size;
    if (buffer->start == buffer->end) {
        buffer->start = buffer->end = 0;
    }
}
