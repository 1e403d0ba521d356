/*
 * Fuzzing of what is asked of apusd, and of how apusctl shows an answer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/tools/daemon/request.h"
#include "colo-net/apus/tools/daemon/show.h"
#include "tests/fuzz/fuzz.h"

static void parse(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *line = NULL;
    ApusdRequest request, again;
    gboolean accepted;

    accepted = apusd_request_parse(&request, (const char *)data, size,
                                   &error);
    fuzz_outcome(accepted, error, APUS_ERROR);
    if (accepted) {
        line = apusd_request_line(&request);
        g_assert_true(apusd_request_parse(&again, line, strlen(line), NULL));
        g_assert_cmpint(again.command, ==, request.command);
        g_assert_cmpint(again.old, ==, request.old);
        g_assert_cmpint(again.new_member.id, ==, request.new_member.id);
        g_assert_cmpstr(again.new_member.address, ==,
                        request.new_member.address);
    }
}

/* Whatever the JSON is like, something is shown. */
static void show(const uint8_t *data, size_t size)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autofree char *status = NULL;
    g_autofree char *members = NULL;

    if (g_utf8_validate((const char *)data, size, NULL) &&
        json_parser_load_from_data(parser, (const char *)data, size, NULL) &&
        json_parser_get_root(parser)) {
        status = apusd_show_status(json_parser_get_root(parser));
        members = apusd_show_members(json_parser_get_root(parser));
        g_assert_nonnull(status);
        g_assert_nonnull(members);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && size <= APUSD_REQUEST_MAX) {
        parse(data, size);
        show(data, size);
    }
    return 0;
}

void fuzz_seeds(void)
{
    static const char *const seeds[] = {
        "{\"command\":\"status\"}",
        "{\"command\":\"trace\"}",
        "{\"command\":\"replace\",\"old\":3,\"new\":{\"id\":4,"
        "\"address\":\"host:7000\",\"can-run\":true}}",
        "{\"name\":\"demo\",\"id\":3,\"state\":\"follower\",\"term\":2,"
        "\"generation\":1,\"leader\":1,\"role\":{\"leader\":1,"
        "\"secondary\":2,\"stopped\":false},\"log\":{\"commit\":1},"
        "\"members\":[{\"id\":1,\"address\":\"a:1\",\"can-run\":true,"
        "\"connected\":true}],\"problems\":[\"none\"]}",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(seeds); i++) {
        fuzz_seed(seeds[i], strlen(seeds[i]));
    }
}
