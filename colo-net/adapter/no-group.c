/*
 * In place of apus-group, until it is there: no group
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-apus.h"
#include "qemu/queue.h"
#include "group.h"

ApusGroup *apus_group(void)
{
    return NULL;
}

ApusGroup *apus_group_find(const char *id, Error **errp)
{
    error_setg(errp, "there is no apus-group '%s'", id);
    return NULL;
}

ApusPart apus_group_part(const ApusGroup *group)
{
    return APUS_PART_WITNESS;
}

bool apus_group_add_sink(ApusGroup *group, ApusSink *sink, Error **errp)
{
    return true;
}

void apus_group_remove_sink(ApusGroup *group, ApusSink *sink)
{
}

bool apus_group_submit(ApusGroup *group, ApusSink *sink, unsigned flags,
                       unsigned vnet_len, const struct iovec *iov, int iovcnt)
{
    return false;
}

void apus_group_consumed(ApusGroup *group)
{
}

bool apus_group_may_speak(const ApusGroup *group)
{
    return false;
}

void apus_group_tell(ApusGroup *group, const uint8_t *data, size_t size)
{
}

void apus_group_set_ears(const ApusEars *ears, void *opaque)
{
}

bool apus_group_may_fail_over(bool force, Error **errp)
{
    return true;
}

const char *apus_group_fenced(void)
{
    return NULL;
}

ApusInfo *coroutine_fn qmp_query_apus(Error **errp)
{
    error_setg(errp, "there is no apus-group");
    return NULL;
}
