/*
 * Certificates for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <time.h>

#include "tests/unit/certificates.h"

#define DAY 86400

struct Authority {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    guint64 serial;
};

static void must(int result)
{
    if (result < 0) {
        g_error("GnuTLS: %s", gnutls_strerror(result));
    }
}

static gnutls_x509_privkey_t new_key(void)
{
    gnutls_x509_privkey_t key;

    must(gnutls_x509_privkey_init(&key));
    must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    return key;
}

static gnutls_x509_crt_t new_cert(Authority *authority,
                                  gnutls_x509_privkey_t key, const char *name)
{
    guint64 serial = GUINT64_TO_BE(++authority->serial);
    gnutls_x509_crt_t cert;

    must(gnutls_x509_crt_init(&cert));
    must(gnutls_x509_crt_set_version(cert, 3));
    must(gnutls_x509_crt_set_serial(cert, &serial, sizeof(serial)));
    must(gnutls_x509_crt_set_activation_time(cert, time(NULL) - DAY));
    must(gnutls_x509_crt_set_expiration_time(cert, time(NULL) + DAY));
    must(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0,
                                       name, strlen(name)));
    must(gnutls_x509_crt_set_key(cert, key));
    return cert;
}

static void sign(Authority *authority, gnutls_x509_crt_t cert)
{
    must(gnutls_x509_crt_sign2(cert, authority->cert, authority->key,
                               GNUTLS_DIG_SHA256, 0));
}

Authority *authority_new(void)
{
    Authority *authority = g_new0(Authority, 1);

    authority->key = new_key();
    authority->cert = new_cert(authority, authority->key, "test authority");
    must(gnutls_x509_crt_set_ca_status(authority->cert, 1));
    must(gnutls_x509_crt_set_key_usage(authority->cert,
                                       GNUTLS_KEY_KEY_CERT_SIGN));
    sign(authority, authority->cert);
    return authority;
}

void authority_free(Authority *authority)
{
    gnutls_x509_crt_deinit(authority->cert);
    gnutls_x509_privkey_deinit(authority->key);
    g_free(authority);
}

static void save(const gnutls_datum_t *pem, const char *directory,
                 const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, (const char *)pem->data, pem->size, &error);
    g_assert_no_error(error);
    gnutls_free(pem->data);
}

static void save_cert(gnutls_x509_crt_t cert, const char *directory,
                      const char *name)
{
    gnutls_datum_t pem;

    must(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem));
    save(&pem, directory, name);
}

void authority_issue(Authority *authority, const char *ip,
                     const char *directory)
{
    gnutls_x509_privkey_t key = new_key();
    gnutls_x509_crt_t cert = new_cert(authority, key, "test node");
    struct in_addr address;
    gnutls_datum_t pem;

    g_assert_cmpint(inet_pton(AF_INET, ip, &address), ==, 1);
    must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS,
                                              &address, sizeof(address), 0));
    sign(authority, cert);
    save_cert(authority->cert, directory, "ca-cert.pem");
    save_cert(cert, directory, "cert.pem");
    must(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem));
    save(&pem, directory, "key.pem");
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}
