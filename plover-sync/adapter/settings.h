/*
 * -object plover: the bounds of syncs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_SETTINGS_H
#define PLOVER_ADAPTER_SETTINGS_H

#include <sys/socket.h>
#include "qapi/qapi-types-qom.h"

/* What the options of the object say; see qapi/qom.json. */
typedef struct PloverSettings {
    PloverCopyMode copy;
    PloverSecondaryMode secondary;
    bool idle;
    uint32_t sync_timeout; /* ms */
    uint32_t failures;
    uint64_t copy_limit; /* bytes, these all */
    uint64_t stage_limit;
    uint64_t cache_limit;
    uint32_t cache_age;
    bool has_rdma;
    struct sockaddr_storage rdma;
} PloverSettings;

/* Those of the object, or the defaults. Called with the BQL. */
PloverSettings plover_settings(void);

#endif
