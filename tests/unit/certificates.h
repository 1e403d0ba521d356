/*
 * Certificates for tests, as config's [tls] wants them in a folder
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CERTIFICATES_H
#define CERTIFICATES_H

#include <glib.h>

typedef struct Authority Authority;

Authority *authority_new(void);
void authority_free(Authority *authority);
/*
 * Writes ca-cert.pem, cert.pem and key.pem into @directory: a certificate for
 * @ip, an IPv4 address.
 */
void authority_issue(Authority *authority, const char *ip,
                     const char *directory);

#endif
