/*
 * Two ends of a stream, over the fake fabric
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef STREAMS_H
#define STREAMS_H

#include "colo-net/verbs/stream.h"

#define STREAMS_SIZE (16u << 10) /* of the rings */
#define STREAMS_PATIENCE UINT64_C(60000000000) /* ns: it hangs */

typedef struct Streams {
    VerbsStream *end[2]; /* the one that listened, the one that called */
} Streams;

/* A time from now on, in ns of a stream's clock. */
uint64_t streams_in(uint64_t ns);
/* The defaults of these tests. */
VerbsStreamConfig streams_config(void);
/* Both stand. To be freed with streams_free(). */
void streams_open(Streams *streams);
void streams_free(Streams *streams);

/* All of it, which must be possible in time. */
void streams_write(VerbsStream *stream, const void *data, size_t size);
/* So many bytes; FALSE: it has failed, with @errp, or ended, without. */
gboolean streams_read(VerbsStream *stream, void *data, size_t size,
                      GError **errp);

#endif
