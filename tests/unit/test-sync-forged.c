/*
 * Messages with a right checksum that are wrong all the same
 *
 * From an earlier sync, of another term, in the wrong place, or with content
 * that no peer would send. The receiver says what was wrong and does nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/dirty.h"
#include "tests/unit/transcript.h"

typedef struct Letter {
    PloverHeader header;
    GByteArray *payload;
} Letter;

/* What one side says in the last sync, to be forged. */
typedef struct Letters {
    Letter list[40];
    unsigned n;
} Letters;

static void letters_init(Letters *letters, const Transcript *transcript,
                         FakeSide by)
{
    const GByteArray *said = transcript->said[by];
    size_t at = transcript->last[by];

    letters->n = 0;
    while (at < said->len) {
        Message message = transcript_message(transcript, by, at);
        size_t start = message.start + PLOVER_HEADER_SIZE;
        GByteArray *payload = g_byte_array_new();

        g_byte_array_append(payload, said->data + start, message.end - start);
        g_assert_cmpuint(letters->n, <, G_N_ELEMENTS(letters->list));
        letters->list[letters->n++] = (Letter) { message.header, payload };
        at = message.end;
    }
}

static void letters_clear(Letters *letters)
{
    for (unsigned i = 0; i < letters->n; i++) {
        g_byte_array_unref(letters->list[i].payload);
    }
}

static Letter *letter(Letters *letters, PloverType type)
{
    for (unsigned i = 0; i < letters->n; i++) {
        if (letters->list[i].header.type == type) {
            return &letters->list[i];
        }
    }
    g_assert_not_reached();
}

static GByteArray *payload_of(Letters *letters, PloverType type)
{
    return letter(letters, type)->payload;
}

static void omit(Letters *letters, PloverType type)
{
    Letter *found = letter(letters, type);

    g_byte_array_unref(found->payload);
    letters->n--;
    memmove(found, found + 1,
            (letters->list + letters->n - found) * sizeof(*found));
}

static void repeat(Letters *letters, PloverType type)
{
    Letter *found = letter(letters, type);

    memmove(found + 1, found,
            (letters->list + letters->n - found) * sizeof(*found));
    letters->n++;
    found->payload = g_byte_array_new();
    g_byte_array_append(found->payload, found[1].payload->data,
                        found[1].payload->len);
}

/* With right sizes and checksums. */
static GByteArray *letters_seal(const Letters *letters)
{
    GByteArray *out = g_byte_array_new();

    for (unsigned i = 0; i < letters->n; i++) {
        const Letter *l = &letters->list[i];
        PloverPiece piece = { l->payload->data, l->payload->len };
        uint8_t header[PLOVER_HEADER_SIZE];

        plover_header_encode(header, &l->header, REPLICAS_KEY, &piece, 1);
        g_byte_array_append(out, header, sizeof(header));
        if (piece.size) {
            g_byte_array_append(out, piece.data, piece.size);
        }
    }
    return out;
}

/* @staged: the leader may have let out the epoch. */
static void must_be_found(const Transcript *transcript, FakeSide reader,
                          const GByteArray *words, gboolean staged,
                          const char *says)
{
    Lone *lone = lone_new(transcript, reader, words->data, words->len);
    g_autoptr(GError) error = NULL;

    g_assert_false(lone_sync(lone, &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, says)) {
        g_error("not '%s' but '%s'", says, error->message);
    }
    fake_vm_assert_own(lone->vm);
    if (reader == FAKE_LEADER) {
        g_assert_false(g_error_matches(error, PLOVER_LEADER_ERROR,
                                       PLOVER_LEADER_ERROR_REFUSED));
        g_assert_cmpint(lone->vm->state, ==, FAKE_RUNS);
        g_assert_cmpuint(lone->vm->committed, ==,
                         staged ? TRANSCRIPT_EPOCH : 1);
    } else {
        g_assert_cmpuint(lone->vm->decisions, ==, 1);
        g_assert_false(lone_said(lone, PLOVER_STAGED));
    }
    lone_free(lone);
}

static void wrong_headers(gconstpointer opaque)
{
    FakeSide by = GPOINTER_TO_INT(opaque);
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, TRUE);
    gboolean staged = FALSE;
    Letters letters;

    letters_init(&letters, transcript, by);
    for (unsigned i = 0; i < letters.n; i++) {
        PloverHeader *header = &letters.list[i].header;
        uint64_t *fields[] = { &header->term, &header->epoch, &header->base };
        const char *name = plover_type_name(header->type);

        for (unsigned change = 0; change < 6; change++) {
            uint64_t *field = fields[change / 2];
            uint64_t right = *field;
            g_autoptr(GByteArray) words = NULL;

            *field += change % 2 ? 1 : -1;
            /* A sync may be of any epoch that is new: what follows is not. */
            words = letters_seal(&letters);
            must_be_found(transcript, !by, words, staged,
                          header->type == PLOVER_SYNC && change == 3 ?
                          "MAP" : name);
            *field = right;
        }
        staged = staged || header->type == PLOVER_STAGED;
    }
    letters_clear(&letters);
    transcript_free(transcript);
}

static void replays(gconstpointer opaque)
{
    FakeSide by = GPOINTER_TO_INT(opaque);
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, FALSE);
    const GByteArray *said = transcript->said[by];
    size_t last = transcript->last[by];
    gboolean staged = FALSE;

    /* In front of each message of the last sync, each one that was before. */
    for (size_t at = last; at < said->len;) {
        Message next = transcript_message(transcript, by, at);

        for (size_t old = 0; old < last;) {
            Message replayed = transcript_message(transcript, by, old);
            g_autoptr(GByteArray) words = g_byte_array_new();
            const char *name = plover_type_name(replayed.header.type);

            g_byte_array_append(words, said->data + last, at - last);
            g_byte_array_append(words, said->data + replayed.start,
                                replayed.end - replayed.start);
            g_byte_array_append(words, said->data + at, said->len - at);
            must_be_found(transcript, !by, words, staged, name);
            old = replayed.end;
        }
        staged = staged || next.header.type == PLOVER_STAGED;
        at = next.end;
    }
    transcript_free(transcript);
}

/* What a leader does not send. */

static void no_map(Letters *letters)
{
    omit(letters, PLOVER_MAP);
}

static void sync_twice(Letters *letters)
{
    repeat(letters, PLOVER_SYNC);
}

static void map_twice(Letters *letters)
{
    repeat(letters, PLOVER_MAP);
}

static void map_of_another_vm(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_MAP);
    g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    g_byte_array_set_size(payload, 0);
    plover_dirty_append(payload, none, 14);
}

static void no_pages(Letters *letters)
{
    omit(letters, PLOVER_PAGES);
}

static void pages_twice(Letters *letters)
{
    repeat(letters, PLOVER_PAGES);
}

static void one_page(Letters *letters, uint64_t through, uint64_t page,
                     PloverForm form, const void *data, size_t size)
{
    GByteArray *payload = payload_of(letters, PLOVER_PAGES);
    PloverBatch batch;

    plover_batch_init(&batch);
    plover_batch_add(&batch, page, form, data, size);
    g_byte_array_set_size(payload, 0);
    plover_batch_encode(&batch, through, TRUE, payload);
    plover_batch_clear(&batch);
}

static void page_nobody_wrote(Letters *letters)
{
    one_page(letters, 6, 8, PLOVER_FORM_ZERO, NULL, 0);
}

static void page_beyond_the_end(Letters *letters)
{
    one_page(letters, 6, 13, PLOVER_FORM_ZERO, NULL, 0);
}

static void delta_to_nothing(Letters *letters)
{
    one_page(letters, 6, 11, PLOVER_FORM_DELTA, "\1\1x", 3);
}

static void delta_beyond_the_page(Letters *letters)
{
    one_page(letters, 6, 3, PLOVER_FORM_DELTA, "\377\3\2xx", 5);
}

static void settles_too_much(Letters *letters)
{
    one_page(letters, 100, 11, PLOVER_FORM_ZERO, NULL, 0);
}

static void settles_too_little(Letters *letters)
{
    one_page(letters, 1, 11, PLOVER_FORM_ZERO, NULL, 0);
}

static void page_with_other_content(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_PAGES);

    /* Of the page that is sent whole, which LZ4 can do nothing with. */
    payload->data[payload->len / 2] ^= 4;
}

static void no_devices(Letters *letters)
{
    omit(letters, PLOVER_DEVICES);
}

static void devices_twice(Letters *letters)
{
    repeat(letters, PLOVER_DEVICES);
}

static void devices_with_other_content(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_DEVICES);
    g_autoptr(GByteArray) sections = g_byte_array_new();
    PloverSections *none = plover_sections_new();
    /* One that was never loaded: its device has all zeroes. */
    FakeVm *vm = fake_vm_new((uint64_t[FAKE_BLOCKS]) { 1, 1, 1 }, 512, 0);

    plover_sections_encode(vm->devices, none, sections);
    g_byte_array_set_size(payload, 0);
    plover_devices_encode(payload, sections->data, sections->len, TRUE);
    plover_sections_free(none);
    fake_vm_free(vm);
}

static void devices_cut_off(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_DEVICES);

    g_byte_array_set_size(payload, 0);
    plover_devices_encode(payload, (const uint8_t *)"\1\5\0\0", 4, TRUE);
}

static void change_end(Letters *letters, PloverType type, int pages,
                       int sections, int digest)
{
    GByteArray *payload = payload_of(letters, type);
    PloverEnd end;

    g_assert_true(plover_end_decode(&end, payload->data, payload->len, NULL));
    end.pages += pages;
    end.sections += sections;
    end.digest.high += digest;
    g_byte_array_set_size(payload, 0);
    plover_end_encode(payload, &end);
}

static void end_of_more_pages(Letters *letters)
{
    change_end(letters, PLOVER_END, 1, 0, 0);
}

static void end_of_more_sections(Letters *letters)
{
    change_end(letters, PLOVER_END, 0, 1, 0);
}

static void end_with_another_digest(Letters *letters)
{
    change_end(letters, PLOVER_END, 0, 0, 1);
}

static void end_too_short(Letters *letters)
{
    g_byte_array_set_size(payload_of(letters, PLOVER_END), 8);
}

static void staged_by_the_leader(Letters *letters)
{
    letter(letters, PLOVER_END)->header.type = PLOVER_STAGED;
}

static void sync_for_no_reason(Letters *letters)
{
    payload_of(letters, PLOVER_SYNC)->data[3] = 0x80;
}

/* What a secondary does not send. */

static void hashes_from_elsewhere(Letters *letters)
{
    payload_of(letters, PLOVER_HASHES)->data[0] = 1;
}

static void more_hashes(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_HASHES);
    PloverHash hashes[8] = { { 0 } };

    g_byte_array_set_size(payload, 0);
    plover_hashes_encode(payload, 0, hashes, 8);
}

static void no_hashes(Letters *letters)
{
    omit(letters, PLOVER_HASHES);
}

static void staged_more_pages(Letters *letters)
{
    change_end(letters, PLOVER_STAGED, 1, 0, 0);
}

static void staged_fewer_sections(Letters *letters)
{
    change_end(letters, PLOVER_STAGED, 0, -1, 0);
}

static void staged_something_else(Letters *letters)
{
    change_end(letters, PLOVER_STAGED, 0, 0, 1);
}

static void applied_not_staged(Letters *letters)
{
    omit(letters, PLOVER_STAGED);
}

static void refused_what_was_staged(Letters *letters)
{
    Letter *applied = letter(letters, PLOVER_APPLIED);

    applied->header.type = PLOVER_REFUSE;
    g_byte_array_set_size(applied->payload, 0);
    plover_text_encode(applied->payload, "changed my mind");
}

static void refused_for_no_reason(Letters *letters)
{
    Letter *staged = letter(letters, PLOVER_STAGED);

    staged->header.type = PLOVER_REFUSE;
    g_byte_array_set_size(staged->payload, 0);
}

static void cancelled_by_the_secondary(Letters *letters)
{
    refused_what_was_staged(letters);
    letter(letters, PLOVER_REFUSE)->header.type = PLOVER_CANCEL;
}

static void applied_too_short(Letters *letters)
{
    g_byte_array_set_size(payload_of(letters, PLOVER_APPLIED), 28);
}

static void verified_from_elsewhere(Letters *letters)
{
    payload_of(letters, PLOVER_VERIFY_PAGES)->data[0] = 1;
}

static void verified_too_much(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_VERIFY_PAGES);
    PloverHash hashes[14] = { { 0 } };

    g_byte_array_set_size(payload, 0);
    plover_hashes_encode(payload, 0, hashes, 14);
}

static void verified_no_devices(Letters *letters)
{
    GByteArray *payload = payload_of(letters, PLOVER_VERIFY_DEVICES);

    g_byte_array_set_size(payload, 0);
    plover_devices_encode(payload, (const uint8_t *)"\1\5\0\0", 4, TRUE);
}

static const struct Forgery {
    const char *name;
    FakeSide by;
    void (*forge)(Letters *letters);
    const char *says; /* whoever finds it */
} forgeries[] = {
    { "sync-twice", FAKE_LEADER, sync_twice, "SYNC came instead of MAP" },
    { "sync-reason", FAKE_LEADER, sync_for_no_reason, "SYNC" },
    { "no-map", FAKE_LEADER, no_map, "PAGES came instead of MAP" },
    { "map-twice", FAKE_LEADER, map_twice, "MAP came in the middle" },
    { "map-size", FAKE_LEADER, map_of_another_vm, "dirty map" },
    { "no-pages", FAKE_LEADER, no_pages, "END says" },
    { "pages-twice", FAKE_LEADER, pages_twice, "out of order" },
    { "page-not-dirty", FAKE_LEADER, page_nobody_wrote, "page 8, which" },
    { "page-beyond-end", FAKE_LEADER, page_beyond_the_end, "page 13, which" },
    { "delta-to-nothing", FAKE_LEADER, delta_to_nothing, "delta of page 11" },
    { "delta-beyond", FAKE_LEADER, delta_beyond_the_page, "page 3: " },
    { "settles-more", FAKE_LEADER, settles_too_much, "PAGES settle 100" },
    { "settles-less", FAKE_LEADER, settles_too_little, "END says" },
    { "page-content", FAKE_LEADER, page_with_other_content, "digest" },
    { "no-devices", FAKE_LEADER, no_devices, "END says" },
    { "devices-twice", FAKE_LEADER, devices_twice, "DEVICES came twice" },
    { "devices-content", FAKE_LEADER, devices_with_other_content, "digest" },
    { "devices-cut", FAKE_LEADER, devices_cut_off, "device state" },
    { "end-pages", FAKE_LEADER, end_of_more_pages, "END says" },
    { "end-sections", FAKE_LEADER, end_of_more_sections, "END says" },
    { "end-digest", FAKE_LEADER, end_with_another_digest, "digest" },
    { "end-short", FAKE_LEADER, end_too_short, "END" },
    { "staged", FAKE_LEADER, staged_by_the_leader, "STAGED came in the" },

    { "map-size", FAKE_SECONDARY, map_of_another_vm, "dirty map" },
    { "no-map", FAKE_SECONDARY, no_map, "HASHES came instead of MAP" },
    { "hashes-first", FAKE_SECONDARY, hashes_from_elsewhere, "HASHES are" },
    { "hashes-more", FAKE_SECONDARY, more_hashes, "HASHES are" },
    { "no-hashes", FAKE_SECONDARY, no_hashes, "STAGED came instead of HAS" },
    { "staged-pages", FAKE_SECONDARY, staged_more_pages, "STAGED is not" },
    { "staged-sections", FAKE_SECONDARY, staged_fewer_sections,
      "STAGED is not" },
    { "staged-digest", FAKE_SECONDARY, staged_something_else,
      "STAGED is not" },
    { "not-staged", FAKE_SECONDARY, applied_not_staged,
      "APPLIED came instead of STAGED" },
    { "no-reason", FAKE_SECONDARY, refused_for_no_reason, "reason" },
    { "refused-late", FAKE_SECONDARY, refused_what_was_staged,
      "REFUSE came instead of APPLIED" },
    { "cancelled", FAKE_SECONDARY, cancelled_by_the_secondary,
      "CANCEL came instead of APPLIED" },
    { "applied-short", FAKE_SECONDARY, applied_too_short, "APPLIED" },
    { "verify-first", FAKE_SECONDARY, verified_from_elsewhere,
      "VERIFY_PAGES are" },
    { "verify-more", FAKE_SECONDARY, verified_too_much, "VERIFY_PAGES are" },
    { "verify-devices", FAKE_SECONDARY, verified_no_devices, "device state" },
};

static void forged(gconstpointer opaque)
{
    const struct Forgery *forgery = opaque;
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, TRUE);
    size_t last = transcript->last[FAKE_SECONDARY];
    size_t staged = transcript_find(transcript, FAKE_SECONDARY,
                                    PLOVER_APPLIED) - last;
    g_autoptr(GByteArray) words = NULL;
    Letters letters;

    letters_init(&letters, transcript, forgery->by);
    forgery->forge(&letters);
    words = letters_seal(&letters);
    must_be_found(transcript, !forgery->by, words,
                  forgery->by == FAKE_SECONDARY && words->len >= staged &&
                  memcmp(words->data,
                         transcript->said[FAKE_SECONDARY]->data + last,
                         staged) == 0, forgery->says);
    letters_clear(&letters);
    transcript_free(transcript);
}

/* Of another connection between the same replicas. */
static void another_key_is_found(void)
{
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, FALSE);

    for (int by = 0; by < 2; by++) {
        g_autoptr(GByteArray) words = g_byte_array_new();
        const GByteArray *said = transcript->said[by];
        Message message = transcript_message(transcript, by,
                                             transcript->last[by]);
        PloverPiece piece = {
            said->data + message.start + PLOVER_HEADER_SIZE,
            message.header.size,
        };

        g_byte_array_set_size(words, PLOVER_HEADER_SIZE);
        plover_header_encode(words->data, &message.header, REPLICAS_KEY + 1,
                             &piece, 1);
        g_byte_array_append(words, piece.data, piece.size);
        must_be_found(transcript, !by, words, FALSE, "another connection");
    }
    transcript_free(transcript);
}

int main(int argc, char **argv)
{
    static const char *const sides[] = { "leader", "secondary" };

    g_test_init(&argc, &argv, NULL);
    for (int by = 0; by < 2; by++) {
        g_autofree char *headers = g_strdup_printf(
            "/plover/forged/%s/headers", sides[by]);
        g_autofree char *replay = g_strdup_printf(
            "/plover/forged/%s/replay", sides[by]);

        g_test_add_data_func(headers, GINT_TO_POINTER(by), wrong_headers);
        g_test_add_data_func(replay, GINT_TO_POINTER(by), replays);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(forgeries); i++) {
        g_autofree char *path = g_strdup_printf("/plover/forged/%s/%s",
                                                sides[forgeries[i].by],
                                                forgeries[i].name);

        g_test_add_data_func(path, &forgeries[i], forged);
    }
    g_test_add_func("/plover/forged/key", another_key_is_found);
    return g_test_run();
}
