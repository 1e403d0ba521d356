/*
 * Test: what everything else here rests on is there: two processes, connected
 * by librdmacm; one writes to the other's memory, until it may not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parent has the memory and judges. The child writes a byte whenever it is
 * sent one over a socket, and answers with the status of the completion.
 */

#include <errno.h>
#include <glib.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWNER "10.0.0.1"
#define WRITER "10.0.0.2"
#define PORT "7471"

enum { SECONDS = 20, SIZE = 4096 };

/* Where to write: sent in the private data of the answer. */
typedef struct {
    uint64_t address;
    uint32_t rkey;
} Place;

typedef struct {
    uint8_t memory[SIZE];
    struct rdma_cm_id *listener, *id;
    struct ibv_mr *region;
    int socket; /* to the writer */
    pid_t writer;
} Owner;

static void check(int result, const char *what)
{
    if (result < 0) {
        g_error("%s: %s", what, g_strerror(errno));
    }
}

static struct rdma_cm_id *endpoint(const char *from)
{
    struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP };
    struct ibv_qp_init_attr attr = {
        .cap = { .max_send_wr = 8, .max_recv_wr = 8, .max_send_sge = 1,
                 .max_recv_sge = 1 },
        .qp_type = IBV_QPT_RC,
    };
    struct rdma_addrinfo *there, *here = NULL;
    struct rdma_cm_id *id;

    if (from) {
        struct rdma_addrinfo numeric = { .ai_flags = RAI_NUMERICHOST };

        check(rdma_getaddrinfo(from, NULL, &numeric, &here), from);
        hints.ai_src_addr = here->ai_dst_addr;
        hints.ai_src_len = here->ai_dst_len;
    } else {
        hints.ai_flags = RAI_PASSIVE;
    }
    check(rdma_getaddrinfo(OWNER, PORT, &hints, &there), OWNER);
    check(rdma_create_ep(&id, there, NULL, &attr), "rdma_create_ep");
    rdma_freeaddrinfo(there);
    if (here) {
        rdma_freeaddrinfo(here);
    }
    return id;
}

/* --- the writer --------------------------------------------------------- */

static G_NORETURN void be_writer(int from_owner)
{
    struct rdma_cm_id *id = endpoint(WRITER);
    struct rdma_conn_param param = { .retry_count = 3, .rnr_retry_count = 7 };
    struct ibv_mr *region;
    struct ibv_wc done;
    uint8_t byte;
    Place place;

    alarm(SECONDS);
    check(rdma_connect(id, &param), "rdma_connect");
    memcpy(&place, id->event->param.conn.private_data, sizeof(place));
    region = rdma_reg_msgs(id, &byte, 1);
    g_assert_nonnull(region);
    while (read(from_owner, &byte, 1) == 1) {
        check(rdma_post_write(id, NULL, &byte, 1, region, IBV_SEND_SIGNALED,
                              place.address, place.rkey), "rdma_post_write");
        check(rdma_get_send_comp(id, &done), "rdma_get_send_comp");
        byte = done.status;
        check(write(from_owner, &byte, 1), "write");
    }
    rdma_disconnect(id);
    _exit(0);
}

/* --- the owner of the memory -------------------------------------------- */

static void owner_set_up(Owner *owner, gconstpointer unused G_GNUC_UNUSED)
{
    struct rdma_conn_param param = { .retry_count = 3, .rnr_retry_count = 7 };
    Place place = { .address = (uintptr_t)owner->memory };
    int sockets[2];
    char number[12];

    alarm(SECONDS);
    owner->listener = endpoint(NULL);
    check(rdma_listen(owner->listener, 1), "rdma_listen");

    check(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
    owner->socket = sockets[0];
    owner->writer = fork();
    if (owner->writer == 0) {
        close(sockets[0]);
        /* As another program: it may not use the device that we opened. */
        snprintf(number, sizeof(number), "%d", sockets[1]);
        execl("/proc/self/exe", "writer", number, NULL);
        _exit(127);
    }
    close(sockets[1]);

    check(rdma_get_request(owner->listener, &owner->id), "rdma_get_request");
    owner->region = rdma_reg_write(owner->id, owner->memory, SIZE);
    g_assert_nonnull(owner->region);
    place.rkey = owner->region->rkey;
    param.private_data = &place;
    param.private_data_len = sizeof(place);
    check(rdma_accept(owner->id, &param), "rdma_accept");
}

static void owner_tear_down(Owner *owner, gconstpointer unused G_GNUC_UNUSED)
{
    int status;

    close(owner->socket);
    /* Each waits for the other to do so. */
    rdma_disconnect(owner->id);
    g_assert_cmpint(waitpid(owner->writer, &status, 0), ==, owner->writer);
    g_assert_cmpint(status, ==, 0);
    rdma_dereg_mr(owner->region);
    rdma_destroy_ep(owner->id);
    rdma_destroy_ep(owner->listener);
    alarm(0);
}

/* Has the writer write; how that ended for it. */
static enum ibv_wc_status have_written(Owner *owner, uint8_t byte)
{
    check(write(owner->socket, &byte, 1), "write");
    g_assert_cmpint(read(owner->socket, &byte, 1), ==, 1);
    return byte;
}

static uint8_t first_byte(Owner *owner)
{
    return __atomic_load_n(owner->memory, __ATOMIC_RELAXED);
}

static void owner_allows(Owner *owner, int access)
{
    struct ibv_qp_attr attr = { .qp_access_flags = access };

    g_assert_cmpint(ibv_modify_qp(owner->id->qp, &attr, IBV_QP_ACCESS_FLAGS),
                    ==, 0);
}

/* --- what must be true -------------------------------------------------- */

static void test_write_lands(Owner *owner, gconstpointer unused G_GNUC_UNUSED)
{
    for (int byte = 1; byte <= 100; byte++) {
        g_assert_cmpint(have_written(owner, byte), ==, IBV_WC_SUCCESS);
        g_assert_cmpint(first_byte(owner), ==, byte);
    }
}

static void test_refused_write_lands_nowhere(Owner *owner,
                                             gconstpointer unused G_GNUC_UNUSED)
{
    g_assert_cmpint(have_written(owner, 1), ==, IBV_WC_SUCCESS);
    owner_allows(owner, IBV_ACCESS_LOCAL_WRITE);
    g_assert_cmpint(have_written(owner, 2), !=, IBV_WC_SUCCESS);
    g_assert_cmpint(first_byte(owner), ==, 1);
}

static void test_write_needs_nobody_awake(Owner *owner,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    pid_t self = getpid();
    pid_t waker = fork();
    uint8_t byte = 3;

    /* The answer is there before the one who asked goes on. */
    if (waker == 0) {
        kill(self, SIGSTOP);
        check(write(owner->socket, &byte, 1), "write");
        check(recv(owner->socket, &byte, 1, MSG_PEEK), "recv");
        kill(self, SIGCONT);
        _exit(0);
    }
    waitpid(waker, NULL, 0);
    g_assert_cmpint(read(owner->socket, &byte, 1), ==, 1);
    g_assert_cmpint(byte, ==, IBV_WC_SUCCESS);
    g_assert_cmpint(first_byte(owner), ==, 3);
}

#define ADD(name, test) \
    g_test_add("/smoke/" name, Owner, NULL, owner_set_up, test, \
               owner_tear_down)

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[0], "writer")) {
        be_writer(atoi(argv[1]));
    }
    g_test_init(&argc, &argv, NULL);
    ADD("write-lands", test_write_lands);
    ADD("refused-write-lands-nowhere", test_refused_write_lands_nowhere);
    ADD("write-needs-nobody-awake", test_write_needs_nobody_awake);
    return g_test_run();
}
