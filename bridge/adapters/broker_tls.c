#include "bridge/adapters/broker_tls.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static bool broker_tls_is_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* OpenSSL asks for each certificate of the chain; the answer stays its own. */
static int on_checked(int good, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (!good)
        error_write(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)),
                    "the broker's certificate can't be trusted: %s",
                    X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    return good;
}

static bool expect_host(SSL_CTX *context, const char *host)
{
    X509_VERIFY_PARAM *expected = SSL_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return broker_tls_is_address(host) ? X509_VERIFY_PARAM_set1_ip_asc(expected, host) == 1
                                       : X509_VERIFY_PARAM_set1_host(expected, host, 0) == 1;
}

enum result broker_tls_prepare(void *context, const char *host, const char *ca_file,
                               struct error *error)
{
    int trusted = ca_file ? SSL_CTX_load_verify_locations(context, ca_file, NULL)
                          : SSL_CTX_set_default_verify_paths(context);
    if (trusted != 1)
        return error_set(error, RESULT_INVALID, "%s holds no certificate authority",
                         ca_file ? ca_file : "the system");
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || !expect_host(context, host))
        return error_set(error, RESULT_INVALID, "TLS can't be set up for %s", host);
    SSL_CTX_set_app_data(context, error);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_checked);
    return RESULT_OK;
}
