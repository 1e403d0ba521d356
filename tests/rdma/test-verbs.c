/*
 * Links between two hosts of this process over a real device: what they have
 * to do, and what is said when it cannot be done
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/verbs-scenes.h"

#define HERE "10.0.0.1"

static void where_no_device_is_nobody_listens(void)
{
    static const VerbsHandlers none;
    struct sockaddr_in elsewhere = { .sin_family = AF_INET };
    VerbsConfig config = verbs_pair_config();
    g_autoptr(GError) error = NULL;
    VerbsHost *host = verbs_host_new(&config, &none, NULL, &error);

    g_assert_no_error(error);
    g_assert_cmpint(inet_pton(AF_INET, "192.0.2.1", &elsewhere.sin_addr), ==,
                    1);
    g_assert_false(verbs_host_listen(host, (struct sockaddr *)&elsewhere,
                                     &error));
    g_assert_error(error, VERBS_ERROR, VERBS_ERROR_ADDRESS);
    g_assert_nonnull(strstr(error->message, "rdma link"));
    verbs_host_free(host);
}

/*
 * root may lock as much as it likes, without this capability not. The kernel
 * does not talk of RDMA with who has changed since it began to.
 */
static void lose_the_right_to_lock(void)
{
    struct rlimit little = { 65536, 65536 };
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[2];

    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &little), ==, 0);
    g_assert_cmpint(syscall(SYS_capget, &header, data), ==, 0);
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    g_assert_cmpint(syscall(SYS_capset, &header, data), ==, 0);
}

static void out_of_locked_memory_says_what_to_do(void)
{
    VerbsConfig config = verbs_pair_config();
    VerbsPair pair;

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
        g_test_trap_assert_passed();
        return;
    }
    lose_the_right_to_lock();
    config.lanes[0].size = 1 << 20;
    config.lanes[1].size = 0; /* nothing that is tested when we listen */
    verbs_pair_start(&pair, &config, &config, HERE);
    verbs_pair_call(&pair, "");
    verbs_pair_until(&pair, pair.b.closed > 0);
    verbs_side_expect_end(&pair.b, VERBS_END_LOCAL);
    g_assert_nonnull(strstr(pair.b.text, "RLIMIT_MEMLOCK"));
    verbs_pair_stop(&pair);
}

int main(int argc, char **argv)
{
    /* For g_test_trap_subprocess(): in a guest it may be no path. */
    argv[0] = (char *)"/proc/self/exe";
    g_test_init(&argc, &argv, NULL);
    verbs_scenes_add("/verbs/events", VERBS_SCENE_EVENTS, HERE, NULL, NULL);
    verbs_scenes_add("/verbs/soak/silent", VERBS_SCENE_SILENT, HERE, NULL,
                     NULL);
#define ADD(name) g_test_add_func("/verbs/real/" #name, name)
    ADD(where_no_device_is_nobody_listens);
    ADD(out_of_locked_memory_says_what_to_do);
    return g_test_run();
}
