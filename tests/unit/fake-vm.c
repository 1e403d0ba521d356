/*
 * A virtual machine that is nothing but some memory and some devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/fake-vm.h"

static const char *const block_names[FAKE_BLOCKS] = {
    "pc.ram", "vga.vram", "/rom@etc/acpi/tables",
};

static const struct {
    const char *name;
    uint32_t instance;
    size_t size;
} device_types[FAKE_DEVICES] = {
    { "cpu", 0, 300 },
    { "cpu", 1, 300 },
    { "clock", 0, 9 }, /* its last byte means nothing */
    { "virtio-net", 0, 1200 },
    { "empty", 0, 0 },
};

FakeVm *fake_vm_new(const uint64_t pages[FAKE_BLOCKS], size_t page_size,
                    uint32_t seed)
{
    FakeVm *vm = g_new0(FakeVm, 1);
    GRand *rand = g_rand_new_with_seed(1);

    for (unsigned i = 0; i < FAKE_BLOCKS; i++) {
        vm->blocks[i].name = g_strdup(block_names[i]);
        vm->blocks[i].pages = pages[i];
        vm->pages += pages[i];
    }
    vm->page_size = page_size;
    vm->memory = g_malloc0(vm->pages * page_size);
    vm->taken = g_malloc(vm->pages * page_size);
    vm->loaded = g_malloc(vm->pages * page_size);
    vm->log = g_malloc0(vm->pages);
    for (uint64_t page = 0; page < vm->pages; page += 2) {
        memset(fake_vm_page(vm, page), g_rand_int(rand), page_size);
    }
    vm->devices = plover_sections_new();
    vm->taken_devices = plover_sections_new();
    vm->loaded_devices = plover_sections_new();
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        g_autofree uint8_t *zero = g_malloc0(device_types[i].size + 1);

        plover_sections_add(vm->devices, device_types[i].name,
                            device_types[i].instance, zero,
                            device_types[i].size);
    }
    vm->rand = g_rand_new_with_seed(seed);
    g_rand_free(rand);
    return vm;
}

void fake_vm_free(FakeVm *vm)
{
    for (unsigned i = 0; i < FAKE_BLOCKS; i++) {
        g_free(vm->blocks[i].name);
    }
    g_free(vm->memory);
    g_free(vm->taken);
    g_free(vm->loaded);
    g_free(vm->log);
    plover_sections_free(vm->devices);
    plover_sections_free(vm->taken_devices);
    plover_sections_free(vm->loaded_devices);
    g_rand_free(vm->rand);
    g_free(vm);
}

uint8_t *fake_vm_page(FakeVm *vm, uint64_t page)
{
    g_assert_cmpuint(page, <, vm->pages);
    return vm->memory + page * vm->page_size;
}

void fake_vm_write(FakeVm *vm, uint64_t page, size_t offset,
                   const void *data, size_t size)
{
    g_assert_cmpuint(offset + size, <=, vm->page_size);
    memcpy(fake_vm_page(vm, page) + offset, data, size);
    vm->log[page] = 1;
}

void fake_vm_scribble(FakeVm *vm, GRand *rand)
{
    /* Most guests write to few pages again and again. */
    uint64_t pages = vm->pages - vm->spared;
    uint64_t page = g_rand_int_range(rand, 0, g_rand_boolean(rand) ?
                                     pages : (pages + 7) / 8);
    g_autofree uint8_t *data = g_malloc0(vm->page_size);
    size_t at = 0, size = vm->page_size;

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0: /* cleared */
        break;
    case 1: /* written with what it has */
        memcpy(data, fake_vm_page(vm, page), size);
        break;
    case 2: /* filled */
        for (size_t i = 0; i < size; i++) {
            data[i] = g_rand_int(rand);
        }
        break;
    case 3: /* filled with what one can compress */
        memset(data, g_rand_int(rand), size);
        break;
    default: /* changed in a place */
        size = g_rand_int_range(rand, 1, 17);
        at = g_rand_int_range(rand, 0, vm->page_size - size + 1);
        memset(data, g_rand_int(rand), size);
        break;
    }
    fake_vm_write(vm, page, at, data, size);
}

void fake_vm_change_device(FakeVm *vm, unsigned index, uint8_t value)
{
    GByteArray *data = plover_sections_get(vm->devices, index)->data;

    if (data->len) {
        data->data[value % data->len] ^= value;
    }
}

void fake_vm_work(FakeVm *vm, unsigned writes)
{
    for (unsigned i = 0; i < writes; i++) {
        fake_vm_scribble(vm, vm->rand);
    }
    if (g_rand_boolean(vm->rand)) {
        fake_vm_change_device(vm, g_rand_int_range(vm->rand, 0, FAKE_DEVICES),
                              g_rand_int(vm->rand));
    }
}

static gboolean fails(const char *why, GError **errp)
{
    if (why) {
        g_set_error_literal(errp, g_quark_from_string("fake-vm"), 0, why);
    }
    return why != NULL;
}

static void copy_devices(PloverSections *to, const PloverSections *from)
{
    plover_sections_clear(to);
    for (unsigned i = 0; i < plover_sections_count(from); i++) {
        const PloverSection *section = plover_sections_get(from, i);

        plover_sections_add(to, section->name, section->instance,
                            section->data->data, section->data->len);
    }
}

void fake_vm_take(FakeVm *vm)
{
    memcpy(vm->taken, vm->memory, vm->pages * vm->page_size);
    copy_devices(vm->taken_devices, vm->devices);
}

/* What vm.h wants. */

static gboolean op_stop(void *opaque, GError **errp)
{
    FakeVm *vm = opaque;

    g_assert_cmpint(vm->state, ==, FAKE_RUNS);
    if (fails(vm->stop_fails, errp)) {
        return FALSE;
    }
    if (vm->before_stop) {
        vm->before_stop(vm);
    }
    vm->state = FAKE_STOPPED;
    vm->stops++;
    fake_vm_take(vm);
    return TRUE;
}

static void op_release(void *opaque)
{
    FakeVm *vm = opaque;

    if (vm->state == FAKE_STOPPED) {
        vm->state = FAKE_HELD;
        if (vm->after_release) {
            vm->after_release(vm);
        }
    }
}

static void op_resume(void *opaque)
{
    FakeVm *vm = opaque;

    g_assert_cmpint(vm->state, !=, FAKE_RUNS);
    vm->state = FAKE_RUNS;
    vm->resumes++;
    if (vm->after_resume) {
        vm->after_resume(vm);
    }
}

static gboolean op_save(void *opaque, PloverSections *list, GError **errp)
{
    FakeVm *vm = opaque;

    g_assert_cmpint(vm->state, !=, FAKE_RUNS);
    g_assert_cmpuint(plover_sections_count(list), ==, 0);
    if (fails(vm->save_fails, errp)) {
        return FALSE;
    }
    copy_devices(list, vm->devices);
    if (vm->excess) {
        g_autofree uint8_t *data = g_malloc0(vm->excess);

        plover_sections_add(list, "excess", 0, data, vm->excess);
    }
    if (vm->during_save) {
        vm->during_save(vm);
    }
    return TRUE;
}

static void collect(FakeVm *vm, GArray *list)
{
    g_assert_cmpuint(list->len, ==, 0);
    for (uint64_t page = 0; page < vm->pages; page++) {
        if (vm->log[page]) {
            g_array_append_val(list, page);
            vm->log[page] = 0;
        }
    }
}

static void op_collect(void *opaque, GArray *list)
{
    FakeVm *vm = opaque;

    g_assert_cmpint(vm->state, !=, FAKE_RUNS);
    collect(vm, list);
    vm->collected_early = FALSE;
    fake_vm_take(vm);
}

static void op_collect_early(void *opaque, GArray *list)
{
    FakeVm *vm = opaque;

    g_assert_cmpint(vm->state, ==, FAKE_RUNS);
    collect(vm, list);
    vm->collected_early = TRUE;
}

static const uint8_t *op_page(void *opaque, uint64_t page)
{
    FakeVm *vm = opaque;

    if (vm->state == FAKE_RUNS) {
        g_assert_true(vm->collected_early);
        if (vm->during_copy) {
            vm->during_copy(vm);
        }
    }
    return fake_vm_page(vm, page);
}

static gboolean op_same(void *opaque G_GNUC_UNUSED, const PloverSection *a,
                        const PloverSection *b)
{
    guint ignored = strcmp(a->name, "clock") == 0;

    return strcmp(a->name, b->name) == 0 && a->instance == b->instance &&
           a->data->len == b->data->len &&
           (a->data->len <= ignored ||
            memcmp(a->data->data, b->data->data, a->data->len - ignored) == 0);
}

static void op_commit(void *opaque, uint64_t epoch)
{
    FakeVm *vm = opaque;

    g_assert_cmpuint(epoch, >, vm->committed);
    vm->commits++;
    vm->committed = epoch;
}

static gboolean op_join(void *opaque, const PloverHello *hello, uint64_t term,
                        GError **errp)
{
    FakeVm *vm = opaque;

    (void)term;
    g_assert_cmpuint(hello->page_size, ==, vm->page_size);
    return !fails(vm->join_fails, errp);
}

static gboolean op_quiesce(void *opaque, gboolean idle, GError **errp)
{
    FakeVm *vm = opaque;

    (void)errp;
    g_assert_cmpint(vm->state, ==, FAKE_RUNS);
    vm->idle_waits += idle;
    return TRUE;
}

static gboolean op_check(void *opaque, const PloverSections *want,
                         const PloverSections *own, GError **errp)
{
    FakeVm *vm = opaque;

    g_assert_cmpuint(plover_sections_count(want), ==, FAKE_DEVICES);
    g_assert_cmpuint(plover_sections_count(own), ==, FAKE_DEVICES);
    return !fails(vm->check_fails, errp);
}

static gboolean op_decide(void *opaque, uint64_t epoch, GError **errp)
{
    FakeVm *vm = opaque;

    g_assert_cmpuint(epoch, >, vm->decided);
    g_assert_cmpint(vm->state, ==, FAKE_HELD);
    if (fails(vm->decide_fails, errp)) {
        return FALSE;
    }
    vm->decisions++;
    vm->decided = epoch;
    return TRUE;
}

static void op_apply(void *opaque, const GArray *pages,
                     const uint8_t *const *data)
{
    FakeVm *vm = opaque;

    vm->applies++;
    g_assert_cmpuint(vm->decisions, ==, vm->applies);
    for (guint i = 0; i < pages->len; i++) {
        memcpy(fake_vm_page(vm, g_array_index(pages, uint64_t, i)), data[i],
               vm->page_size);
    }
}

static gboolean op_load(void *opaque, const PloverSections *want,
                        const PloverSections *own, uint32_t *loaded,
                        GError **errp)
{
    FakeVm *vm = opaque;

    if (fails(vm->load_fails, errp)) {
        return FALSE;
    }
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        const PloverSection *to = plover_sections_get(vm->devices, i);
        const PloverSection *from = plover_sections_get(want, i);

        if (!op_same(vm, from, plover_sections_get(own, i))) {
            memcpy(to->data->data, from->data->data, to->data->len);
            ++*loaded;
        }
    }
    memcpy(vm->loaded, vm->memory, vm->pages * vm->page_size);
    copy_devices(vm->loaded_devices, vm->devices);
    if (vm->during_load) {
        vm->during_load(vm);
    }
    return TRUE;
}

static void op_staged(void *opaque, uint64_t bytes)
{
    FakeVm *vm = opaque;

    vm->most_staged = MAX(vm->most_staged, bytes);
}

const PloverVm fake_vm_ops = {
    .stop = op_stop,
    .release = op_release,
    .resume = op_resume,
    .save = op_save,
    .collect = op_collect,
    .collect_early = op_collect_early,
    .page = op_page,
    .same = op_same,
    .commit = op_commit,
    .join = op_join,
    .quiesce = op_quiesce,
    .check = op_check,
    .decide = op_decide,
    .apply = op_apply,
    .load = op_load,
    .staged = op_staged,
};

static gboolean devices_equal(const PloverSections *a, const PloverSections *b)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        if (!op_same(NULL, plover_sections_get(a, i),
                     plover_sections_get(b, i))) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean fake_vm_equal(FakeVm *a, FakeVm *b)
{
    return memcmp(a->memory, b->memory, a->pages * a->page_size) == 0 &&
           devices_equal(a->devices, b->devices);
}

void fake_vm_assert_synced(FakeVm *leader, FakeVm *secondary)
{
    for (uint64_t page = 0; page < leader->pages; page++) {
        size_t at = page * leader->page_size;

        if (memcmp(leader->taken + at, secondary->loaded + at,
                   leader->page_size) != 0) {
            g_error("page %" G_GUINT64_FORMAT " differs", page);
        }
    }
    g_assert_true(devices_equal(leader->taken_devices,
                                secondary->loaded_devices));
}

void fake_vm_assert_own(FakeVm *vm)
{
    g_assert_cmpuint(vm->applies, ==, vm->decisions);
    g_assert_cmpmem(vm->memory, vm->pages * vm->page_size,
                    vm->taken, vm->pages * vm->page_size);
    g_assert_true(devices_equal(vm->devices, vm->taken_devices));
}
