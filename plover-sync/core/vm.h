/*
 * The virtual machine, as a sync sees it
 *
 * What leader.h and secondary.h ask of the virtual machine monitor. All calls
 * come from the thread that runs the sync.
 *
 * Pages are numbered through all RAM blocks, in the order of PloverHello. A
 * list of pages is a GArray of uint64_t, rising, without duplicates.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_VM_H
#define PLOVER_VM_H

#include <glib.h>
#include <stdint.h>

#include "plover-sync/core/sections.h"
#include "plover-sync/core/wire.h"

typedef struct PloverVm {
    /*
     * Stop the virtual CPUs and finish what the devices have under way. From
     * then until release() nothing else touches the VM. FALSE: it may not be
     * stopped now, and is as it was.
     */
    gboolean (*stop)(void *opaque, GError **errp);
    /*
     * Let the VM run again, if it ran before stop(). It does so at the latest
     * with the release() that follows at once.
     */
    void (*resume)(void *opaque);
    /* Let others do their work, whether the VM stands or runs. */
    void (*release)(void *opaque);

    /* Save the state of the devices. Between stop() and release(). */
    gboolean (*save)(void *opaque, PloverSections *list, GError **errp);
    /*
     * Add the pages that were written since the last call, and clear the log.
     * @list is empty. While the VM stands.
     */
    void (*collect)(void *opaque, GArray *list);
    /*
     * Leader only, may be NULL. The same while the VM runs: what page() has
     * afterwards is as new as what was collected, or newer, and then it will be
     * collected again.
     */
    void (*collect_early)(void *opaque, GArray *list);
    /* Where the bytes of @page are. */
    const uint8_t *(*page)(void *opaque, uint64_t page);
    /* Leader only. Whether two sections that should be equal are. */
    gboolean (*same)(void *opaque, const PloverSection *a,
                     const PloverSection *b);

    /*
     * Leader only. The epoch is safe: what the VM said in it may be heard. The
     * VM may be running.
     */
    void (*commit)(void *opaque, uint64_t epoch);

    /* Secondary only. */

    /*
     * What the leader asks of a session of @term fits this VM: begin it. The
     * leader hears of it, and asks for a sync, only afterwards. May be NULL.
     */
    gboolean (*join)(void *opaque, const PloverHello *hello, uint64_t term,
                     GError **errp);
    /*
     * The VM is about to be stopped: let it take all its inputs of the epoch,
     * and with @idle wait until it has nothing to do, but not for long.
     */
    gboolean (*quiesce)(void *opaque, gboolean idle, GError **errp);
    /* Could @want be loaded? @own is what save() gave here. */
    gboolean (*check)(void *opaque, const PloverSections *want,
                      const PloverSections *own, GError **errp);
    /*
     * The point of no return: FALSE when this sync must not be applied any
     * more, because this replica takes over, or may. It is refused then; if
     * nothing comes of the takeover, the next one is decided anew.
     */
    gboolean (*decide)(void *opaque, uint64_t epoch, GError **errp);
    /* Memory first; the pages' bytes are @data[i]. */
    void (*apply)(void *opaque, const GArray *pages,
                  const uint8_t *const *data);
    /*
     * Then the devices; returns how many sections were loaded. What fails here
     * fails after the point of no return: the VM is lost.
     */
    gboolean (*load)(void *opaque, const PloverSections *want,
                     const PloverSections *own, uint32_t *loaded,
                     GError **errp);
    /* May be NULL: the stage has grown to @bytes. */
    void (*staged)(void *opaque, uint64_t bytes);
} PloverVm;

#endif
