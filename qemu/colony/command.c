/*
 * Command lines
 *
 * The same objects, devices and ids on every replica; docs/user/plover.rst says
 * what they are for. Block nodes and netdevs have the ids of the config.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "command.h"
#include "command-internal.h"

#define MIB (1 << 20)

/* --- where things are ----------------------------------------------------- */

static char *path_of(const ColonyNode *node, const char *name)
{
    return g_build_filename(node->directory, name, NULL);
}

char *colony_path_qmp(const ColonyNode *node)
{
    return path_of(node, "qmp");
}

char *colony_path_control(const ColonyNode *node)
{
    return path_of(node, "control");
}

char *colony_path_console(const ColonyNode *node)
{
    return path_of(node, "console");
}

char *colony_path_pid(const ColonyNode *node)
{
    return path_of(node, "pid");
}

char *colony_path_member(const ColonyNode *node)
{
    return path_of(node, "member");
}

char *colony_path_witness(const ColonyNode *node)
{
    return path_of(node, "witness");
}

char *colony_path_output(const ColonyNode *node)
{
    return path_of(node, "output");
}

char *colony_path_metadata(const ColonyNode *node, const ColonyDisk *disk)
{
    g_autofree char *name = g_strdup_printf("disk-%s.meta", disk->id);

    return path_of(node, name);
}

char *colony_address(const ColonyNode *node, guint16 port)
{
    const char *form = strchr(node->host, ':') ? "[%s]:%u" : "%s:%u";

    return g_strdup_printf(form, node->host, port);
}

/* --- words ---------------------------------------------------------------- */

static void add(GPtrArray *argv, const char *word)
{
    g_ptr_array_add(argv, g_strdup(word));
}

static void add_pair(GPtrArray *argv, const char *option, const char *value)
{
    add(argv, option);
    add(argv, value);
}

/* If there is a value. */
static void add_some(GPtrArray *argv, const char *option, const char *value)
{
    if (value) {
        add_pair(argv, option, value);
    }
}

/*
 * KEY=VALUE,... are put together in a GString. A comma in a value is written
 * twice, as QEMU wants it.
 */
static void set(GString *text, const char *key, const char *value)
{
    g_string_append_printf(text, "%s%s=", text->len ? "," : "", key);
    for (; *value; value++) {
        g_string_append(text, *value == ',' ? "," : "");
        g_string_append_c(text, *value);
    }
}

static void G_GNUC_PRINTF(3, 4) setf(GString *text, const char *key,
                                     const char *format, ...)
{
    g_autofree char *value = NULL;
    va_list args;

    va_start(args, format);
    value = g_strdup_vprintf(format, args);
    va_end(args);
    set(text, key, value);
}

static void set_path(GString *text, const char *key, char *path)
{
    set(text, key, path);
    g_free(path);
}

static void set_switch(GString *text, const char *key, gboolean on)
{
    set(text, key, on ? "on" : "off");
}

/* @text: taken over */
static void add_text(GPtrArray *argv, const char *option, GString *text)
{
    add(argv, option);
    g_ptr_array_add(argv, g_string_free(text, FALSE));
}

/* --- the machine ---------------------------------------------------------- */

/*
 * A name without a version means another machine in each release of QEMU, and
 * replicas may run two of them; so it stands for that of the first one for
 * ever. A file that wants a newer one names it.
 */
static const char *pinned_machine(const char *name)
{
    static const char *const pinned[][2] = {
        { "q35", "pc-q35-10.0" },
        { "pc", "pc-i440fx-10.0" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(pinned); i++) {
        if (!strcmp(name, pinned[i][0])) {
            return pinned[i][1];
        }
    }
    return name;
}

static void add_machine(GPtrArray *argv, const ColonyConfig *config)
{
    GString *name = g_string_new(NULL);

    set(name, "guest", config->name);
    add_text(argv, "-name", name);
    add(argv, "-nodefaults");
    add(argv, "-no-user-config");
    add_pair(argv, "-display", "none");
    add_pair(argv, "-msg", "timestamp=on");
    add_pair(argv, "-machine", pinned_machine(config->machine));
    add_pair(argv, "-accel", config->accel);
    add_some(argv, "-cpu", config->cpu_model);
    add(argv, "-smp");
    g_ptr_array_add(argv, g_strdup_printf("%u", config->cpus));
    add(argv, "-m");
    g_ptr_array_add(argv, config->memory % MIB == 0
        ? g_strdup_printf("%" G_GUINT64_FORMAT "M", config->memory / MIB)
        : g_strdup_printf("%" G_GUINT64_FORMAT "B", config->memory));
    /* The clock is part of what is the same on both sides. */
    add_pair(argv, "-rtc", "clock=vm");
    add_some(argv, "-bios", config->firmware);
    add_some(argv, "-kernel", config->kernel);
    add_some(argv, "-initrd", config->initrd);
    add_some(argv, "-append", config->append);
}

static void add_socket(GPtrArray *argv, const char *id, char *path)
{
    GString *text = g_string_new("socket");

    set(text, "id", id);
    set_path(text, "path", path);
    set_switch(text, "server", TRUE);
    set_switch(text, "wait", FALSE);
    add_text(argv, "-chardev", text);
}

static void add_monitor(GPtrArray *argv, const ColonyNode *node)
{
    add_socket(argv, "qmp0", colony_path_qmp(node));
    add_pair(argv, "-mon", "chardev=qmp0,mode=control");
}

/* The last serial port: after those of [vm] arguments. */
static void add_console(GPtrArray *argv, const ColonyNode *node)
{
    add_socket(argv, "console0", colony_path_console(node));
    add_pair(argv, "-serial", "chardev:console0");
}

/* --- the group ------------------------------------------------------------ */

static gboolean is_rdma(const ColonyConfig *config)
{
    return !g_strcmp0(config->transport, "rdma");
}

static void add_credentials(GPtrArray *argv, const ColonyConfig *config)
{
    static const char *const endpoints[] = { "server", "client" };

    for (unsigned i = 0; i < G_N_ELEMENTS(endpoints); i++) {
        GString *text = g_string_new("tls-creds-psk");

        setf(text, "id", "tls-%s", endpoints[i]);
        set(text, "endpoint", endpoints[i]);
        set(text, "dir", config->tls_directory);
        /* What GnuTLS prefers is slow on hosts that have AES. */
        set(text, "priority", "NORMAL:-CHACHA20-POLY1305");
        add_text(argv, "-object", text);
    }
}

/* QEMU reads the file: the key is on no command line. */
static void add_key(GPtrArray *argv, const ColonyConfig *config)
{
    GString *text = g_string_new("secret,id=key0");

    set(text, "file", config->key_file);
    add_text(argv, "-object", text);
}

static void set_member(GString *text, unsigned place, const ColonyNode *node)
{
    g_autofree char *id = g_strdup_printf("members.%u.id", place);
    g_autofree char *address = g_strdup_printf("members.%u.address", place);
    g_autofree char *can_run = g_strdup_printf("members.%u.can-run", place);

    setf(text, id, "%u", node->id);
    set_path(text, address, colony_address(node, node->group_port));
    set_switch(text, can_run, node->can_run);
}

static char *cluster_name(const ColonyConfig *config,
                          const ColonyStartOptions *options)
{
    return g_strdup_printf("%s.%" G_GUINT64_FORMAT ".%s", config->name,
                           options->generation, options->id);
}

static void add_group(GPtrArray *argv, const ColonyConfig *config,
                      const ColonyNode *node,
                      const ColonyStartOptions *options)
{
    GString *text = g_string_new("apus-group,id=g0");

    set_path(text, "cluster", cluster_name(config, options));
    setf(text, "member", "%u", node->id);
    set_path(text, "directory", colony_path_member(node));
    set_switch(text, "found", options->found);
    setf(text, "leader", "%u", options->leader->id);
    set(text, "unprotected", config->hold_unprotected ? "hold" : "serve");
    setf(text, "timeout", "%u", config->timeout);
    set(text, "durability", config->durability);
    setf(text, "log-size", "%" G_GUINT64_FORMAT, config->log_size / MIB);
    if (is_rdma(config)) {
        set(text, "transport", "rdma");
    }
    if (config->tls_directory) {
        set(text, "tls-creds", "tls-server");
    } else if (config->key_file) {
        set(text, "key-secret", "key0");
    }
    for (guint i = 0; i < config->nodes->len; i++) {
        set_member(text, i, config->nodes->pdata[i]);
    }
    add_text(argv, "-object", text);
}

static void add_filters(GPtrArray *argv, const ColonyConfig *config,
                        const ColonyNic *nic)
{
    GString *apus = g_string_new("filter-apus");
    GString *guard = g_string_new("filter-guard");

    setf(apus, "id", "apus-%s", nic->id);
    set(apus, "netdev", nic->id);
    set(apus, "group", "g0");
    add_text(argv, "-object", apus);

    setf(guard, "id", "guard-%s", nic->id);
    set(guard, "netdev", nic->id);
    set(guard, "group", "g0");
    if (config->preset == COLONY_PRESET_PLOVER) {
        set(guard, "release", "sync");
    } else {
        set(guard, "release", "compare");
        setf(guard, "compare-timeout", "%u", config->compare_timeout);
    }
    setf(guard, "limit", "%" G_GUINT64_FORMAT, config->held_limit);
    add_text(argv, "-object", guard);
}

static void add_plover(GPtrArray *argv, const ColonyConfig *config,
                       const ColonyNode *node)
{
    GString *text = g_string_new("plover,id=plover0,copy=hash");

    if (config->preset == COLONY_PRESET_PLOVER) {
        set_switch(text, "idle", TRUE);
    }
    if (is_rdma(config)) {
        set_path(text, "rdma", colony_address(node, 0));
    }
    add_text(argv, "-object", text);
}

/* --- devices -------------------------------------------------------------- */

static gboolean has_pci(const ColonyConfig *config)
{
    return !g_str_has_prefix(config->machine, "microvm");
}

/* All PCI cards have one, from which they would boot the VM. */
static gboolean has_rom(const ColonyNic *nic)
{
    return !g_str_has_suffix(nic->model, "-device") &&
           !g_str_has_suffix(nic->model, "_isa") &&
           !g_str_has_prefix(nic->model, "usb-");
}

static void add_nic(GPtrArray *argv, const ColonyNic *nic, const char *tap)
{
    GString *netdev = g_string_new("tap");
    GString *device = g_string_new(nic->model);

    set(netdev, "id", nic->id);
    set(netdev, "ifname", tap);
    set(netdev, "script", "no");
    set(netdev, "downscript", "no");
    add_text(argv, "-netdev", netdev);

    setf(device, "id", "nic-%s", nic->id);
    set(device, "netdev", nic->id);
    set(device, "mac", nic->mac);
    if (has_rom(nic)) {
        set(device, "romfile", "");
    }
    add_text(argv, "-device", device);
}

static const char *tap_of(const ColonyNic *nic,
                          const ColonyStartOptions *options, guint number)
{
    if (options->taps) {
        return options->taps[number];
    }
    return nic->tap ? nic->tap : nic->id;
}

static void set_image(GString *text, const ColonyDisk *disk,
                      const ColonyNode *node)
{
    const char *path = g_hash_table_lookup(disk->files, node->name);

    if (!strcmp(disk->format, "raw")) {
        set(text, "file.driver", "file");
        set(text, "file.filename", path);
    } else {
        set(text, "file.driver", disk->format);
        set(text, "file.file.driver", "file");
        set(text, "file.file.filename", path);
    }
}

static void add_gannet(GPtrArray *argv, const ColonyConfig *config,
                       const ColonyNode *node, guint number)
{
    const ColonyDisk *disk = config->disks->pdata[number];
    GString *text = g_string_new("driver=gannet");

    set(text, "node-name", disk->id);
    set(text, "metadata.driver", "file");
    set_path(text, "metadata.filename", colony_path_metadata(node, disk));
    /* Who is the peer is said when it is known, see command-qmp.c. */
    set(text, "listen.type", "inet");
    set(text, "listen.host", node->host);
    setf(text, "listen.port", "%u", node->disk_port + number);
    if (config->tls_directory) {
        set(text, "tls-server-creds", "tls-server");
        set(text, "tls-creds", "tls-client");
    }
    if (is_rdma(config)) {
        set_path(text, "rdma", colony_address(node, 0));
    }
    if (disk->buffer) {
        setf(text, "buffer-limit", "%" G_GUINT64_FORMAT, disk->buffer);
    }
    set_image(text, disk, node);
    add_text(argv, "-blockdev", text);
}

static void add_disk_device(GPtrArray *argv, const ColonyConfig *config,
                            const ColonyDisk *disk)
{
    const char *model = has_pci(config) ? "virtio-blk-pci"
                                        : "virtio-blk-device";
    GString *text;

    if (!strcmp(disk->interface, "scsi")) {
        model = "scsi-hd";
    } else if (!strcmp(disk->interface, "ide")) {
        model = "ide-hd";
    }
    text = g_string_new(model);
    setf(text, "id", "disk-%s", disk->id);
    set(text, "drive", disk->id);
    add_text(argv, "-device", text);
}

static void add_disks(GPtrArray *argv, const ColonyConfig *config,
                      const ColonyNode *node)
{
    gboolean scsi = FALSE;

    for (guint i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = config->disks->pdata[i];

        add_gannet(argv, config, node, i);
        if (!strcmp(disk->interface, "scsi") && !scsi) {
            scsi = TRUE;
            add_pair(argv, "-device", has_pci(config)
                     ? "virtio-scsi-pci,id=scsi0"
                     : "virtio-scsi-device,id=scsi0");
        }
        add_disk_device(argv, config, disk);
    }
}

/* --- programs ------------------------------------------------------------- */

char **colony_command_qemu(const ColonyConfig *config, const ColonyNode *node,
                           const ColonyStartOptions *options)
{
    GPtrArray *argv = g_ptr_array_new();

    add(argv, config->emulator);
    add_machine(argv, config);
    add_monitor(argv, node);
    if (config->tls_directory) {
        add_credentials(argv, config);
    } else if (config->key_file) {
        add_key(argv, config);
    }
    add_disks(argv, config, node);
    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = config->nics->pdata[i];

        add_nic(argv, nic, tap_of(nic, options, i));
    }
    add_group(argv, config, node, options);
    for (guint i = 0; i < config->nics->len; i++) {
        add_filters(argv, config, config->nics->pdata[i]);
    }
    add_plover(argv, config, node);
    for (char **word = config->arguments; word && *word; word++) {
        add(argv, *word);
    }
    add_console(argv, node);
    if (options->start == COLONY_START_WAIT) {
        add_pair(argv, "-incoming", "defer");
    }
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

/* The one that came with this program, or else the one in $PATH. */
static char *find_apusd(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *directory = g_path_get_dirname(self ? self : ".");
    g_autofree char *path = g_build_filename(directory, "apusd", NULL);

    if (self && g_file_test(path, G_FILE_TEST_IS_EXECUTABLE)) {
        return g_steal_pointer(&path);
    }
    return g_strdup("apusd");
}

char **colony_command_apusd(const ColonyConfig *config, const ColonyNode *node,
                            const char *file, gboolean found)
{
    GPtrArray *argv = g_ptr_array_new();

    (void)config;
    (void)node;
    g_ptr_array_add(argv, find_apusd());
    add_pair(argv, "-c", file);
    if (found) {
        add(argv, "--found");
    }
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

static void set_own(GKeyFile *file, const ColonyConfig *config,
                    const ColonyNode *node, const ColonyStartOptions *options)
{
    g_autofree char *name = cluster_name(config, options);
    g_autofree char *directory = colony_path_member(node);
    g_autofree char *socket = colony_path_witness(node);

    g_key_file_set_string(file, "group", "name", name);
    g_key_file_set_integer(file, "group", "id", node->id);
    g_key_file_set_string(file, "group", "directory", directory);
    g_key_file_set_string(file, "group", "socket", socket);
    g_key_file_set_integer(file, "group", "leader", options->leader->id);
    g_key_file_set_integer(file, "group", "timeout", config->timeout);
    g_key_file_set_string(file, "group", "durability", config->durability);
    g_key_file_set_uint64(file, "group", "log-size", config->log_size / MIB);
    if (is_rdma(config)) {
        g_key_file_set_string(file, "group", "transport", "rdma");
    }
    if (config->tls_directory) {
        g_autofree char *key = g_build_filename(config->tls_directory,
                                                "keys.psk", NULL);

        g_key_file_set_string(file, "group", "tls", "psk");
        g_key_file_set_string(file, "group", "key-file", key);
    } else if (config->key_file) {
        g_key_file_set_string(file, "group", "key-file", config->key_file);
    }
}

char *colony_command_apusd_config(const ColonyConfig *config,
                                  const ColonyNode *node,
                                  const ColonyStartOptions *options)
{
    g_autoptr(GKeyFile) file = g_key_file_new();

    set_own(file, config, node, options);
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *member = config->nodes->pdata[i];
        g_autofree char *address = colony_address(member, member->group_port);
        g_autofree char *group = g_strdup_printf("member %u", member->id);

        g_key_file_set_string(file, group, "address", address);
        g_key_file_set_string(file, group, "can-run",
                              member->can_run ? "yes" : "no");
    }
    return g_key_file_to_data(file, NULL, NULL);
}
