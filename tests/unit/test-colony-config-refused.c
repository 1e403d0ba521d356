/*
 * What the file that describes a VM cannot say, and what its user is told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/config.h"
#include "tests/unit/colony-conf.h"

typedef struct Refusal {
    const char *name;
    const char *from, *to; /* what is changed in the usual file */
    const char *words; /* of the error, from its line on; NULL: no error */
} Refusal;

static const Refusal refusals[] = {
    /* lines */
    { "no ini", "cpus=2", "cpus 2", "4: \"cpus 2\" is no [GROUP], KEY=VALUE" },
    { "an open bracket", "[policy]", "[policy", "24: \"[policy\" is no " },
    { "a comment behind a group", "[policy]", "[policy] # x",
      "24: \"[policy] # x\" is no " },
    { "a key before all groups", "[vm]", "x=1\n[vm]", "1: x: |no group" },
    { "no key", "cpus=2", "=2", "4: \"=2\" is no " },
    { "a control character", "cpus=2", "cpus=\x1b", "4: control |0x1b" },
    { "a lone carriage return", "cpus=2", "cpus=\rx", "4: control |0x0d" },
    { "no UTF-8", "cpus=2", "cpus=\xff", "4: byte 0xff|UTF-8" },
    { "a key twice", "cpus=2", "cpus=2\ncpus=2",
      "5: [vm] cpus: |line 4 already|leave one" },
    { "a group twice", "[policy]", "[node a]\n[policy]",
      "24: [node a]: |line 16 already|leave one" },
    /* groups and keys */
    { "a group that is unknown", "[policy]", "[polciy]",
      "24: [polciy]: |no such group|did you mean policy?" },
    { "a group like no other", "[policy]", "[x]",
      "24: [x]: |there are [vm], [disk ID], " },
    { "a name where none is", "[policy]", "[policy a]",
      "24: [policy a]: |write [policy]" },
    { "no name", "[disk vda]", "[disk]", "6: [disk]: |write [disk NAME]" },
    { "a name with a dot", "[disk vda]", "[disk a.b]",
      "6: [disk a.b]: \"a.b\" cannot be a name" },
    { "a name after two spaces", "[disk vda]", "[disk  vda]",
      "6: [disk  vda]: \" vda\" cannot be a name" },
    { "a name that is too long", "[nic net0]", "[nic abcdefghijklmnop]",
      "12: [nic abcdefghijklmnop]: |at most 15" },
    { "a key that is unknown", "cpus=2", "cpu-count=2",
      "4: [vm] cpu-count: |no such key|there are: name, memory, cpus" },
    { "a key with a slip", "cpus=2", "cups=2",
      "4: [vm] cups: |did you mean cpus?" },
    { "a key of another group", "cpus=2", "bridge=br0",
      "4: [vm] bridge: |belongs to [nic NAME]" },
    { "no value", "cpus=2", "cpus= ", "4: [vm] cpus: has no value" },
    { "no name of the VM", "name=vm1\n", "", "1: [vm] name: is missing|name=" },
    { "no memory", "memory=2G\n", "", "1: [vm] memory: is missing|memory=" },
    { "no host", "host=192.0.2.2\n", "", "19: [node b] host: is missing" },
    { "no folder of tls", "[policy]", "[tls]\n[policy]",
      "24: [tls] directory: is missing" },
    /* values */
    { "a name of a VM", "name=vm1", "name=../x", "2: [vm] name: \"../x\"" },
    { "a long name of a VM", "name=vm1",
      "name=v23456789012345678901234567890123", "2: [vm] name: |at most 32" },
    { "no number", "cpus=2", "cpus=two",
      "4: [vm] cpus: \"two\" is no whole number from 1 to 255" },
    { "a number that is too small", "cpus=2", "cpus=0", "4: [vm] cpus: \"0\"" },
    { "a number that is too large", "cpus=2", "cpus=256", "4: [vm] cpus: " },
    { "a number below nothing", "cpus=2", "cpus=-1", "4: [vm] cpus: \"-1\"" },
    { "a size without a unit", "memory=2G", "memory=2048",
      "3: [vm] memory: \"2048\" is no size from 1M to 16T" },
    { "a size in another unit", "memory=2G", "memory=2GB", "3: [vm] memory: " },
    { "a size beyond all", "memory=2G", "memory=99999999999T", "3: [vm] mem" },
    { "a size that would be 1T if it were cut off", "memory=2G",
      "memory=16777217T", "3: [vm] memory: " },
    { "memory with a rest", "memory=2G", "memory=1048577",
      "3: [vm] memory: is no multiple of 1M" },
    { "a time that is too short", "preset=hybrid", "timeout=29",
      "25: [policy] timeout: \"29\" is no time from 30ms to 60s" },
    { "a time in another unit", "preset=hybrid", "timeout=1min",
      "25: [policy] timeout: \"1min\"" },
    { "a choice", "can-run=yes", "can-run=true",
      "18: [node a] can-run: \"true\" is none of no, yes" },
    { "an accelerator", "cpus=2", "accel=xen", "4: [vm] accel: |kvm, tcg" },
    { "a machine with spaces", "cpus=2", "machine=a b", "4: [vm] machine: " },
    { "a path that is none", "format=raw", "file.b=x",
      "8: [disk vda] file.b: \"x\" is not absolute" },
    { "a format", "format=raw", "format=vmdk", "8: [disk vda] format: |qcow2" },
    { "a buffer that is too small", "format=raw", "buffer=64M",
      "8: [disk vda] buffer: |from 128M to 256G" },
    { "nothing: a directory with just room for sockets", "can-run=yes",
      "directory=/23456789012345678901234567890123456789012345678901234567890"
      "123456789012345678901234567",
      NULL },
    { "a directory with no room for sockets", "can-run=yes",
      "directory=/23456789012345678901234567890123456789012345678901234567890"
      "1234567890123456789012345678x",
      "18: [node a] directory: 89 bytes|at most 88" },
    { "an interface that is too long", "bridge=br0", "bridge=abcdefghijklmnop",
      "13: [nic net0] bridge: |at most 15" },
    { "an interface with a slash", "bridge=br0", "bridge=../x",
      "13: [nic net0] bridge: " },
    { "an address of a group of cards", "bridge=br0",
      "bridge=br0\nmac=53:54:00:12:34:56", "14: [nic net0] mac: " },
    { "an address with dashes", "bridge=br0",
      "bridge=br0\nmac=52-54-00-12-34-56", "14: [nic net0] mac: " },
    { "a host by name", "host=192.0.2.2", "host=b.example",
      "20: [node b] host: \"b.example\" is no address|192.0.2.1" },
    { "a host with a port", "host=192.0.2.2", "host=192.0.2.2:7000",
      "20: [node b] host: |without a port" },
    { "a host that is everywhere", "host=192.0.2.2", "host=0.0.0.0",
      "20: [node b] host: |of one host" },
    { "a host that is many", "host=192.0.2.2", "host=ff02::1",
      "20: [node b] host: |of one host" },
    { "a host on some link", "host=192.0.2.2", "host=fe80::1",
      "20: [node b] host: |of one host" },
    { "a port that is none", "can-run=yes", "group-port=65536",
      "18: [node a] group-port: |port from 1 to 65535" },
    { "words that do not end", "cpus=2", "arguments=-x 'a",
      "4: [vm] arguments: |quotes" },
    /* combinations */
    { "memory by another way", "cpus=2", "arguments=-m 1G",
      "4: [vm] arguments: -m |memory=" },
    { "a network card by another way", "cpus=2", "arguments=--netdev user,id=x",
      "4: [vm] arguments: --netdev |[nic ID]" },
    { "what colony decides", "cpus=2", "arguments=-incoming defer",
      "4: [vm] arguments: -incoming |colony decides" },
    { "a ramdisk without a kernel", "cpus=2", "initrd=/i",
      "4: [vm] initrd: needs a kernel" },
    { "words for no kernel", "cpus=2", "append=x", "4: [vm] append: needs a " },
    { "a disk without a file", "file=/srv/a.img\n", "",
      "6: [disk vda] file: is missing" },
    { "a disk without a file on a node", "file.b=/srv/c.img\n", "",
      "9: [disk vdb] file.b: is missing" },
    { "a file of a stranger", "file.b", "file.x",
      "11: [disk vdb] file.x: |no such node|a, b, c" },
    { "a file of one that only votes", "file.b", "file.c",
      "11: [disk vdb] file.c: |can-run=no|remove" },
    { "a file of two disks", "file.a=/srv/b.img", "file.a=/srv/a.img",
      "10: [disk vdb] file.a: |[disk vda] of node a already" },
    { "a file of two nodes on a host", "host=192.0.2.2",
      "host=192.0.2.1\ngroup-port=1\nmigration-port=2\ncontrol-port=3\n"
      "disk-port=4", "7: [disk vda] file: |[disk vda] of node a already" },
    { "a tap of two nodes on a host", "host=192.0.2.2",
      "host=192.0.2.1\ngroup-port=1\nmigration-port=2\ncontrol-port=3\n"
      "disk-port=4", "15: [nic net1] tap: |bridge=" },
    { "a tap of two cards", "bridge=br0", "tap=tap1",
      "15: [nic net1] tap: is that of [nic net0]" },
    { "a card without a network", "bridge=br0\n", "",
      "12: [nic net0]: belongs to no network|bridge=|tap=" },
    { "a card with two networks", "bridge=br0", "bridge=br0\ntap=t0",
      "14: [nic net0] tap: |together with bridge=" },
    { "an address of two cards", "bridge=br0\n[nic net1]",
      "bridge=br0\nmac=52:54:00:00:00:01\n[nic net1]\nmac=52:54:00:00:00:01",
      "16: [nic net1] mac: is that of [nic net0]" },
    { "a disk and a card with one name", "[nic net0]", "[nic vda]",
      "12: [nic vda]: |[disk vda], too" },
    { "two nodes", "[node c]\nhost=192.0.2.3\ncan-run=no\n", "",
      "19: [node b]: 2 of at least 3|can-run=no" },
    { "nobody to take over", "can-run=yes", "can-run=no",
      "23: [node c] can-run: only 1 node can run" },
    { "a number of two nodes", "host=192.0.2.2", "host=192.0.2.2\nid=3",
      "22: [node c] id: 3 |[node b]" },
    { "a host that others cannot reach", "host=192.0.2.2", "host=127.0.0.1",
      "20: [node b] host: 127.0.0.1 and 192.0.2.1 cannot reach each other" },
    { "a port of two things", "can-run=yes", "control-port=7000",
      "18: [node a] control-port: port 7000 |[node a] group-port" },
    { "a port of a disk and the group", "can-run=yes", "disk-port=6999",
      "18: [node a] disk-port: port 7000 |[node a] group-port" },
    { "ports of disks beyond the last", "can-run=yes", "disk-port=65535",
      "18: [node a] disk-port: is too high" },
    { "a port of nodes on a host", "host=192.0.2.3", "host=192.0.2.1",
      "21: [node c] group-port: port 7000 of 192.0.2.1|[node a] group-port" },
    { "a port of metrics and colony", "[policy]",
      "[metrics]\nport=7002\n[policy]",
      "25: [metrics] port: port 7002 |[node a] control-port" },
    { "a directory of two nodes on a host", "host=192.0.2.3",
      "host=192.0.2.1\ngroup-port=1\ncontrol-port=2\n"
      "directory=/var/lib/colony/vm1/a",
      "25: [node c] directory: is that of [node a]" },
    { "four disks of a bus", "[disk vdb]",
      "interface=ide\n[disk b]\nfile=/1\ninterface=ide\n[disk c]\nfile=/2\n"
      "interface=ide\n[disk d]\nfile=/3\ninterface=ide\n[disk e]\nfile=/4\n"
      "interface=ide\n[disk vdb]", "21: [disk e] interface: 4 disks" },
    { "a log that is no power of two", "preset=hybrid", "log-size=48M",
      "25: [policy] log-size: is no power of two|8M" },
    { "syncs before anybody asks", "interval=1s", "interval=50",
      "26: [policy] interval: |interval=50ms and compare-timeout=50ms" },
    { "rdma with tls", "interval=1s\n",
      "transport=rdma\n[tls]\ndirectory=/t\n",
      "26: [policy] transport: has no TLS|nothing|encrypted|key-file=" },
    { "a key beside that of tls", "interval=1s\n",
      "key-file=/k\n[tls]\ndirectory=/t\n",
      "26: [policy] key-file: is too much|keys.psk of [tls]|remove the line" },
    { "a key that is no path", "interval=1s", "key-file=0123",
      "26: [policy] key-file: \"0123\" |" },
    { "an unknown transport", "interval=1s", "transport=ib",
      "26: [policy] transport: |tcp, rdma" },
    { "waiting longer than for a sync", "interval=1s", "compare-timeout=1s",
      "26: [policy] compare-timeout: |interval=1000ms" },
    { "a wait where nobody compares", "preset=hybrid",
      "preset=plover\ncompare-timeout=60",
      "26: [policy] compare-timeout: means nothing with preset=plover" },
};

static void refuses(gconstpointer data)
{
    const Refusal *refusal = data;
    g_autofree char *text = conf_changed(conf_usual, refusal->from,
                                         refusal->to);

    if (refusal->words) {
        conf_assert_refused(text, refusal->words);
    } else {
        colony_config_free(conf_accepted(text));
    }
}

static void nothing_is_no_config(void)
{
    conf_assert_refused("", "1: [vm]: is missing|name=|memory=");
    conf_assert_refused("# nothing\n", "1: [node NAME]: 0 of at least 3 nodes");
}

static void zero_bytes_are_refused(void)
{
    g_autoptr(GError) error = NULL;

    /* The one at the end is taken for a part of the text. */
    g_assert_null(colony_config_parse("vm.conf", conf_usual,
                                      strlen(conf_usual) + 1, &error));
    g_assert_error(error, COLONY_CONFIG_ERROR, COLONY_CONFIG_ERROR_FILE);
    g_assert_true(conf_says(error->message, "vm.conf:27: byte 0x00"));
}

static void there_can_be_so_many(void)
{
    static const struct {
        const char *kind, *keys;
        unsigned more; /* than the usual file has */
    } cases[] = {
        { "disk", "file=/srv/", 14 }, { "nic", "bridge=br", 6 },
        { "node", "host=192.0.2.10", 3 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) text = g_string_new(conf_usual);
        g_autofree char *words = NULL;

        for (unsigned n = 0; n < cases[i].more; n++) {
            g_string_append_printf(text, "[%s x%u]\n%s%u\n", cases[i].kind, n,
                                   cases[i].keys, n);
        }
        if (!strcmp(cases[i].kind, "node")) {
            /* Those that can run need a file of vdb. */
            for (char *at = text->str; (at = strstr(at, "file.b"));) {
                memcpy(at, "file  ", 6);
            }
        }
        colony_config_free(conf_accepted(text->str));
        g_string_append_printf(text, "[%s y]\n", cases[i].kind);
        words = g_strdup_printf("%u: [%s y]: is one too many",
                                27 + 2 * cases[i].more, cases[i].kind);
        conf_assert_refused(text->str, words);
    }
}

static void all_errors_are_told_at_once(void)
{
    g_autofree char *first = conf_changed(conf_usual, "cpus=2", "cups=2");
    g_autofree char *second = conf_changed(first, "format=raw", "format=x");
    g_autofree char *third = conf_changed(second, "memory=2G", "memory=lots");
    g_autofree char *message = conf_refused(third);
    g_auto(GStrv) lines = g_strsplit(message, "\n", -1);

    g_assert_cmpuint(g_strv_length(lines), ==, 3);
    g_assert_true(g_str_has_prefix(lines[0], "vm.conf:3: [vm] memory: "));
    g_assert_true(g_str_has_prefix(lines[1], "vm.conf:4: [vm] cups: "));
    g_assert_true(g_str_has_prefix(lines[2], "vm.conf:8: [disk vda] format: "));
}

static void a_long_list_is_cut(void)
{
    g_autoptr(GString) text = g_string_new(conf_usual);
    g_autofree char *message = NULL;
    g_auto(GStrv) lines = NULL;

    for (unsigned i = 0; i < 1000; i++) {
        g_string_append_printf(text, "x%u=\n", i);
    }
    message = conf_refused(text->str);
    lines = g_strsplit(message, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 21);
    g_assert_cmpstr(lines[20], ==, "vm.conf: and 980 more");
}

static void long_values_are_quoted_in_part(void)
{
    g_autofree char *value = g_strnfill(5000, 'x');
    g_autofree char *key = g_strdup_printf("format=%s", value);
    g_autofree char *text = conf_changed(conf_usual, "format=raw", key);
    g_autofree char *message = conf_refused(text);

    g_assert_cmpuint(strlen(message), <, 200);
    g_assert_nonnull(strstr(message, "xxx...\""));
}

static void one_mistake_is_told_once(void)
{
    static const char *const mistakes[][2] = {
        { "host=192.0.2.1", "host=b.example" },
        { "[policy]", "[node a]\n[policy]" },
        { "[policy]", "[disk vda]\nfile=/srv/a.img\n[policy]" },
        { "cpus=2", "cpus=\xff\ncups=2" },
        { "can-run=yes", "directory=x" },
        { "preset=hybrid", "preset=x" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(mistakes); i++) {
        g_autofree char *text = conf_changed(conf_usual, mistakes[i][0],
                                             mistakes[i][1]);
        g_autofree char *message = conf_refused(text);

        g_assert_cmpstr(strchr(message, '\n'), ==, NULL);
    }
}

static void the_kind_of_error_is_that_of_the_first(void)
{
    static const struct {
        const char *from, *to;
        ColonyConfigError code;
    } cases[] = {
        { "cpus=2", "cpus", COLONY_CONFIG_ERROR_FILE },
        { "cpus=2", "cups=2", COLONY_CONFIG_ERROR_UNKNOWN },
        { "memory=2G", "", COLONY_CONFIG_ERROR_MISSING },
        { "cpus=2", "cpus=x", COLONY_CONFIG_ERROR_VALUE },
        { "cpus=2", "append=x", COLONY_CONFIG_ERROR_CONFLICT },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = conf_changed(conf_usual, cases[i].from,
                                             cases[i].to);
        g_autoptr(GError) error = NULL;

        g_assert_null(conf_parse(text, &error));
        g_assert_error(error, COLONY_CONFIG_ERROR, (gint)cases[i].code);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/colony-config/" #name, name)
    for (unsigned i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autofree char *path = g_strdup_printf("/colony-config/refuses/%s",
                                                refusals[i].name);

        g_test_add_data_func(path, &refusals[i], refuses);
    }
    TEST(nothing_is_no_config);
    TEST(zero_bytes_are_refused);
    TEST(there_can_be_so_many);
    TEST(all_errors_are_told_at_once);
    TEST(a_long_list_is_cut);
    TEST(long_values_are_quoted_in_part);
    TEST(one_mistake_is_told_once);
    TEST(the_kind_of_error_is_that_of_the_first);
    return g_test_run();
}
