#include "core/http/curl_setup.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode started = CURLE_FAILED_INIT;

static void curl_setup_start(void)
{
    started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

CURL *curl_setup_new(void)
{
    pthread_once(&once, curl_setup_start);
    return started == CURLE_OK ? curl_easy_init() : NULL;
}

void curl_setup_apply(CURL *handle, const struct curl_setup_limits *limits,
                      char error_text[static CURL_ERROR_SIZE])
{
    curl_easy_reset(handle);
    error_text[0] = '\0';
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error_text);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    /* A name server that hangs must not hold a call up beyond its time. */
    curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)limits->timeout_ms);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)limits->connect_timeout_ms);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, limits->protocols);
    curl_easy_setopt(handle, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
    if (limits->ca_file) {
        curl_easy_setopt(handle, CURLOPT_CAINFO, limits->ca_file);
        curl_easy_setopt(handle, CURLOPT_CAPATH, NULL);
    }
}

static const struct {
    CURLcode code;
    enum result result;
} MEANINGS[] = {
    {CURLE_OK, RESULT_OK},
    {CURLE_OPERATION_TIMEDOUT, RESULT_TIMED_OUT},
    {CURLE_COULDNT_RESOLVE_HOST, RESULT_UNREACHABLE},
    {CURLE_COULDNT_CONNECT, RESULT_UNREACHABLE},
    {CURLE_SSL_CONNECT_ERROR, RESULT_UNREACHABLE},
    {CURLE_SEND_ERROR, RESULT_UNREACHABLE},
    {CURLE_RECV_ERROR, RESULT_UNREACHABLE},
    {CURLE_GOT_NOTHING, RESULT_UNREACHABLE},
    {CURLE_PARTIAL_FILE, RESULT_UNREACHABLE},
    {CURLE_PEER_FAILED_VERIFICATION, RESULT_DENIED},
    {CURLE_SSL_CACERT_BADFILE, RESULT_DENIED},
    {CURLE_USE_SSL_FAILED, RESULT_DENIED},
    {CURLE_LOGIN_DENIED, RESULT_DENIED},
    {CURLE_WRITE_ERROR, RESULT_TOO_LARGE},
    {CURLE_FILESIZE_EXCEEDED, RESULT_TOO_LARGE},
    {CURLE_OUT_OF_MEMORY, RESULT_NO_MEMORY},
    {CURLE_URL_MALFORMAT, RESULT_INVALID},
    {CURLE_UNSUPPORTED_PROTOCOL, RESULT_INVALID},
};

enum result curl_setup_result(CURLcode code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(MEANINGS); i++)
        if (MEANINGS[i].code == code)
            return MEANINGS[i].result;
    return RESULT_MALFORMED;
}
