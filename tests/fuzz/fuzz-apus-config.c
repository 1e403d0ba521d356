/*
 * Fuzzing of apusd's configuration file, and of its key file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/tools/daemon/config.h"
#include "tests/fuzz/fuzz.h"

/* What is accepted is a configuration that the library can be started with. */
static void parse(const uint8_t *data, size_t size, ApusdPurpose purpose)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApusdConfig) config = NULL;

    config = apusd_config_parse("fuzz.conf", (const char *)data, size,
                                purpose, &error);
    fuzz_outcome(config != NULL, error, APUS_ERROR);
    if (config) {
        if (config->apus.tls) {
            config->apus.key = config->key;
            config->apus.key_size = APUS_KEY_MIN;
        }
        g_assert_true(apus_config_check(&config->apus, NULL, NULL));
        g_assert_true(apus_members_check(&config->members, NULL));
        g_assert_cmpint(apus_members_find(&config->members, config->apus.id),
                        >=, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t key[APUS_KEY_MAX];
    size_t length = apusd_key_parse(key, (const char *)data, size);

    g_assert_true(length == 0 ||
                  (length >= APUS_KEY_MIN && length <= APUS_KEY_MAX));
    for (ApusdPurpose purpose = APUSD_RUN; purpose <= APUSD_JOIN; purpose++) {
        parse(data, size, purpose);
    }
    return 0;
}

void fuzz_seeds(void)
{
    static const char *const seeds[] = {
        "00112233445566778899aabbccddeeff\n",
        "[group]\nname=demo\nid=3\n[member 1]\naddress=10.0.0.1:1\ncan-run=yes\n"
        "[member 2]\naddress=10.0.0.2:2\ncan-run=yes\n[member 3]\naddress=10.0.0.3:3\n",
        "[group]\nname=demo\nid=3\ndirectory=/d\nlisten=[::]:1\n"
        "durability=disk\ntls=psk\nkey-file=/k\nlog-size=16\nheartbeat=20\n"
        "timeout=300\nlease=200\nlease-strict=yes\nleader=2\nsocket=/s\n"
        "log-level=debug\n[member 1]\naddress=10.0.0.1:1\ncan-run=yes\n"
        "[member 2]\naddress=10.0.0.2:2\ncan-run=yes\n[member 3]\naddress=10.0.0.3:3\n",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(seeds); i++) {
        fuzz_seed(seeds[i], strlen(seeds[i]));
    }
}
