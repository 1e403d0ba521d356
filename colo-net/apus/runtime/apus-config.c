/*
 * What may be configured, and what is meant where nothing is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <sys/random.h>

#include "address.h"
#include "apus-internal.h"

#define MILLISECOND (1000 * 1000ull)
#define SECOND (1000 * MILLISECOND)

#define DEFAULT_QUEUE (16u << 20)
#define MAX_LOG_SIZE (1ull << 40)

/* A queue has to hold at least one of the longest submissions. */
#define MIN_QUEUE (2u * APUS_RECORD_MAX_PAYLOAD)

static gboolean check_identity(const ApusConfig *config, GError **errp)
{
    size_t length = config->cluster ? strlen(config->cluster) : 0;

    if (length == 0 || length > APUS_CLUSTER_MAX) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "the group's name has %zu "
                           "characters: give it 1 to %d", length,
                           APUS_CLUSTER_MAX);
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isgraph(config->cluster[i])) {
            return apus_refuse(errp, APUS_ERROR_CONFIG, "the group's name "
                               "contains byte 0x%02x: only printable ASCII "
                               "characters without spaces are possible",
                               (unsigned char)config->cluster[i]);
        }
    }
    if (config->id == APUS_NOBODY) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "a member cannot have the "
                           "id 0: ids begin at 1");
    }
    if (!config->directory || !config->directory[0]) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "no directory is given for "
                           "the member's state");
    }
    return TRUE;
}

static gboolean check_listen(const char *listen, GError **errp)
{
    ApusAddress address;

    if (!apus_address_parse(&address, listen, TRUE, errp)) {
        g_prefix_error(errp, "cannot listen: ");
        return FALSE;
    }
    return TRUE;
}

gboolean apus_addresses_check(const ApusMembers *members, GError **errp)
{
    ApusAddress address;

    for (unsigned i = 0; i < members->count; i++) {
        if (!apus_address_parse(&address, members->member[i].address, FALSE,
                                errp)) {
            g_prefix_error(errp, "member %u: ", members->member[i].id);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_key(const ApusConfig *config, GError **errp)
{
    if (!config->key && config->key_size) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "a key has a size but no "
                           "bytes");
    }
    if (config->key && (config->key_size < APUS_KEY_MIN ||
                        config->key_size > APUS_KEY_MAX)) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "the group's key has %zu "
                           "bytes: %d to %d are possible", config->key_size,
                           APUS_KEY_MIN, APUS_KEY_MAX);
    }
    if (config->tls && !config->key) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "TLS needs a key: give all "
                           "members the same one");
    }
    return TRUE;
}

static gboolean check_transport(const ApusConfig *config, GError **errp)
{
    size_t ring = config->rdma_ring;

    if (config->transport != APUS_TRANSPORT_TCP &&
        config->transport != APUS_TRANSPORT_RDMA) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "there is no transport %d",
                           config->transport);
    }
    if (config->transport == APUS_TRANSPORT_RDMA && config->tls) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "RDMA has no TLS: the key "
                           "says who takes part, and nothing is encrypted; "
                           "leave TLS out, or take TCP");
    }
    if (ring && ((ring & (ring - 1)) || ring < APUS_RDMA_RING_MIN ||
                 ring > APUS_RDMA_RING_MAX)) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "an RDMA ring of %zu bytes "
                           "is impossible: the size has to be a power of two, "
                           "64 KiB to 256 MiB", ring);
    }
    return TRUE;
}

static gboolean check_sizes(const ApusConfig *config, GError **errp)
{
    if (config->durability != APUS_DURABILITY_MEMORY &&
        config->durability != APUS_DURABILITY_DISK) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "there is no durability "
                           "%d", config->durability);
    }
    if (config->log_size &&
        ((config->log_size & (config->log_size - 1)) ||
         config->log_size < APUS_LOG_MIN_SIZE ||
         config->log_size > MAX_LOG_SIZE)) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "a log of %zu bytes is "
                           "impossible: the size has to be a power of two, 4 "
                           "MiB to 1 TiB", config->log_size);
    }
    if (config->queue_limit && config->queue_limit < MIN_QUEUE) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "a queue of %zu bytes is "
                           "too short: %u are the least", config->queue_limit,
                           MIN_QUEUE);
    }
    return TRUE;
}

static gboolean check_time(const char *name, uint64_t time, uint64_t min,
                           uint64_t max, GError **errp)
{
    if (time < min || time > max) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "%s of %g ms is "
                           "impossible: %g to %g ms are possible", name,
                           (double)time / MILLISECOND,
                           (double)min / MILLISECOND,
                           (double)max / MILLISECOND);
    }
    return TRUE;
}

static gboolean check_times(const ApusConfig *config, GError **errp)
{
    ApusConfig full;

    apus_config_copy(&full, config);
    apus_config_clear(&full);
    return check_time("a timeout", full.timeout, MILLISECOND, 3600 * SECOND,
                      errp) &&
           /* Else one lost beat would be taken for a death. */
           check_time("a heartbeat", full.heartbeat, MILLISECOND / 10,
                      full.timeout / 3, errp) &&
           check_time("a lease", full.lease, full.heartbeat,
                      full.timeout - full.timeout / 100, errp) &&
           check_time("a submit-timeout", full.submit_timeout, full.timeout,
                      3600 * SECOND, errp) &&
           check_time("an alive-timeout", full.alive_timeout, 0,
                      3600 * SECOND, errp) &&
           check_time("a busy-poll", full.busy_poll, 0, SECOND, errp) &&
           (!full.rdma_ack_timeout ||
            check_time("an RDMA ack-timeout", full.rdma_ack_timeout,
                       MILLISECOND, 60 * SECOND, errp));
}

gboolean apus_config_check(const ApusConfig *config,
                           const ApusHandlers *handlers, GError **errp)
{
    if (!check_identity(config, errp) ||
        (config->listen && !check_listen(config->listen, errp)) ||
        !check_key(config, errp) || !check_transport(config, errp) ||
        !check_sizes(config, errp) ||
        !check_times(config, errp)) {
        return FALSE;
    }
    if (handlers && config->delivers && !handlers->deliver) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "a member that delivers "
                           "needs a deliver() handler");
    }
    return TRUE;
}

uint64_t apus_random(void)
{
    uint64_t number = 0;

    while (number == 0) {
        if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
            number = 0;
        }
    }
    return number;
}

void apus_config_copy(ApusConfig *copy, const ApusConfig *config)
{
    ApusCoreConfig defaults = { 0 };

    apus_core_defaults(&defaults);
    *copy = *config;
    copy->cluster = g_strdup(config->cluster);
    copy->directory = g_strdup(config->directory);
    copy->listen = g_strdup(config->listen);
    copy->key = g_memdup2(config->key, config->key_size);
    copy->incarnation = config->incarnation ?: apus_random();
    copy->log_size = config->log_size ?: defaults.log_size;
    copy->queue_limit = config->queue_limit ?: DEFAULT_QUEUE;
    copy->heartbeat = config->heartbeat ?: defaults.heartbeat;
    copy->timeout = config->timeout ?: defaults.timeout;
    copy->lease = config->lease ?: copy->timeout / 10 * 8;
    copy->submit_timeout = config->submit_timeout ?: defaults.submit_timeout;
    /* A short timeout alone should not be an impossible one. */
    if (!config->heartbeat && copy->heartbeat > copy->timeout / 3) {
        copy->heartbeat = copy->timeout / 10;
    }
    if (!config->submit_timeout && copy->submit_timeout < copy->timeout) {
        copy->submit_timeout = copy->timeout;
    }
}

void apus_config_clear(ApusConfig *copy)
{
    if (copy->key) {
        explicit_bzero((uint8_t *)copy->key, copy->key_size);
    }
    g_clear_pointer((char **)&copy->cluster, g_free);
    g_clear_pointer((char **)&copy->directory, g_free);
    g_clear_pointer((char **)&copy->listen, g_free);
    g_clear_pointer((uint8_t **)&copy->key, g_free);
}
