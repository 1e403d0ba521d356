/*
 * The file that describes one protected VM
 *
 * An INI file, the same on every node. What a user may write is in
 * docs/man/colony.conf.rst; here is what the program makes of it. Everything is
 * filled in and checked: whoever has a ColonyConfig need not look for missing
 * values or impossible combinations.
 *
 * A config does not change once it is loaded, so any thread may read it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONFIG_H
#define COLONY_CONFIG_H

#include <glib.h>

/*
 * Errors are lines "FILE:LINE: [GROUP] KEY: what is wrong; remedy", or
 * "FILE: what is wrong" of the file as a whole.
 */
#define COLONY_CONFIG_ERROR colony_config_error_quark()
GQuark colony_config_error_quark(void);

#define COLONY_NODES_MAX 6 /* members of a group, while one is replaced */

typedef enum ColonyConfigError {
    COLONY_CONFIG_ERROR_FILE, /* cannot be read, or is no INI file */
    COLONY_CONFIG_ERROR_UNKNOWN, /* group or key */
    COLONY_CONFIG_ERROR_MISSING,
    COLONY_CONFIG_ERROR_VALUE,
    COLONY_CONFIG_ERROR_CONFLICT, /* values that do not go together */
} ColonyConfigError;

typedef enum ColonyPreset {
    COLONY_PRESET_HYBRID, /* release=compare */
    COLONY_PRESET_PLOVER, /* release=sync, idle=on */
} ColonyPreset;

typedef struct ColonyNode {
    char *name; /* of the group [node NAME] */
    unsigned id; /* of the member, 1 to 65535: its place if it is not given */
    char *host; /* IPv4 or IPv6 address, by which the others reach it */
    gboolean can_run; /* the VM; else it has a vote only, and runs apusd */
    /* TCP ports on @host; disk number n listens on disk_port + n */
    guint16 group_port, migration_port, control_port, disk_port;
    char *directory; /* state: logs, sockets; absolute */
} ColonyNode;

typedef struct ColonyDisk {
    char *id; /* of the group [disk ID] */
    GHashTable *files; /* node name -> absolute path, for each that can run */
    char *format; /* of QEMU: "raw", "qcow2" */
    char *interface; /* "virtio", "scsi", "ide" */
    guint64 buffer; /* bytes that a secondary may buffer; 0: the default */
} ColonyDisk;

typedef struct ColonyNic {
    char *id; /* of the group [nic ID] */
    char *bridge; /* a tap of it is made; NULL: @tap is there already */
    char *tap;
    char *mac; /* never NULL: made from the VM's name if it is not given */
    char *model; /* of QEMU, e.g. "virtio-net-pci" */
} ColonyNic;

typedef struct ColonyConfig {
    char *path; /* absolute */
    /* [vm] */
    char *name;
    guint64 memory; /* bytes */
    unsigned cpus;
    char *machine, *accel, *cpu_model;
    char *kernel, *initrd, *append, *firmware; /* NULL if not given */
    char **arguments; /* more options of QEMU, as a shell would split them */
    char *emulator; /* absolute path */
    /* [disk ID], [nic ID], [node NAME], in the order of the file */
    GPtrArray *disks, *nics, *nodes;
    /* [policy] */
    ColonyPreset preset;
    gboolean hold_unprotected; /* unprotected=hold */
    gboolean reprotect; /* by itself, after a failure */
    unsigned timeout; /* ms of silence that are taken for death */
    unsigned interval; /* ms between two syncs, at most */
    unsigned compare_timeout; /* ms; of filter-guard */
    guint64 held_limit; /* bytes of outputs that may be held */
    guint64 log_size; /* bytes of the group's log in memory */
    char *transport; /* "tcp", "rdma": of the group, pages and blocks */
    char *durability; /* of the group */
    char *key_file; /* by which members know each other; NULL: none, or [tls] */
    /* [tls]; NULL: nothing is encrypted */
    char *tls_directory; /* ca-cert.pem, cert.pem, key.pem */
    /* [metrics] */
    char *metrics_host; /* NULL: off */
    guint16 metrics_port;
} ColonyConfig;

/* All that is wrong is in one @error, a line for each; NULL then. */
ColonyConfig *colony_config_load(const char *path, GError **error);
/* The same of a text; @path is only for messages. */
ColonyConfig *colony_config_parse(const char *path, const char *text,
                                  gsize length, GError **error);
void colony_config_free(ColonyConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColonyConfig, colony_config_free)

/* NULL if there is none. */
const ColonyNode *colony_config_node(const ColonyConfig *config,
                                     const char *name);
const ColonyNode *colony_config_member(const ColonyConfig *config,
                                       unsigned id);

/*
 * What the VMs of two files cannot both have on the hosts that they share:
 * names, ports, directories, files, devices. A sentence for each.
 */
GPtrArray *colony_config_beside(const ColonyConfig *config,
                                const ColonyConfig *other);

/*
 * A number that is equal for equal contents: nodes with different files refuse
 * each other. Comments do not count, nor does the emulator; neither does the
 * order, but that of nodes, of disks, and of NICs among themselves.
 */
guint64 colony_config_digest(const ColonyConfig *config);

#endif
