/*
 * What a node remembers: the file "node.state" in its directory
 *
 * Not who leads, which only the group can say, but what a node without a
 * process has to know to begin in the right way: whether the VM is wanted, to
 * which founding of the group its member belongs, and who led when it last
 * heard of it. Every change is on disk before the function returns.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_RECORD_H
#define COLONY_RECORD_H

#include <glib.h>

typedef struct ColonyRecord {
    char *path;
    gboolean wanted; /* the VM is to run: colony up */
    guint64 generation; /* how often the group was founded; 0: never */
    char *id; /* of this founding, by whoever began it; NULL: none */
    char *boot; /* the node where the VM booted then */
    guint64 disks; /* newer ones than of this generation were given up */
    char **absent; /* nodes that this one knows to have never been members */
    gboolean founding; /* the member may not have been made yet */
    gboolean forget; /* a member that is there is of a founding before */
    /* The newest roles that were heard of; @term 0: none of this group. */
    guint64 term;
    unsigned leader, secondary; /* members; 0: nobody */
    unsigned mate; /* that had the VM last together with this one; or 0 */
    gboolean off; /* the guest has switched itself off, or was ended */
} ColonyRecord;

/* An empty one if there is no file. A damaged one is an error. */
ColonyRecord *colony_record_load(const char *directory, GError **error);
gboolean colony_record_save(const ColonyRecord *record, GError **error);
/*
 * This node belongs to another founding from now on, which is saved; nothing
 * has changed if that fails. @absent: see above; may be NULL. @disks: see
 * above.
 */
gboolean colony_record_found(ColonyRecord *record, guint64 generation,
                             const char *id, const char *boot, guint64 disks,
                             const char *const *absent, GError **error);

/*
 * Whether @node was never a member, and may become one. Not saved.
 */
void colony_record_expect(ColonyRecord *record, const char *node, gboolean on);
gboolean colony_record_expects(const ColonyRecord *record, const char *node);
void colony_record_free(ColonyRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColonyRecord, colony_record_free)

#endif
