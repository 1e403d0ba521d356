/*
 * Guest helper: a small HTTP service that keeps its data in SQLite.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TCP port 7011, HTTP/1.1; connections stay open.
 *
 *     POST /rows?text=TEXT     adds a row; {"id":N}
 *     GET /rows/N              {"id":N,"text":"TEXT"}, or 404
 *
 * TEXT is made of letters, digits and "-._~".  All that a request says is in
 * its first line; its headers are not looked at, and it has no body.
 *
 * sqlhttp DATABASE: the sqlite3 program works on it, one request after
 * another, each its own transaction.
 */

#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *to_sqlite;
static FILE *from_sqlite;

static void start_sqlite(char *database)
{
    int in[2];
    int out[2];

    if (pipe(in) || pipe(out)) {
        die("pipe: %s", strerror(errno));
    }
    switch (fork()) {
    case -1:
        die("fork: %s", strerror(errno));
    case 0:
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execlp("sqlite3", "sqlite3", "-batch", database, NULL);
        die("sqlite3: %s", strerror(errno));
    }
    close(in[0]);
    close(out[1]);
    to_sqlite = fdopen(in[1], "w");
    from_sqlite = fdopen(out[0], "r");
    if (!to_sqlite || !from_sqlite) {
        die("fdopen: %s", strerror(errno));
    }
}

/*
 * The answer to a statement, up to the line that says that it is over; its
 * first line goes to @row, empty if there is none.
 */
static void read_answer(char *row, size_t size)
{
    static char more[256];
    char *line = row;
    size_t room = size;

    while (fgets(line, room, from_sqlite)) {
        line[strcspn(line, "\n")] = '\0';
        if (!strcmp(line, ".")) {
            line[0] = '\0';
            return;
        }
        line = more;
        room = sizeof(more);
    }
    die("sqlite3 has ended");
}

/* Lines of an answer are numbers, or begin with "=". */
static void run_statement(char *row, size_t size, const char *format,
                          const char *word)
{
    fprintf(to_sqlite, format, word);
    fputs("\n.print .\n", to_sqlite);
    fflush(to_sqlite);
    read_answer(row, size);
}

static int respond(char *text, size_t size, const char *status,
                   const char *body)
{
    /* The end of the line is added later, and is part of the body. */
    return snprintf(text, size, "HTTP/1.1 %s\r\n"
                    "Content-Type: application/json\r\n"
                    "Content-Length: %zu\r\n\r\n%s",
                    status, strlen(body) + 1, body);
}

/* What follows @prefix in the line, up to the next space; else NULL. */
static char *word_after(const char *line, const char *prefix,
                        const char *accept)
{
    static char word[SERVE_LINE + 1];
    size_t skip = strlen(prefix);
    size_t length;

    if (strncmp(line, prefix, skip)) {
        return NULL;
    }
    length = strspn(line + skip, accept);
    if (!length || strncmp(line + skip + length, " HTTP/1.1", 9)) {
        return NULL;
    }
    memcpy(word, line + skip, length);
    word[length] = '\0';
    return word;
}

static int reply(const char *line, char *text, size_t size)
{
    static const char digits[] = "0123456789";
    static const char plain[] = "0123456789-._~ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz";
    static char row[SERVE_LINE];
    static char body[SERVE_LINE + 64];
    const char *word;

    if (!strstr(line, " HTTP/1.")) {
        return -1;              /* a header, or the end of the headers */
    }
    word = word_after(line, "POST /rows?text=", plain);
    if (word) {
        run_statement(row, sizeof(row), "INSERT INTO rows(text) "
                      "VALUES('%s') RETURNING id;", word);
        if (!row[0]) {
            return respond(text, size, "507 Insufficient Storage", "{}");
        }
        snprintf(body, sizeof(body), "{\"id\":%s}", row);
        return respond(text, size, "200 OK", body);
    }
    word = word_after(line, "GET /rows/", digits);
    if (word) {
        run_statement(row, sizeof(row), "SELECT '=' || text FROM rows "
                      "WHERE id = %s;", word);
        if (row[0] != '=') {
            return respond(text, size, "404 Not Found", "{}");
        }
        snprintf(body, sizeof(body), "{\"id\":%s,\"text\":\"%s\"}", word,
                 row + 1);
        return respond(text, size, "200 OK", body);
    }
    return respond(text, size, "400 Bad Request", "{}");
}

int main(int argc, char **argv)
{
    char row[16];

    if (argc != 2) {
        die("want DATABASE");
    }
    start_sqlite(argv[1]);
    run_statement(row, sizeof(row), "CREATE TABLE IF NOT EXISTS "
                  "rows(id INTEGER PRIMARY KEY, text)%s;", "");
    serve(7011, false, reply);
}
