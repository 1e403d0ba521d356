/*
 * colony up --local: what is made, in which order, and what cannot be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/local.h"
#include "tests/unit/colony-conf.h"

/* Two replicas and a witness, three NICs in two networks. */
static const char conf_local[] =
    "[vm]\n"
    "name=vm1\n"
    "memory=2G\n"
    "[disk vda]\n"
    "file.a=/srv/a.img\n"
    "file.b=/srv/b.img\n"
    "[nic net0]\n"
    "bridge=br0\n"
    "[nic net1]\n"
    "bridge=br1\n"
    "[nic net2]\n"
    "bridge=br0\n"
    "[node a]\n"
    "host=192.0.2.1\n"
    "[node b]\n"
    "host=192.0.2.2\n"
    "[node c]\n"
    "host=192.0.2.3\n"
    "can-run=no\n";

static const char *const plan_expected[] = {
    "ip netns add colony.vm1",
    "ip -n colony.vm1 link add nodes up type bridge mcast_snooping 0",
    "ip -n colony.vm1 link add net0 up type bridge mcast_snooping 0",
    "ip -n colony.vm1 link add net1 up type bridge mcast_snooping 0",
    "ip link add br0 type veth peer name host0 netns colony.vm1",
    "ip -n colony.vm1 link set host0 master net0 up",
    "ip link set br0 up",
    "ip link add cl0b88b7191 type veth peer name host1 netns colony.vm1",
    "ip -n colony.vm1 link set host1 master net1 up",
    "ip link set cl0b88b7191 master br1 up",
    "ip netns add colony.vm1.a",
    "ip -n colony.vm1.a link set lo up",
    "ip -n colony.vm1.a link add eth0 type veth peer name node1 netns "
        "colony.vm1",
    "ip -n colony.vm1 link set node1 master nodes up",
    "ip -n colony.vm1.a address add 192.0.2.1 dev eth0",
    "ip -n colony.vm1.a link set eth0 up",
    "ip -4 -n colony.vm1.a route add default dev eth0",
    "ip -n colony.vm1.a link add br0 up type bridge mcast_snooping 0",
    "ip -n colony.vm1.a link add eth1 type veth peer name node1.0 netns "
        "colony.vm1",
    "ip -n colony.vm1 link set node1.0 master net0 up",
    "ip -n colony.vm1.a link set eth1 master br0 up",
    "ip -n colony.vm1.a link add br1 up type bridge mcast_snooping 0",
    "ip -n colony.vm1.a link add eth2 type veth peer name node1.1 netns "
        "colony.vm1",
    "ip -n colony.vm1 link set node1.1 master net1 up",
    "ip -n colony.vm1.a link set eth2 master br1 up",
};

static const char *const bridge_br1[] = { "br1", NULL };
static const char *const no_bridges[] = { NULL };

static char *line_of(const GPtrArray *plan, guint place)
{
    return g_strjoinv(" ", g_ptr_array_index(plan, place));
}

static void the_plan_is_this(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_local);
    g_autoptr(GPtrArray) plan = colony_local_plan(config, bridge_br1);
    g_autofree char *mark = colony_local_mark(config);
    g_autofree char *end = g_strdup_printf(
        "ip -n colony.vm1 link set lo alias %s up", mark);
    g_autofree char *last = line_of(plan, plan->len - 1);

    for (guint i = 0; i < G_N_ELEMENTS(plan_expected); i++) {
        g_autofree char *line = line_of(plan, i);

        g_assert_cmpstr(line, ==, plan_expected[i]);
    }
    g_assert_cmpstr(last, ==, end);
    /* b is as a is; c has no bridges. */
    g_assert_cmpuint(plan->len, ==,
                     G_N_ELEMENTS(plan_expected) + 15 + 7 + 1);
}

static void ipv6_is_there_at_once(void)
{
    g_autofree char *text = conf_changed(conf_local, "192.0.2.1",
                                         "2001:db8::1");
    g_autoptr(ColonyConfig) config = conf_accepted(text);
    g_autoptr(GPtrArray) plan = colony_local_plan(config, bridge_br1);
    g_autofree char *address = line_of(plan, 14);
    g_autofree char *route = line_of(plan, 16);

    g_assert_cmpstr(address, ==, "ip -n colony.vm1.a address add 2001:db8::1 "
                    "dev eth0 nodad");
    g_assert_cmpstr(route, ==,
                    "ip -6 -n colony.vm1.a route add default dev eth0");
}

static void supervisors_are_run_where_their_node_is(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_local);
    g_auto(GStrv) argv = colony_local_supervisor(
        config, colony_config_node(config, "b"), "/usr/bin/colony");
    g_autofree char *line = g_strjoinv(" ", argv);
    g_autofree char *expected = g_strdup_printf(
        "ip netns exec colony.vm1.b /usr/bin/colony run %s b", config->path);

    g_assert_cmpstr(line, ==, expected);
}

/* --- what cannot be ------------------------------------------------------- */

static void refused(const char *from, const char *to, const char *words)
{
    g_autofree char *text = conf_changed(conf_local, from, to);
    g_autoptr(ColonyConfig) config = conf_accepted(text);
    g_autoptr(GError) error = NULL;

    g_assert_false(colony_local_check(config, &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, words)) {
        g_error("\"%s\" does not say \"%s\"", error->message, words);
    }
}

static void what_namespaces_cannot_part_is_refused(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_local);
    g_autoptr(GError) error = NULL;

    g_assert_true(colony_local_check(config, &error));
    g_assert_no_error(error);
    refused("file.a=/srv/a.img\nfile.b=/srv/b.img", "file=/srv/a.img",
            "[disk vda] file: nodes a and b would write to the same "
            "/srv/a.img; write file.a= and file.b= instead");
    refused("[nic net0]\nbridge=br0", "[nic net0]\ntap=tap0",
            "[nic net0] tap: no two nodes can have the device tap0; write "
            "bridge= instead");
    refused("192.0.2.2", "192.0.2.1\ngroup-port=1\ncontrol-port=2\n"
            "migration-port=3\ndisk-port=4", "[node b] host: 192.0.2.1 is the "
            "address of node a, too");
    refused("192.0.2.1\n[node b]\nhost=192.0.2.2\n",
            "192.0.2.1\ndirectory=/d\n[node b]\nhost=192.0.2.2\n"
            "directory=/d\n", "[node b] directory: /d is that of node a, too");
    refused("192.0.2.1\n[node b]\nhost=192.0.2.2\n[node c]\nhost=192.0.2.3",
            "127.0.0.1\n[node b]\nhost=127.0.0.2\n[node c]\nhost=127.0.0.3",
            "[node a] host: nodes cannot reach each other at 127.0.0.1; take "
            "other addresses, such as 192.0.2.1");
}

/* --- any file ------------------------------------------------------------- */

typedef struct Host {
    GHashTable *devices; /* "NAMESPACE DEVICE"; the host's begins with " " */
    GHashTable *namespaces;
} Host;

static void add_device(Host *host, const char *where, const char *name)
{
    g_assert_cmpuint(strlen(name), <=, 15);
    g_assert_true(g_hash_table_contains(host->namespaces, where));
    g_assert_true(g_hash_table_add(host->devices,
                                   g_strdup_printf("%s %s", where, name)));
}

static void assert_device(Host *host, const char *where, const char *name)
{
    g_autofree char *key = g_strdup_printf("%s %s", where, name);

    g_assert_true(g_hash_table_contains(host->devices, key));
}

static const char *word_after(char **words, const char *word)
{
    for (; *words; words++) {
        if (!strcmp(*words, word)) {
            return words[1];
        }
    }
    return NULL;
}

/* As ip would: only what is there can be used, and nothing is made twice. */
static void do_step(Host *host, char **words)
{
    const char *where = word_after(words, "-n") ?: "";
    const char *peer = word_after(words, "netns");
    const char *set = word_after(words, "set");

    if (!strcmp(words[1], "netns")) {
        g_assert_true(g_hash_table_add(host->namespaces, g_strdup(words[3])));
        add_device(host, words[3], "lo");
    } else if (word_after(words, "type")) {
        add_device(host, where, word_after(words, "add"));
        if (peer) {
            add_device(host, peer, word_after(words, "name"));
        }
    } else {
        assert_device(host, where, set ?: word_after(words, "dev"));
        if (word_after(words, "master")) {
            assert_device(host, where, word_after(words, "master"));
        }
    }
}

static char *any_file(const char **bridges)
{
    GString *text = g_string_new(
        "[vm]\nname=a-name-of-thirty-two-characters\nmemory=1G\n");
    int nodes = g_test_rand_int_range(3, COLONY_NODES_MAX + 1);
    int nics = g_test_rand_int_range(0, 9);

    for (int i = 0; i < nics; i++) {
        g_string_append_printf(text, "[nic n%d]\nbridge=br%d-long-name-x\n", i,
                               g_test_rand_int_range(0, 8));
    }
    for (int i = 0; i < nodes; i++) {
        g_string_append_printf(text, "[node n%d]\nhost=192.0.2.%d\nid=%d\n%s",
                               i, i + 1, 65535 - i,
                               i < 2 || g_test_rand_bit() ? ""
                                                          : "can-run=no\n");
    }
    bridges[0] = g_test_rand_bit() ? "br3-long-name-x" : NULL;
    return g_string_free(text, FALSE);
}

static void any_plan_can_be_carried_out(void)
{
    for (int i = 0; i < 200; i++) {
        const char *bridges[2] = { NULL, NULL };
        g_autofree char *text = any_file(bridges);
        g_autoptr(ColonyConfig) config = conf_accepted(text);
        g_autoptr(GPtrArray) plan = colony_local_plan(config, bridges);
        g_autoptr(GHashTable) devices = g_hash_table_new_full(
            g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GHashTable) namespaces = g_hash_table_new_full(
            g_str_hash, g_str_equal, g_free, NULL);
        Host host = { devices, namespaces };

        g_hash_table_add(namespaces, g_strdup(""));
        if (bridges[0]) {
            add_device(&host, "", bridges[0]);
        }
        for (guint n = 0; n < plan->len; n++) {
            do_step(&host, g_ptr_array_index(plan, n));
        }
        g_assert_cmpuint(g_hash_table_size(namespaces), ==,
                         config->nodes->len + 2);
    }
}

static void a_plan_without_networks_touches_nothing_of_the_host(void)
{
    g_autofree char *text = conf_changed(
        conf_local, "[nic net0]\nbridge=br0\n[nic net1]\nbridge=br1\n"
        "[nic net2]\nbridge=br0\n", "");
    g_autoptr(ColonyConfig) config = conf_accepted(text);
    g_autoptr(GPtrArray) plan = colony_local_plan(config, no_bridges);

    for (guint i = 0; i < plan->len; i++) {
        char **words = g_ptr_array_index(plan, i);

        g_assert_cmpstr(words[1], !=, "link");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/colony/local/plan", the_plan_is_this);
    g_test_add_func("/colony/local/ipv6", ipv6_is_there_at_once);
    g_test_add_func("/colony/local/supervisor",
                    supervisors_are_run_where_their_node_is);
    g_test_add_func("/colony/local/refused",
                    what_namespaces_cannot_part_is_refused);
    g_test_add_func("/colony/local/any", any_plan_can_be_carried_out);
    g_test_add_func("/colony/local/no-network",
                    a_plan_without_networks_touches_nothing_of_the_host);
    return g_test_run();
}
