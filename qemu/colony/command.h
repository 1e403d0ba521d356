/*
 * What is run: the command lines and QMP commands that a config comes to
 *
 * Every replica gets the same objects, so that a change of roles needs no
 * object-add. Nothing here has side effects: --dry-run prints just this.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_COMMAND_H
#define COLONY_COMMAND_H

#include <json-glib/json-glib.h>
#include "config.h"

typedef enum ColonyStart {
    COLONY_START_BOOT, /* the VM boots here */
    COLONY_START_WAIT, /* -incoming defer: to vote, and to be secondary */
} ColonyStart;

typedef struct ColonyStartOptions {
    ColonyStart start;
    gboolean found; /* this member does not exist yet */
    /*
     * How often the group was founded, from 1, and which founding it was; its
     * cluster is named NAME.GENERATION.ID, so that who comes back from another
     * one is not heard.
     */
    guint64 generation;
    const char *id; /* at most 8 characters */
    const ColonyNode *leader; /* who boots when the group is founded */
    const char *const *taps; /* for each NIC: the name of its tap device */
} ColonyStartOptions;

/* QEMU on a node that can run; NULL-terminated, [0] is the emulator. */
char **colony_command_qemu(const ColonyConfig *config, const ColonyNode *node,
                           const ColonyStartOptions *options);
/*
 * apusd on a node that cannot; its configuration is written to @file.
 * @found: only make the member's state, and end.
 */
char **colony_command_apusd(const ColonyConfig *config, const ColonyNode *node,
                            const char *file, gboolean found);
/* Of @options only generation, id and leader count. */
char *colony_command_apusd_config(const ColonyConfig *config,
                                  const ColonyNode *node,
                                  const ColonyStartOptions *options);

/*
 * QMP commands, in order, as JSON objects { "execute", "arguments" }; the
 * elements of the array are JsonNode *.
 */
/* On the node that waits, so that @leader's VM can come. */
GPtrArray *colony_command_prepare(const ColonyConfig *config,
                                  const ColonyNode *node,
                                  const ColonyNode *leader);
/*
 * On the leader: have the disks copied to @node, beside the running guest.
 * When each disk has said GANNET_SYNCED:
 */
GPtrArray *colony_command_resync(const ColonyConfig *config,
                                 const ColonyNode *node, gboolean whole);
/* On the leader: have the VM copied, and protected by @node from then on. */
GPtrArray *colony_command_protect(const ColonyConfig *config,
                                  const ColonyNode *node);

/* A command line as a shell would take it, over several lines. */
char *colony_command_print(const char *const *argv);

/* Paths under a node's directory; the caller frees them. */
char *colony_path_qmp(const ColonyNode *node);
char *colony_path_control(const ColonyNode *node);
char *colony_path_pid(const ColonyNode *node);
char *colony_path_member(const ColonyNode *node); /* the group's log */
char *colony_path_witness(const ColonyNode *node); /* apusd's socket */
char *colony_path_output(const ColonyNode *node); /* QEMU's messages */
char *colony_path_console(const ColonyNode *node); /* socket: a serial port */
/*
 * gannet's side file of a disk; to be made, COLONY_METADATA_SIZE bytes of
 * zeroes, before QEMU is started for the first time.
 */
#define COLONY_METADATA_SIZE (64 << 10)
char *colony_path_metadata(const ColonyNode *node, const ColonyDisk *disk);

#endif
