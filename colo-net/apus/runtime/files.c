/*
 * The calls of the system that the storage makes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../core/segment.h"
#include "files.h"

static int make_directory(void *opaque, const char *path)
{
    (void)opaque;
    return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int list(void *opaque, const char *path, GPtrArray *names)
{
    DIR *directory = opendir(path);
    struct dirent *entry;

    (void)opaque;
    if (!directory) {
        return -errno;
    }
    errno = 0;
    while ((entry = readdir(directory))) {
        g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    if (errno != 0) {
        int error = errno;

        closedir(directory);
        return -error;
    }
    closedir(directory);
    return 0;
}

/*
 * A lock of the open file, not of the process: a second one in the same
 * process is refused as well.
 */
static int take_lock(void *opaque, const char *path)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    (void)opaque;
    if (fd < 0) {
        return -errno;
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        int error = errno == EACCES ? EWOULDBLOCK : errno;

        close(fd);
        return -error;
    }
    return fd;
}

static int open_file(void *opaque, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    (void)opaque;
    /* Not every file system writes around the page cache. */
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT)) {
        fd = open(path, (flags & ~O_DIRECT) | O_CLOEXEC, 0600);
    }
    return fd < 0 ? -errno : fd;
}

static void close_file(void *opaque, int fd)
{
    (void)opaque;
    close(fd);
}

static int64_t file_size(void *opaque, int fd)
{
    struct stat info;

    (void)opaque;
    return fstat(fd, &info) < 0 ? -errno : info.st_size;
}

static ssize_t read_file(void *opaque, int fd, void *data, size_t size,
                         uint64_t offset)
{
    ssize_t n = pread(fd, data, size, offset);

    (void)opaque;
    return n < 0 ? -errno : n;
}

static ssize_t write_file(void *opaque, int fd, const void *data, size_t size,
                          uint64_t offset, gboolean sync)
{
    struct iovec vector = { .iov_base = (void *)data, .iov_len = size };
    ssize_t n = pwritev2(fd, &vector, 1, offset, sync ? RWF_DSYNC : 0);

    (void)opaque;
    return n < 0 ? -errno : n;
}

static int sync_file(void *opaque, int fd)
{
    (void)opaque;
    return fsync(fd) < 0 ? -errno : 0;
}

static int allocate(void *opaque, int fd, uint64_t size)
{
    (void)opaque;
    return -posix_fallocate(fd, 0, size);
}

static int rename_file(void *opaque, const char *from, const char *to)
{
    (void)opaque;
    return rename(from, to) < 0 ? -errno : 0;
}

static int remove_file(void *opaque, const char *path)
{
    (void)opaque;
    return unlink(path) < 0 ? -errno : 0;
}

const ApusFileOps apus_files = {
    .make_directory = make_directory,
    .list = list,
    .lock = take_lock,
    .open = open_file,
    .close = close_file,
    .size = file_size,
    .read = read_file,
    .write = write_file,
    .sync = sync_file,
    .allocate = allocate,
    .rename = rename_file,
    .remove = remove_file,
};

int apus_files_read(const ApusFileOps *files, int fd, void *data, size_t size,
                    uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = files->read(files->opaque, fd, (uint8_t *)data + done,
                                size - done, offset + done);

        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? n : -EIO;
        }
        done += n;
    }
    return 0;
}

/*
 * What follows a short write begins at a block again, as O_DIRECT asks; what
 * is written twice is the same.
 */
int apus_files_write(const ApusFileOps *files, int fd, const void *data,
                     size_t size, uint64_t offset, gboolean sync)
{
    unsigned idle = 0;
    size_t done = 0;

    while (done < size) {
        ssize_t n = files->write(files->opaque, fd,
                                 (const uint8_t *)data + done, size - done,
                                 offset + done, sync);

        if (n < 0 && n != -EINTR) {
            return n;
        }
        if (n > 0 && done + n < size) {
            n -= n % APUS_BLOCK;
        }
        /* A disk that takes less than a block again and again is none. */
        idle = n > 0 ? 0 : idle + 1;
        if (idle == 100) {
            return -EIO;
        }
        done += MAX(n, 0);
    }
    return 0;
}

int apus_files_sync_directory(const ApusFileOps *files, const char *directory)
{
    int fd = files->open(files->opaque, directory, O_RDONLY | O_DIRECTORY);
    int result;

    if (fd < 0) {
        return fd;
    }
    result = files->sync(files->opaque, fd);
    files->close(files->opaque, fd);
    return result;
}

void *apus_files_memory(size_t size)
{
    void *memory = aligned_alloc(APUS_BLOCK, size);

    if (!memory) {
        g_error("no memory for %zu bytes", size);
    }
    memset(memory, 0, size);
    return memory;
}

gboolean apus_files_is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}
